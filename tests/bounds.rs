//! Bounds that the user sets are kept, and what does not fit is said.

use crate::support::{Fixture, Lastwords};

/// Guards against a report that is larger than what was asked for, and against one that says nothing of what it left out.
#[test]
fn a_report_stays_within_its_bound() {
    let fixture = Fixture::build("crowd.c").args([40]);
    let most = 100 << 10;

    let outcome = fixture.run(["-f", "*", "--max-report", "100K", "--json", "-"]);

    assert!(outcome.stdout.len() <= most, "{} bytes", outcome.stdout.len());
    assert!(outcome.stderr.contains("(--max-report)"), "{}", outcome.stderr);
    let report = crate::support::Report::parse(&outcome.stdout);
    assert!(report.at("/dropped/0/count").as_u64().is_some_and(|count| count > 0), "{:#}", report.at("/dropped"));
    let whole = fixture.run_until_death(["-f", "*"]);
    assert_eq!(report.crashed_thread().calls().len(), whole.crashed_thread().calls().len());
}

/// Guards against finding out after the death that no report can be as small as that.
#[test]
fn a_bound_that_no_report_can_keep_is_refused() {
    let outcome = Lastwords::new(["run", "--max-report", "1K", "--", "true"]).finish();

    assert_eq!(outcome.status.code(), Some(2));
    assert!(outcome.stderr.contains("a report may need 64K: expected that or more, found `1K`"), "{}", outcome.stderr);
}
