//! Exceptions as lines for the page.

use super::escape::plain;
use super::value::bare;
use crate::report::{Exception, ExceptionState, Value};

/// Members of an object that has nothing but a message: the class that carries it.
const ONLY_A_MESSAGE: usize = 1;

/// What was thrown, where there is more to it than the headline says, and each exception whose handler was running.
#[must_use]
pub fn lines(exceptions: &[Exception]) -> Vec<String> {
    exceptions.iter().flat_map(lines_of).collect()
}

fn lines_of(exception: &Exception) -> Vec<String> {
    let text = exception.text.as_ref();
    let says_more = |value: &&Value| text.is_none() || value.members.len() > ONLY_A_MESSAGE;
    let value = exception.value.as_ref().filter(says_more).map(bare);
    if exception.state == ExceptionState::Uncaught {
        let odd = text.filter(|text| value.is_none() && text.reason.is_some()).map(bare);
        return value.or(odd).map(|value| format!("what was thrown: {value}")).into_iter().collect();
    }
    let ty = exception.ty.as_deref().map_or("an exception".into(), |ty| format!("`{}`", plain(ty)));
    let what = value.or_else(|| text.map(bare)).map_or(String::new(), |what| format!(": {what}"));
    vec![format!("while it handled {ty}{what}")]
}
