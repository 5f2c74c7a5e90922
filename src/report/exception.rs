//! C++ exceptions that a process was handling when it gave up.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Address, Value};

/// An exception that had been thrown and not been destroyed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Exception {
    /// What was thrown, as the source spells it; `null` where it is not known.
    #[serde(rename = "type")]
    pub ty: Option<String>,
    /// What became of it.
    pub state: ExceptionState,
    /// What it says: the message of a standard exception that it is or inherits from, or the text that was thrown; `null` for what carries none.
    pub text: Option<Value>,
    /// The object, as debug info describes its type; `null` where none does.
    pub value: Option<Value>,
    /// Where the object is.
    pub address: Option<Address>,
    /// Why there is no type or no value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What became of an exception.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExceptionState {
    /// Nobody was there to take it, or it was about to leave a function that is `noexcept`: the runtime called `std::terminate`.
    Uncaught,
    /// A handler had it, and was running.
    Caught,
    /// A newer lastwords knows more.
    #[default]
    #[serde(other)]
    #[schemars(skip)]
    Other,
}
