//! PLACEHOLDER
use crate::support::Fixture;
#[test]
fn show() {
    let outcome = Fixture::build("structs.c").run(["--len", "sum:values=many"]);
    println!("{}", outcome.stderr);
    let report = outcome.report();
    println!("{:#?}", report.crashed_thread().calls_of("take").0[0].arg("r"));
}
