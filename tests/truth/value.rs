//! What a program passed, and whether a report says the same.

use serde_json::Value;

use crate::support::number;

/// A value that a program has passed.
#[derive(Clone, Debug, PartialEq)]
pub enum Truth {
    /// An integer; also an enumerator without a name.
    Number(i128),
    /// A C `bool`.
    Bool(bool),
    /// A float of any size.
    Float(f64),
    /// An enumerator.
    Name(String),
    /// What a `char *` points to.
    Text(String),
    /// A pointer to something else.
    Address(u64),
    /// The members of a struct.
    Members(Vec<(String, Truth)>),
    /// The elements of an array.
    Elements(Vec<Truth>),
}

/// How a report does on some values.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Values without parts that are exact and right.
    pub right: usize,
    /// Values without parts that are not told as exact.
    pub untold: usize,
    /// Those that are exact and wrong.
    pub wrong: Vec<String>,
}

impl Tally {
    /// Compares one argument of a report, `what` it is called.
    pub fn compare(&mut self, what: &str, argument: &Value, truth: &Truth) {
        let exact = argument["state"] == "exact";
        match (exact, truth) {
            (false, Truth::Members(members)) => {
                for (name, truth) in members {
                    let told = argument["members"].as_array().into_iter().flatten().find(|told| told["name"] == **name);
                    self.compare(&format!("{what}.{name}"), told.unwrap_or(&Value::Null), truth);
                }
            }
            // Only the pointer and the length of a list were told: they say nothing of its elements.
            (false, Truth::Elements(_)) if argument["value"].is_object() => self.untold += 1,
            (false, Truth::Elements(elements)) => {
                for (index, truth) in elements.iter().enumerate() {
                    self.compare(&format!("{what}[{index}]"), &argument["members"][index], truth);
                }
            }
            (false, _) => self.untold += 1,
            (true, Truth::Address(address)) => {
                self.judge(what, argument["address"] == format!("{address:#x}"), argument, truth)
            }
            (true, truth) => self.judge(what, is_shown_as(truth, &argument["value"]), argument, truth),
        }
    }

    /// Adds up.
    pub fn add(&mut self, other: Self) {
        self.right += other.right;
        self.untold += other.untold;
        self.wrong.extend(other.wrong);
    }

    fn judge(&mut self, what: &str, is_right: bool, argument: &Value, truth: &Truth) {
        match is_right {
            true => self.right += truth.parts(),
            false => self.wrong.push(format!("{what} was {truth:?}, and the report says {argument}")),
        }
    }
}

impl Truth {
    /// A value as the fixtures print it: a JSON object has members, or is an address.
    pub fn of_json(json: &Value) -> Self {
        let integer = json.as_i64().map(i128::from).or_else(|| json.as_u64().map(i128::from));
        match json {
            Value::Bool(value) => Self::Bool(*value),
            Value::Number(_) => integer.map_or_else(|| Self::Float(json.as_f64().expect("a number")), Self::Number),
            Value::String(text) => Self::Text(text.clone()),
            Value::Array(elements) => Self::Elements(elements.iter().map(Self::of_json).collect()),
            Value::Object(members) => match members.get("address").and_then(Value::as_str) {
                Some(address) => Self::Address(u64::from_str_radix(&address[2..], 16).expect("an address")),
                None => Self::Members(members.iter().map(|(name, json)| (name.clone(), Self::of_json(json))).collect()),
            },
            Value::Null => panic!("no value"),
        }
    }

    /// How many values without parts it has.
    fn parts(&self) -> usize {
        match self {
            Self::Members(members) => members.iter().map(|(_, truth)| truth.parts()).sum(),
            Self::Elements(elements) => elements.iter().map(Self::parts).sum(),
            _ => 1,
        }
    }
}

fn is_shown_as(truth: &Truth, value: &Value) -> bool {
    match truth {
        Truth::Number(expected) => *value == number(*expected),
        Truth::Bool(expected) => *value == *expected,
        Truth::Float(expected) => value.as_f64() == Some(*expected),
        Truth::Name(expected) | Truth::Text(expected) => *value == **expected,
        // Behind a pointer, only the address is known; it is not a part of the value of an aggregate.
        Truth::Address(expected) => *value == format!("{expected:#x}"),
        Truth::Members(members) => members.iter().all(|(name, truth)| is_shown_as(truth, &value[name])),
        Truth::Elements(elements) => {
            elements.iter().enumerate().all(|(index, truth)| is_shown_as(truth, &value[index]))
        }
    }
}
