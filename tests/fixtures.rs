//! The fixtures by themselves: each does what its first comment says when nobody watches. A test that fails because its fixture
//! does something else would blame lastwords.

use std::os::unix::process::ExitStatusExt;

use nix::libc::{SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGINT, SIGKILL, SIGQUIT, SIGSEGV, SIGSYS, SIGTERM, SIGTRAP};

use crate::support::{Compiler, Finished, Fixture};

/// How a program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Exit(i32),
    Signal(i32),
}

fn end(finished: &Finished) -> End {
    finished.status.signal().map_or_else(|| End::Exit(finished.status.code().expect("an exit status")), End::Signal)
}

/// Each fixture that needs no more than arguments, and how it ends.
const ENDS: &[(&str, &[&str], End)] = &[
    ("exp1.c", &[], End::Signal(SIGSEGV)),
    ("then_and_now.c", &[], End::Signal(SIGSEGV)),
    ("deep.c", &["crash"], End::Signal(SIGSEGV)),
    ("deep.c", &["overflow"], End::Signal(SIGSEGV)),
    ("pending.c", &[], End::Signal(SIGABRT)),
    ("crowd.c", &["3"], End::Signal(SIGSEGV)),
    ("method.cpp", &[], End::Signal(SIGSEGV)),
    ("exceptions.cpp", &[], End::Exit(3)),
    ("exceptions.cpp", &["crash"], End::Signal(SIGSEGV)),
    ("history.c", &["1", "7", "/dev/null"], End::Exit(2)),
    ("arguments.c", &[], End::Signal(SIGABRT)),
    ("strings.c", &[], End::Signal(SIGABRT)),
    ("truth.c", &[], End::Signal(SIGABRT)),
    ("truth.cpp", &[], End::Signal(SIGABRT)),
    ("processes.c", &["fork"], End::Exit(0)),
    ("processes.c", &["exec"], End::Exit(0)),
    ("processes.c", &["vfork"], End::Exit(0)),
    ("processes.c", &["spawn"], End::Exit(0)),
    ("processes.c", &["victim"], End::Signal(SIGSEGV)),
    ("processes.c", &["both"], End::Signal(SIGSEGV)),
    ("processes.c", &["other"], End::Exit(0)),
    ("processes.c", &["threads"], End::Signal(SIGSEGV)),
    ("processes.c", &["ten"], End::Signal(SIGSEGV)),
    ("returns.c", &[], End::Signal(SIGSEGV)),
    ("quiet.c", &[], End::Exit(7)),
    ("signals.c", &["SEGV"], End::Signal(SIGSEGV)),
    ("signals.c", &["BUS"], End::Signal(SIGBUS)),
    ("signals.c", &["FPE"], End::Signal(SIGFPE)),
    ("signals.c", &["ILL"], End::Signal(SIGILL)),
    ("signals.c", &["TRAP"], End::Signal(SIGTRAP)),
    ("signals.c", &["ABRT"], End::Signal(SIGABRT)),
    ("signals.c", &["SYS"], End::Signal(SIGSYS)),
    ("signals.c", &["TERM"], End::Signal(SIGTERM)),
    ("signals.c", &["KILL"], End::Signal(SIGKILL)),
    ("signals.c", &["INT"], End::Signal(SIGINT)),
    ("signals.c", &["QUIT"], End::Signal(SIGQUIT)),
    ("signals.c", &["survive"], End::Exit(5)),
    ("signals.c", &["reraise"], End::Signal(SIGSEGV)),
    ("signals.c", &["handler-abort"], End::Signal(SIGABRT)),
    ("signals.c", &["handler-exit"], End::Exit(6)),
    ("signals.c", &["ignored"], End::Exit(0)),
    ("signals.c", &["overflow"], End::Signal(SIGSEGV)),
    ("longjmp.c", &[], End::Signal(SIGSEGV)),
    ("coroutines.c", &[], End::Exit(4)),
    ("coroutines.c", &["crash"], End::Signal(SIGSEGV)),
    ("thread_exit.c", &[], End::Exit(0)),
    ("patient.c", &[], End::Exit(0)),
    ("whoami.c", &[], End::Signal(SIGSEGV)),
    ("selection.c", &[], End::Signal(SIGSEGV)),
];

