//! What the user wants to have left out of reports and pages.

use serde_json::json;

use crate::support::{Fixture, Outcome};

const SECRET: &str = "Xq7#vT9p";
/// The same in base64, behind none, one or two other bytes: without the letters that its neighbours have a part in.
const BASE64: [&str; 3] = ["WHE3I3ZUOX", "hxNyN2VDlw", "YcTcjdlQ5c"];
const NAMES: [&str; 6] = ["password", "token", "key", "secret_t", "vault", "unlock"];

fn run(redact: &[&str]) -> Outcome {
    let options = redact.iter().flat_map(|name| ["--redact", name]).chain(["-v", "--after", "-f", "!make"]);
    Fixture::build("secrets.c").run(options)
}

fn json_of(outcome: &Outcome) -> String {
    outcome.reports[0].at("").to_string()
}

/// How often the secret is in a text: as it is, in hexadecimal, as numbers, in base64.
fn occurrences(text: &str) -> usize {
    let hex: String = SECRET.bytes().map(|byte| format!("{byte:02x}")).collect();
    let numbers: Vec<String> = SECRET.bytes().map(|byte| byte.to_string()).collect();
    let text = text.replace(char::is_whitespace, "");
    let forms = [SECRET.to_owned(), hex, numbers.join(",")];
    forms.iter().map(String::as_str).chain(BASE64).map(|form| text.matches(form).count()).sum()
}

/// Guards against a secret that is hidden where its name stands, and told in the member, the pointer, the change, the result or the sentence beside it.
#[test]
fn what_is_redacted_is_nowhere() {
    let open = run(&[]);
    let found = [occurrences(&open.stderr), occurrences(&json_of(&open))];
    assert!(found.iter().all(|&found| found > 10), "without `--redact`, it is there: {found:?}");
    assert!(open.stderr.contains(&format!("holds the text \"{SECRET}\"")), "{}", open.stderr);

    let hidden = run(&NAMES);

    let found = [occurrences(&hidden.stderr), occurrences(&json_of(&hidden))];
    assert_eq!(found, [0, 0], "{}\n{}", hidden.stderr, json_of(&hidden));
    let report = &hidden.reports[0];
    let thread = report.crashed_thread();
    let login = thread.calls_of("login").only();
    assert_eq!(login.exact("user"), "alice", "what is not named stays");
    assert_eq!(
        *login.arg("password"),
        json!({"name": "password", "type": "const char *", "value": null, "state": "redacted"})
    );
    let entered = &thread.calls_of("enter").only().arg("s")["target"];
    assert_eq!((&entered["value"]["id"], &entered["value"]["token"]), (&json!(1), &json!(null)));
    assert_eq!((&entered["state"], &entered["reason"]), (&json!("redacted"), &json!("`token`: redacted")));
    assert_eq!(thread.calls_of("vault").only().result()["state"], "redacted");
    assert_eq!(thread.calls_of("vault").only().arg("n")["state"], "redacted", "a whole function");
    assert!(hidden.stderr.contains(r#"login(user = "alice", password = <redacted>)"#), "{}", hidden.stderr);
}

/// Guards against a secret that comes out by a name that nobody has thought of.
#[test]
fn what_holds_a_redacted_text_is_redacted_too() {
    let outcome = run(&["password"]);
    assert_eq!([occurrences(&outcome.stderr), occurrences(&json_of(&outcome))], [0, 0], "{}", outcome.stderr);
    let report = &outcome.reports[0];
    assert_eq!(report.crashed_thread().calls_of("size_of").only().arg("s")["state"], "redacted");
}
