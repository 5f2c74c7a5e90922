//! The page, without what is different in each run.

/// With `*` for every address; offsets, which are short, stay.
pub fn without_addresses(line: &str) -> String {
    let mut parts = line.split("0x");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.trim_start_matches(|digit: char| digit.is_ascii_hexdigit());
        let is_address = part.len() - rest.len() > 8;
        out += if is_address { "*" } else { "0x" };
        out += if is_address { rest } else { part };
    }
    out
}