/// The same of fixtures for gcc alone: clang sees through what is undefined in them.
const ENDS_BY_GCC: &[(&str, &[&str], End)] = &[
    ("explained.c", &["member"], End::Signal(SIGSEGV)),
    ("explained.c", &["chain"], End::Signal(SIGSEGV)),
    ("explained.c", &["element"], End::Signal(SIGSEGV)),
    ("explained.c", &["global"], End::Signal(SIGSEGV)),
    ("explained.c", &["small"], End::Signal(SIGSEGV)),
    ("explained.c", &["text"], End::Signal(SIGSEGV)),
    ("explained.c", &["wild"], End::Signal(SIGSEGV)),
    ("explained.c", &["behind"], End::Signal(SIGSEGV)),
    ("explained.c", &["freed"], End::Signal(SIGSEGV)),
    ("explained.c", &["literal"], End::Signal(SIGSEGV)),
    ("explained.c", &["constant"], End::Signal(SIGSEGV)),
    ("explained.c", &["guard"], End::Signal(SIGSEGV)),
    ("explained.c", &["pointer"], End::Signal(SIGSEGV)),
    ("explained.c", &["callback"], End::Signal(SIGSEGV)),
    ("explained.c", &["data"], End::Signal(SIGSEGV)),
    ("explained.c", &["thread"], End::Signal(SIGSEGV)),
    ("explained.c", &["nowhere"], End::Signal(SIGSEGV)),
    ("explained.c", &["overrun"], End::Signal(SIGSEGV)),
    ("explained.c", &["made"], End::Signal(SIGSEGV)),
    ("explained.c", &["recursion"], End::Signal(SIGSEGV)),
    ("explained.c", &["unaligned"], End::Signal(SIGSEGV)),
    ("explained.c", &["privileged"], End::Signal(SIGSEGV)),
    ("explained.c", &["divide"], End::Signal(SIGFPE)),
    ("explained.c", &["quotient"], End::Signal(SIGFPE)),
    ("explained.c", &["trap"], End::Signal(SIGILL)),
    ("explained.c", &["breakpoint"], End::Signal(SIGTRAP)),
    ("explained.c", &["truncated"], End::Signal(SIGBUS)),
    ("explained.c", &["seccomp"], End::Signal(SIGSYS)),
    ("explained.c", &["assert"], End::Signal(SIGABRT)),
    ("explained.c", &["abort"], End::Signal(SIGABRT)),
    ("explained.c", &["double"], End::Signal(SIGABRT)),
    ("explained.cpp", &["uncaught"], End::Signal(SIGABRT)),
    ("explained.cpp", &["number"], End::Signal(SIGABRT)),
    ("explained.cpp", &["noexcept"], End::Signal(SIGABRT)),
    ("explained.cpp", &["terminate"], End::Signal(SIGABRT)),
    ("explained.cpp", &["pure"], End::Signal(SIGABRT)),
    ("explained.cpp", &["method"], End::Signal(SIGSEGV)),
    ("explained.cpp", &["virtual"], End::Signal(SIGSEGV)),
];

/// Guards against fixtures that an optimizer has made into something else.
#[test]
fn fixtures_end_as_they_say_in_all_variants() {
    for (compiler, optimization) in
        [(Compiler::Gcc, "-O0"), (Compiler::Gcc, "-O2"), (Compiler::Clang, "-O0"), (Compiler::Clang, "-O2")]
    {
        let by_gcc = if matches!(compiler, Compiler::Gcc) { ENDS_BY_GCC } else { &[] };
        for (source, arguments, expected) in ENDS.iter().chain(by_gcc) {
            let finished = Fixture::build(source).with(compiler, [optimization]).args(*arguments).run_bare();
            assert_eq!(end(&finished), *expected, "{source} {arguments:?} {compiler:?} {optimization}: {finished:?}");
        }
    }
    for level in ["opt-level=0", "opt-level=2"] {
        let finished = Fixture::build("slices.rs").with(Compiler::Gcc, ["-C", level]).run_bare();
        assert_eq!(
            (end(&finished), finished.stdout.as_str()),
            (End::Signal(SIGSEGV), "45\n0\n8\na panic was caught\n10\n")
        );
    }
}

/// Guards against the same in what they print: it is compared with what they print under lastwords.
#[test]
fn fixtures_print_what_they_say() {
    let stdout = |fixture: Fixture| fixture.run_bare().stdout;
    assert_eq!(stdout(Fixture::build("exp1.c")), "", "its line is lost with the buffer");
    assert!(stdout(Fixture::build("exceptions.cpp")).ends_with("caught round 99\nsum 4950\n"));
    assert!(stdout(Fixture::build("longjmp.c")).ends_with("round 50\n"));
    assert!(stdout(Fixture::build("coroutines.c")).ends_with("0 produced 190\n1 ends 19\n1 produced 2190\n"));
    assert_eq!(stdout(Fixture::build("thread_exit.c")), "cleaned 40\n");
    let greeted = Fixture::build("greeted.c").linked_with(&Fixture::build("greeter.c").shared());
    assert_eq!(end(&greeted.run_bare()), End::Signal(SIGSEGV));
}

/// Guards against a history that differs from one run to the next.
#[test]
fn history_dies_at_the_call_that_its_seed_says() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("counts");
    for threads in [1, 8] {
        let arguments = [threads.to_string(), "12".to_owned(), file.display().to_string()];
        let finished = Fixture::build("history.c").args(arguments).run_bare();
        assert_eq!(end(&finished), End::Signal(SIGSEGV));
        crate::history::check_counts(&file, threads, 12);
    }
}
