//! A report as a test asks questions of it. It is read as plain JSON, as a user's own tools would read it.

use std::fs;
use std::path::Path;

use serde_json::Value;

/// A report file.
#[derive(Debug)]
pub struct Report(Value);

impl Report {
    /// Reads a report file.
    pub fn read(file: &Path) -> Self {
        let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("cannot read {}: {error}", file.display()));
        Self::parse(&text)
    }

    /// A report from its text.
    pub fn parse(text: &str) -> Self {
        Self(serde_json::from_str(text).unwrap_or_else(|error| panic!("no report: {error}\n{text}")))
    }

    /// What is at a place in it: `/fault/signal` (RFC 6901). A place that is not there is a failure.
    pub fn at(&self, pointer: &str) -> &Value {
        self.0.pointer(pointer).unwrap_or_else(|| panic!("the report has no {pointer}:\n{:#}", self.0))
    }

    /// The pid of the process that died.
    pub fn pid(&self) -> u64 {
        self.at("/process/pid").as_u64().expect("a pid")
    }

    /// The threads that died.
    pub fn threads(&self) -> Vec<Thread<'_>> {
        self.at("/threads").as_array().expect("a list of threads").iter().map(Thread).collect()
    }

    /// The thread of that name; `main` is the one that the process began with, whatever it is called.
    pub fn thread(&self, name: &str) -> Thread<'_> {
        let is_it =
            |thread: &Thread<'_>| if name == "main" { thread.tid() == self.pid() } else { thread.0["name"] == name };
        self.threads()
            .into_iter()
            .find(is_it)
            .unwrap_or_else(|| panic!("no thread `{name}` in the report:\n{:#}", self.0))
    }

    /// The thread that the signal struck.
    pub fn crashed_thread(&self) -> Thread<'_> {
        let crashed: Vec<_> = self.threads().into_iter().filter(|thread| thread.0["crashed"] == true).collect();
        assert_eq!(crashed.len(), 1, "threads that the signal struck:\n{:#}", self.0);
        assert_eq!(&crashed[0].0["tid"], self.at("/fault/thread"), "the thread in `fault` is the one that crashed");
        crashed[0]
    }
}

/// One thread of a report.
#[derive(Clone, Copy, Debug)]
pub struct Thread<'a>(&'a Value);

impl<'a> Thread<'a> {
    /// Its id.
    pub fn tid(self) -> u64 {
        self.0["tid"].as_u64().expect("a thread id")
    }

    /// Where it stood, the innermost frame first.
    pub fn frames(self) -> &'a [Value] {
        self.0["frames"].as_array().expect("a list of frames")
    }

    /// Why there are no more frames.
    pub fn frames_end(self) -> Option<&'a str> {
        self.0["frames_end"].as_str()
    }

    /// All of its calls in the report, oldest first.
    pub fn calls(self) -> Calls<'a> {
        Calls(self.0["calls"].as_array().expect("a list of calls").iter().map(Call).collect())
    }

    /// Its calls of one function, by the demangled name.
    pub fn calls_of(self, function: &str) -> Calls<'a> {
        Calls(self.calls().0.into_iter().filter(|call| call.0["function"] == function).collect())
    }

    /// How many calls it made.
    pub fn calls_total(self) -> u64 {
        self.0["calls_total"].as_u64().expect("a number of calls")
    }

    /// A field of it.
    pub fn field(self, name: &str) -> &'a Value {
        &self.0[name]
    }

    /// How many of them are not in the report.
    pub fn calls_overwritten(self) -> u64 {
        self.0["calls_overwritten"].as_u64().expect("a number of calls")
    }
}

/// Calls, oldest first.
#[derive(Debug)]
pub struct Calls<'a>(pub Vec<Call<'a>>);

impl<'a> Calls<'a> {
    /// How many they are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The one call.
    pub fn only(&self) -> Call<'a> {
        assert_eq!(self.len(), 1, "calls: {self:#?}");
        self.0[0]
    }

    /// The values of an argument in each of them, all of which must be exact.
    pub fn args(&self, name: &str) -> Vec<Value> {
        self.0.iter().map(|call| call.exact(name)).collect()
    }

    /// Their functions' names.
    pub fn functions(&self) -> Vec<&'a str> {
        self.0.iter().map(|call| call.function()).collect()
    }

    /// Their results, `null` for those that had not returned or return nothing.
    pub fn results(&self) -> Vec<Value> {
        self.0.iter().map(|call| call.result()["value"].clone()).collect()
    }
}

/// One call.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a>(&'a Value);

impl<'a> Call<'a> {
    /// A field of it.
    pub fn field(self, name: &str) -> &'a Value {
        &self.0[name]
    }

    /// The demangled name of its function.
    pub fn function(self) -> &'a str {
        self.0["function"].as_str().expect("a function's name")
    }

    /// All of its arguments.
    pub fn arguments(self) -> &'a [Value] {
        self.0["args"].as_array().expect("a list of arguments")
    }

    /// The argument of that name, with all that is said of it.
    pub fn arg(self, name: &str) -> &'a Value {
        let found = self.arguments().iter().find(|argument| argument["name"] == name);
        found.unwrap_or_else(|| panic!("no argument `{name}` in {:#}", self.0))
    }

    /// The value of an argument, which must be exact.
    pub fn exact(self, name: &str) -> Value {
        let argument = self.arg(name);
        assert_eq!(argument["state"], "exact", "{:#}", self.0);
        argument["value"].clone()
    }

    /// Its result, with all that is said of it; `null` where there is none.
    pub fn result(self) -> &'a Value {
        &self.0["returned"]["value"]
    }

    /// How long it took; `None` for a call that has not returned.
    pub fn duration_ns(self) -> Option<u64> {
        self.0["returned"]["duration_ns"].as_u64()
    }
}

/// How a report writes an integer: numbers of JSON are exact up to 2^53 only.
pub fn number(number: i128) -> Value {
    const EXACT: i128 = 1 << 53;
    match i64::try_from(number) {
        Ok(small) if (-EXACT..=EXACT).contains(&number) => small.into(),
        _ => number.to_string().into(),
    }
}
