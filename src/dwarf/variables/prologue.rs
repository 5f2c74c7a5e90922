//! Whether a function has set up its frame at an address: before that, places in the frame hold what was there before.

use gimli::constants as dw;

use super::super::listing::code_of;
use super::super::units::Units;
use super::Body;
use crate::address::Svma;

/// Rows of one unit's line table that are looked at.
const MAX_ROWS: usize = 1 << 24;

impl<'a> Units<'a> {
    /// Whether the code at `address` still makes the frame of the function around it. The compiler marks the end of that
    /// (`prologue_end`); where it does not, the code of the second line is taken to be behind it, as debuggers do.
    pub(super) fn is_in_prologue(&self, unit: u32, body: &Body<'a>, address: Svma) -> bool {
        let ranges = self.entry(body.die).map(|entry| code_of(self, unit, &entry)).unwrap_or_default();
        let Some(first) = ranges.first().filter(|range| range.contains(&address)) else { return false };
        let Some(program) = self.get(unit).unit.line_program.clone() else { return false };
        let mut rows = program.rows();
        let (mut marked, mut second): (Option<u64>, Option<u64>) = (None, None);
        for _ in 0..MAX_ROWS {
            let Ok(Some((_, row))) = rows.next_row() else { break };
            if row.end_sequence() || !first.contains(&Svma(row.address())) {
                continue;
            }
            let at = row.address();
            if row.prologue_end() {
                marked = Some(marked.map_or(at, |known| known.min(at)));
            }
            if at > first.start.0 && row.is_stmt() {
                second = Some(second.map_or(at, |known| known.min(at)));
            }
        }
        marked.or(second).is_some_and(|end| address.0 < end)
    }

    /// Where a function begins, from its entry.
    pub(super) fn entry_of(&self, body: &Body<'a>) -> Option<Svma> {
        let entry = self.entry(body.die)?;
        debug_assert_eq!(entry.tag, dw::DW_TAG_subprogram);
        code_of(self, body.die.unit, &entry).first().map(|range| range.start)
    }
}
