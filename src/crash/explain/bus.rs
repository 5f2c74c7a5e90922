//! Memory that is mapped, and has nothing behind it.

use super::scene::{Scene, bytes};
use super::{Explanation, known, mapping, told};
use crate::address::Avma;
use crate::report::Cause;

/// `si_code`: not aligned.
const BUS_ADRALN: i32 = 1;
/// `si_code`: nothing there.
const BUS_ADRERR: i32 = 2;

/// What happened, if the mapping tells.
pub fn explain(scene: &Scene<'_, '_>) -> Option<Explanation> {
    let address = told::address(scene.fault)?;
    let culprit = scene.culprit();
    let what = culprit.and_then(|culprit| scene.name_of_access(&culprit.access));
    let what = what.map_or(String::new(), |what| format!("`{}` at ", what.text));
    let did = format!("{} {what}address {}", scene.verb(), Avma(address));
    let operand = culprit.map(|culprit| scene.operand(culprit));
    if scene.fault.code == BUS_ADRALN {
        return Some(Explanation::new(Cause::Misaligned, format!("{did}, which is not aligned")).with(operand));
    }
    let mapping = mapping::describe(scene.fault).filter(|mapping| mapping.contains_address)?;
    let (file, size, offset) = (mapping.file?, mapping.file_bytes?, mapping.file_offset?);
    let position = offset.checked_add(address.checked_sub(mapping.start.0)?)?;
    if scene.fault.code != BUS_ADRERR || position < size {
        return None;
    }
    let sentence =
        format!("{did}, which is beyond the end of the mapped file {file}: byte {position} of {}", bytes(size));
    let finding = known(format!("the file is mapped from {} to {}", mapping.start, mapping.end));
    Some(Explanation::new(Cause::BeyondFile, sentence).with([finding]).with(operand))
}
