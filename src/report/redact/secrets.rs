//! What was taken away: texts and bytes to be looked for elsewhere.

use std::collections::BTreeSet;

use serde_json::Value as Json;

use crate::report::{Report, State, Value, from_hex};

/// Shorter texts are found everywhere, and so are those of so few different bytes.
const LEAST_BYTES: usize = 4;
const LEAST_DIFFERENT: usize = 3;
/// Addresses below this are no secret of anybody.
const LOWEST_ADDRESS: u64 = 0x1_0000;
/// What stands in a sentence in the place of a text that was taken away.
const GONE: &str = "<redacted>";

/// Texts and bytes, and addresses of what was taken away.
#[derive(Debug, Default)]
pub struct Secrets {
    texts: BTreeSet<Vec<u8>>,
    addresses: BTreeSet<u64>,
}

impl Secrets {
    /// Remembers what a value holds.
    pub fn add(&mut self, value: &Value) {
        self.texts.extend(contents(value, is_text(value)).into_iter().filter(|text| is_telling(text)));
        if let Some(address) = value.address.filter(|address| address.0 >= LOWEST_ADDRESS) {
            self.addresses.insert(address.0);
            // A text where a pointer belongs.
            let bytes = address.0.to_le_bytes();
            let end = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
            if is_telling(&bytes[..end]) && bytes[..end].iter().all(|byte| (b' '..=b'~').contains(byte)) {
                self.texts.insert(bytes[..end].to_vec());
            }
        }
        let beside = [&value.target, &value.now, &value.after, &value.at_entry, &value.key];
        beside.into_iter().flatten().for_each(|it| self.add(it));
        value.members.iter().for_each(|member| self.add(member));
    }

    /// Whether a value itself, not a part of it, holds one of the texts.
    pub fn are_in(&self, value: &Value) -> bool {
        contents(value, true).iter().any(|content| self.texts.iter().any(|text| holds(content, text)))
    }

    /// Takes them out of all sentences, out of the program's arguments and lines of sources.
    pub fn scrub(&self, report: &mut Report) {
        let fault = &mut report.fault;
        let told = fault.findings.iter_mut().map(|finding| &mut finding.text).chain([&mut fault.explanation]);
        let known = fault.address.map_or(0, |address| address.0);
        told.for_each(|sentence| {
            self.scrub_text(sentence);
            let hidden = self.addresses.iter().filter(|address| **address != known);
            hidden.for_each(|address| replace(sentence, &format!("{address:#x}"), |next| !next.is_ascii_hexdigit()));
        });
        report.process.args.iter_mut().for_each(|argument| self.scrub_text(argument));
        let frames = report.threads.iter_mut().flat_map(|thread| &mut thread.frames);
        let lines = frames.filter_map(|frame| frame.source.as_mut()).flat_map(|source| &mut source.lines);
        lines.for_each(|line| self.scrub_text(line));
    }

    fn scrub_text(&self, sentence: &mut String) {
        for text in &self.texts {
            let text = String::from_utf8_lossy(text);
            replace(sentence, &text, |_| true);
            replace(sentence, &text.escape_debug().to_string(), |_| true);
        }
    }
}

/// Whether the string that it is told by is text in the program: others are names of enumerators, addresses and large numbers.
fn is_text(value: &Value) -> bool {
    !value.value.is_string() || value.length.is_some() || value.state == State::Truncated
}

fn is_telling(text: &[u8]) -> bool {
    text.len() >= LEAST_BYTES && text.iter().collect::<BTreeSet<_>>().len() >= LEAST_DIFFERENT
}

/// The texts that a value consists of, as bytes; not those of its parts, but for lists that have no others.
fn contents(value: &Value, with_json: bool) -> Vec<Vec<u8>> {
    let mut contents = Vec::new();
    if with_json {
        add_json(&value.value, value.members.is_empty(), &mut contents);
    }
    contents.extend(value.bytes.as_deref().and_then(from_hex));
    contents.extend(value.text.as_ref().map(|text| text.clone().into_bytes()));
    contents.retain(|content| !content.is_empty());
    contents
}

fn add_json(json: &Json, with_parts: bool, contents: &mut Vec<Vec<u8>>) {
    match json {
        Json::String(text) => contents.push(text.clone().into_bytes()),
        Json::Array(elements) if with_parts => {
            let byte =
                |element: &Json| element.as_i64().filter(|byte| (-128..256).contains(byte)).map(|byte| byte as u8);
            contents.extend(elements.iter().map(byte).collect::<Option<Vec<u8>>>());
            elements.iter().for_each(|element| add_json(element, true, contents));
        }
        Json::Object(members) if with_parts => members.values().for_each(|it| add_json(it, true, contents)),
        _ => {}
    }
}

fn holds(content: &[u8], text: &[u8]) -> bool {
    content.windows(text.len()).any(|window| window == text)
}

/// Replaces `old` where what follows it is as it should be, or nothing.
fn replace(sentence: &mut String, old: &str, may_follow: impl Fn(char) -> bool) {
    if old.is_empty() || !sentence.contains(old) {
        return;
    }
    let mut replaced = String::with_capacity(sentence.len());
    let mut rest = sentence.as_str();
    while let Some(at) = rest.find(old) {
        let (before, found) = rest.split_at(at);
        let behind = &found[old.len()..];
        replaced.push_str(before);
        replaced.push_str(if behind.chars().next().is_none_or(&may_follow) { GONE } else { old });
        rest = behind;
    }
    replaced.push_str(rest);
    *sentence = replaced;
}
