//! Whose program it is, and whose report.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;

use nix::unistd::User;
use tempfile::TempDir;

use crate::support::{Fixture, Lastwords, reports_in};

/// `whoami` at a place that everybody can reach, with a directory for reports that everybody can write to.
struct Place {
    directory: TempDir,
    program: PathBuf,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        fs::set_permissions(directory.path(), Permissions::from_mode(0o1777)).expect("its mode");
        let program = directory.path().join("whoami");
        fs::copy(Fixture::build("whoami.c").path(), &program).expect("a copy");
        Self { directory, program }
    }

    fn reports(&self) -> PathBuf {
        self.directory.path().join("reports")
    }

    fn run(&self, options: &[&str]) -> Lastwords {
        let reports = self.reports();
        let options = [&["-f", "here", "--report-dir", reports.to_str().expect("a path")], options].concat();
        Lastwords::run::<_, &str>(options, &self.program, [])
    }

    /// Runs it, and checks that the program ran as `user` and that the report is his alone.
    fn check(&self, run: Lastwords, user: &User) {
        let outcome = run.finish();
        let (uid, gid) = (user.uid.as_raw(), user.gid.as_raw());
        let expected = format!("uid {uid} {uid} {uid}\ngid {gid} {gid}\n");
        assert!(
            outcome.stdout.starts_with(&expected),
            "expected {expected}found {}\n{}",
            outcome.stdout,
            outcome.stderr
        );
        if uid != 0 {
            assert!(!outcome.stdout.contains("group 0\n"), "root's groups are not his: {}", outcome.stdout);
        }
        let files = reports_in(&self.reports());
        assert_eq!(files.len(), 1, "{}", outcome.stderr);
        let metadata = fs::metadata(&files[0]).expect("the report");
        assert_eq!((metadata.uid(), metadata.gid()), (uid, gid), "the owner of the report");
        assert_eq!(metadata.mode() & 0o7777, 0o600);
        assert_eq!(fs::metadata(self.reports()).expect("the directory").uid(), uid, "the owner of the directory");
        assert_eq!(crate::support::Report::read(&files[0]).at("/process/uid"), uid);
    }
}

fn user(name: &str) -> User {
    User::from_name(name).expect("the list of users").unwrap_or_else(|| panic!("the user {name}"))
}

/// As sudo tells a program who called it.
fn by_sudo(run: Lastwords, user: &User) -> Lastwords {
    run.env("SUDO_UID", user.uid.to_string()).env("SUDO_GID", user.gid.to_string()).env("SUDO_USER", &user.name)
}

/// Guards against a program that runs as root because its watcher must.
#[test]
fn under_sudo_the_program_runs_as_the_calling_user() {
    let (place, nobody) = (Place::new(), user("nobody"));
    place.check(by_sudo(place.run(&[]), &nobody), &nobody);
}

/// Guards against `--user` that changes the user id only.
#[test]
fn the_user_can_be_chosen() {
    let (place, daemon) = (Place::new(), user("daemon"));
    place.check(place.run(&["--user", "daemon"]), &daemon);
}

/// Guards against a `--user` that counts for less than sudo.
#[test]
fn the_chosen_user_goes_before_the_one_of_sudo() {
    let (place, root) = (Place::new(), user("root"));
    place.check(by_sudo(place.run(&["--user", "root"]), &user("nobody")), &root);
}

/// Guards against reports that others can read, where nobody called sudo.
#[test]
fn root_has_reports_of_its_own() {
    let place = Place::new();
    place.check(place.run(&[]), &user("root"));
}

/// Guards against falling back to root when the user is misspelled.
#[test]
fn an_unknown_user_is_an_error() {
    let outcome = Place::new().run(&["--user", "no-such-user"]).finish();
    assert_eq!(outcome.status.code(), Some(2));
    assert!(outcome.stderr.starts_with("error: ") && outcome.stderr.contains("`no-such-user`"), "{}", outcome.stderr);
    assert_eq!(outcome.stdout, "");
}
