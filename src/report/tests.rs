//! A small report that other tests start from, and the check of the committed schema.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::*;

/// A directory that is removed with everything in it.
pub struct TemporaryDirectory(PathBuf);

impl TemporaryDirectory {
    /// Makes one that did not exist.
    pub fn make() -> Self {
        let template = std::env::temp_dir().join("lastwords-test-XXXXXX");
        Self(nix::unistd::mkdtemp(&template).expect("a directory for temporary files"))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TemporaryDirectory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A `const char *` with this text.
pub fn text_value(name: &str, text: &str) -> Value {
    Value {
        name: Some(name.into()),
        ty: "const char *".into(),
        value: text.into(),
        state: State::Exact,
        address: Some(Address(0x40_2010)),
        length: Some(text.len() as u64),
        ..Value::default()
    }
}

/// An `int`.
pub fn int_value(name: Option<&str>, number: i64) -> Value {
    let name = name.map(String::from);
    Value { name, ty: "int".into(), value: json!(number), state: State::Exact, ..Value::default() }
}

/// The case that started it: `test("this is a string.")`, then a write through NULL in `main`.
pub fn small_report() -> Report {
    let returned = Returned {
        state: ReturnState::Returned,
        value: Some(Box::new(int_value(None, 0))),
        duration_ns: Some(12_345),
        reason: None,
    };
    let call = Call {
        n: 0,
        function: "test".into(),
        symbol: "test".into(),
        file: Some("/home/me/exp1.c".into()),
        line: Some(7),
        at_ns: 1_234_567_890,
        args: vec![text_value("str", "this is a string.")],
        returned: Some(returned),
        frame: None,
        by_handler: false,
        reason: None,
    };
    let thread = Thread {
        tid: 4711,
        name: Some("exp1".into()),
        crashed: true,
        registers: Registers(vec![("rip".into(), Address(0x40_1156)), ("rsp".into(), Address(0x7ffd_0000))]),
        frames: vec![Frame {
            n: Some(0),
            address: Address(0x40_1156),
            function: Some("main".into()),
            symbol: Some("main".into()),
            file: Some("/home/me/exp1.c".into()),
            line: Some(14),
            own: true,
            source: Some(Source {
                first: 13,
                lines: ["    char *p = NULL;", "    *p = 'x';", "    sleep(60);"].map(str::to_owned).to_vec(),
                changed: false,
            }),
            ..Frame::default()
        }],
        frames_end: None,
        calls: vec![call],
        calls_total: Some(1),
        calls_overwritten: 0,
    };
    Report {
        schema: SCHEMA.into(),
        tool: Tool { version: "0.1.0".into(), kernel: "6.18.5".into(), tier: "uprobe session".into() },
        process: Process {
            pid: 4711,
            exe: "/home/me/exp1".into(),
            args: vec!["./exp1".into()],
            args_truncated: false,
            cwd: Some("/home/me".into()),
            build_id: Some("0123456789abcdef".into()),
            started_at: "2026-11-23T13:13:36.900Z".into(),
            uptime_ns: 1_300_000_000,
            uid: Some(1000),
        },
        fault: Fault {
            signal: "SIGSEGV".into(),
            signal_number: 11,
            code: Some("SEGV_MAPERR".into()),
            code_number: Some(1),
            address: Some(Address(0)),
            access: Some(Access::Write),
            pc: Some(Address(0x40_1156)),
            thread: 4711,
            explanation: "wrote to address 0x0, where no memory is mapped (a null pointer)".into(),
            cause: Some(Cause::NullPointer),
            instruction: Some(FaultInstruction {
                address: Address(0x40_1156),
                text: "mov byte ptr [rax], 0x78".into(),
                bytes: "c60078".into(),
            }),
            mapping: None,
            findings: vec![Finding { text: "rax was 0x0".into(), basis: Basis::Known }],
            at_ns: 1_300_000_000,
            sender: None,
            ..Fault::default()
        },
        threads: vec![thread],
        output: Vec::new(),
        probes: Probes { attached: 2, ..Probes::default() },
        recorder: Recorder {
            calls_kept: 64,
            string_bytes: 256,
            threads_max: 64,
            ring_bytes: 1 << 15,
            ..Recorder::default()
        },
        modules: vec![Module {
            path: "/home/me/exp1".into(),
            build_id: None,
            base: Address(0x40_0000),
            bias: Address(0),
        }],
        dropped: Vec::new(),
    }
}

/// Guards against a published schema that is not the one of the code.
#[test]
fn the_committed_schema_is_the_one_of_the_model() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/report.schema.json");
    let expected = serde_json::to_string_pretty(&schema()).unwrap() + "\n";
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::write(&path, &expected).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == expected,
        "docs/report.schema.json is out of date: run `UPDATE_SCHEMA=1 cargo test --lib schema`, and explain the change in docs/report.md"
    );
}

/// Guards against names that the issue fixed and somebody renamed: readers depend on them.
#[test]
fn the_fixed_names_are_there() {
    let report = serde_json::to_value(small_report()).unwrap();
    let names = |pointer: &str| -> Vec<String> {
        report.pointer(pointer).and_then(|value| value.as_object()).unwrap().keys().cloned().collect()
    };

    assert_eq!(names("").join(" "), "schema tool process fault threads output probes recorder modules");
    assert_eq!(names("/tool").join(" "), "version kernel tier");
    assert_eq!(names("/process").join(" "), "pid exe args args_truncated cwd build_id started_at uptime_ns uid");
    assert_eq!(
        names("/fault").join(" "),
        "signal signal_number code code_number address access pc thread explanation cause instruction findings at_ns sender"
    );
    assert_eq!(
        names("/threads/0").join(" "),
        "tid name crashed registers frames frames_end calls calls_total calls_overwritten"
    );
    assert_eq!(names("/threads/0/calls/0").join(" "), "n function symbol file line at_ns args returned");
    assert_eq!(names("/threads/0/calls/0/args/0").join(" "), "name type value state address length");
    assert_eq!(names("/threads/0/calls/0/returned").join(" "), "state value duration_ns");
}

/// Guards against states that a reader of the schema does not know.
#[test]
fn the_schema_names_all_states_and_no_other() {
    let schema = schema();
    let states = |name: &str| -> Vec<String> {
        let variants = schema["$defs"][name]["oneOf"].as_array().unwrap();
        variants.iter().map(|variant| variant["const"].as_str().unwrap().to_owned()).collect()
    };

    assert_eq!(
        states("State"),
        ["exact", "late", "truncated", "unreadable", "optimized_out", "unavailable", "guessed", "redacted"]
    );
    assert_eq!(states("ReturnState"), ["returned", "tail_call", "unknown", "unseen"]);
    assert_eq!(states("Access"), ["read", "write", "execute"]);
}

/// Guards against a field that is published and not explained.
#[test]
fn every_field_and_state_is_explained() {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/report.md")).unwrap();
    let schema = schema();
    let definitions = schema["$defs"].as_object().unwrap().values().chain([&schema]);
    for definition in definitions {
        let fields = definition["properties"].as_object().into_iter().flatten().map(|(name, _)| name.as_str());
        let states = definition["oneOf"].as_array().into_iter().flatten().filter_map(|state| state["const"].as_str());
        for name in fields.chain(states) {
            let is_there = ["`", "."].iter().any(|before| page.contains(&format!("{before}{name}`")));
            assert!(is_there, "docs/report.md does not explain `{name}`");
        }
    }
}
