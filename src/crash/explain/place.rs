//! What a file has at an address: its section, its variable, its text.

use crate::address::{Avma, Svma};
use crate::binary::Binary;
use crate::crash::code::Code;
use crate::crash::text::Text;

/// Bytes of a text that are shown.
const SHOWN_BYTES: u64 = 64;

/// Something in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file's name, without directories.
    pub file: String,
    /// `.rodata`
    pub section: Option<String>,
    /// The variable or function, and how far into it.
    pub symbol: Option<(String, u64)>,
    /// The text that is there, in a section of constants.
    pub text: Option<String>,
}

/// What is at `address`.
pub fn find(code: &Code<'_>, address: Avma) -> Option<Place> {
    let (binary, svma) = code.module_around(address)?;
    let section = binary.section_around(svma);
    let file = binary.path().file_name()?.to_string_lossy().into_owned();
    let variable = binary.variable_around(svma).map(|(name, offset)| (name.to_owned(), offset));
    let function = || {
        let function = code.functions_at(address).last().cloned()?;
        Some((function.name?, svma.0.checked_sub(function.entry?.0)?))
    };
    let is_constant = section.as_ref().is_some_and(|(name, _)| name.starts_with(".rodata"));
    let text = section.as_ref().filter(|_| is_constant).and_then(|(_, range)| text(binary, svma, range));
    Some(Place { file, section: section.map(|(name, _)| name.to_owned()), symbol: variable.or_else(function), text })
}

/// The text around an address of a section: from the NUL before to the NUL behind.
fn text(binary: &Binary, at: Svma, section: &std::ops::Range<Svma>) -> Option<String> {
    let start = section.start.0.max(at.0.saturating_sub(SHOWN_BYTES));
    let end = section.end.0.min(at.0.saturating_add(SHOWN_BYTES));
    let bytes = binary.contents(Svma(start)..Svma(end))?;
    let (before, behind) = bytes.split_at_checked(usize::try_from(at.0 - start).ok()?)?;
    let first = before.iter().rposition(|&byte| byte == 0).map_or(0, |nul| nul + 1);
    let last = before.len() + behind.iter().position(|&byte| byte == 0)?;
    let is_text =
        |bytes: &[u8]| !bytes.is_empty() && bytes.iter().all(|&byte| byte >= b' ' || byte == b'\n' || byte == b'\t');
    let found = &bytes[first..last];
    is_text(found).then(|| Text::new(found).text.escape_debug().to_string())
}

impl Place {
    /// ``in `.rodata` of exp1``
    pub fn describe(&self) -> String {
        let section = self.section.as_ref().map_or("what is loaded".into(), |section| format!("`{section}`"));
        let symbol = match &self.symbol {
            Some((name, 0)) => format!(" (`{name}`)"),
            Some((name, offset)) => format!(" (`{name}` + {offset:#x})"),
            None => String::new(),
        };
        let text = self.text.as_ref().filter(|_| self.symbol.is_none());
        let text = text.map_or(String::new(), |text| format!(", the text \"{text}\""));
        format!("in {section} of {}{symbol}{text}", self.file)
    }
}
