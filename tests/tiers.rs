//! Each way to place probes does the same: one run of each kind of fixture on each tier.

use std::fmt::Write;

use crate::support::{Compiler, Fixture};
use crate::{governor, history, processes, results, returns, sacred, starting_case};

/// A program with this many functions, each of which is called once, in order. Then it dies.
fn many_functions(count: usize) -> Fixture {
    let mut source = String::from("#include \"keep.h\"\n");
    for number in 0..count {
        writeln!(source, "KEEP int many_{number}(int number) {{ HAPPENS(); return number; }}").expect("a string");
    }
    source.push_str("int main(void) {\n");
    for number in 0..count {
        writeln!(source, "    many_{number}({number});").expect("a string");
    }
    source.push_str("    crash();\n}\n");
    Fixture::generated("many.c", source)
}

fn check_many(count: usize, options: &[&str]) {
    let outcome = many_functions(count).run([&["-f", "many_*", "-v"], options].concat());
    let said = outcome.stderr.clone();
    let report = outcome.report();

    assert_eq!(report.at("/probes/attached"), count);
    let thread = report.crashed_thread();
    assert_eq!(thread.calls().args("number"), (count.saturating_sub(64)..count).collect::<Vec<_>>());
    assert_eq!(thread.calls().functions().last(), Some(&format!("many_{}", count - 1).as_str()));
    assert_eq!(thread.calls_total(), count as u64);
    let notes: Vec<_> = said.lines().filter_map(|line| line.strip_prefix("lastwords: ")).collect();
    let begins = |start: &str| notes.iter().find(|note| note.starts_with(start)).unwrap_or_else(|| panic!("{said}"));
    let attached = begins(&format!("attached {count} functions in "));
    assert!(attached.contains(" ms (") && attached.ends_with(" bytes a thread)"), "{attached}");
    let detached = begins("detached in ");
    assert!(detached.ends_with(" ms"), "{said}");
    // For `cargo xtask kernels --only 6.1 -- watches_many --nocapture`.
    println!("{attached}, {detached}");
}

/// The tests of one tier. They guard against a tier that works only on the kernel of whoever wrote it.
///
/// So many functions are watched at the same time that a tier which waits for the kernel once a probe does not end within the limit
/// of a run.
macro_rules! tier {
    ($tier:ident) => {
        mod $tier {
            use super::*;

            const OPTIONS: [&str; 2] = ["--tier", stringify!($tier)];

            #[test]
            fn tells_the_starting_case() {
                let report = starting_case::check(&Fixture::build("exp1.c"), &OPTIONS);
                assert_eq!(report.at("/tool/tier"), stringify!($tier));
            }

            #[test]
            fn keeps_the_history_of_eight_threads() {
                history::check(8, 4711, 64, &OPTIONS);
            }

            #[test]
            fn follows_a_child() {
                processes::check_fork(&OPTIONS);
            }

            #[test]
            fn tells_results_and_durations() {
                returns::check(Compiler::Gcc, ["-O2"], &OPTIONS);
            }

            #[test]
            fn tells_results_and_arguments_in_depth() {
                results::check(&OPTIONS);
            }

            #[test]
            fn lets_exceptions_pass() {
                sacred::check(&Fixture::build("exceptions.cpp"), &OPTIONS);
            }

            #[test]
            fn lets_coroutines_take_turns() {
                sacred::check(&Fixture::build("coroutines.c"), &OPTIONS);
            }

            #[test]
            fn watches_many_functions() {
                check_many(2000, &OPTIONS);
            }

            #[test]
            fn places_probes_anew_without_a_gap_or_a_repetition() {
                governor::check_feeders(stringify!($tier), &OPTIONS);
            }

            #[test]
            fn leaves_nothing_in_the_kernel() {
                let (outcome, left) = Fixture::build("returns.c").watched(OPTIONS).finish_alone();
                assert_eq!(outcome.reports.len(), 1, "{}", outcome.stderr);
                assert!(left.is_empty(), "left in the kernel: {left:?}");
            }
        }
    };
}

tier!(session);
tier!(multi);
tier!(single);
