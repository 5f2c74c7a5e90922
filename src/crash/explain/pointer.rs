//! Accesses through a pointer that leads nowhere, or to where the access is not permitted.

use super::mapping;
use super::name::{Expression, Member};
use super::scene::{Culprit, Scene, bytes};
use super::{Explanation, inferred, known, place, told};
use crate::address::Avma;
use crate::crash::text::Text;
use crate::report::{Access, Cause, Finding};

/// Below this, no program has anything mapped (`vm.mmap_min_addr` is 65536 by default): a pointer that is smaller was a number.
const LOWEST_MAPPED: u64 = 0x1_0000;
/// Characters that make a number look like text.
const MIN_TEXT_BYTES: usize = 5;

/// The pointer that the failed access went through.
struct Pointer {
    /// The register that held it.
    register: &'static str,
    value: u64,
    name: Option<Expression>,
}

impl Pointer {
    fn of(scene: &Scene<'_, '_>, culprit: Culprit) -> Option<Self> {
        let number = culprit.access.base.or(culprit.access.index)?;
        let value = scene.registers.get(number)?;
        Some(Self { register: scene.register_name(number), value, name: scene.name_of_register(number) })
    }

    /// `` `p` (struct rec *) `` or `the pointer in rax`
    fn described(&self) -> String {
        self.name.as_ref().map_or_else(|| format!("the pointer in {}", self.register), Expression::with_type)
    }
}

/// What happened, if the fault is of an access to memory.
pub fn explain(scene: &Scene<'_, '_>) -> Option<Explanation> {
    let culprit = scene.culprit();
    let address = told::address(scene.fault).map(Avma).or(culprit.map(|culprit| culprit.address))?;
    let pointer = culprit.and_then(|culprit| Pointer::of(scene, culprit));
    let what = culprit.and_then(|culprit| scene.name_of_access(&culprit.access));
    let case = Case { scene, culprit, address, pointer, what };
    let explanation = case.misaligned().or_else(|| case.null()).or_else(|| case.forbidden()).or_else(|| case.text());
    let explanation =
        explanation.or_else(|| case.small()).or_else(|| case.not_canonical()).unwrap_or_else(|| case.unmapped());
    Some(explanation.with(case.operand()))
}

struct Case<'c, 's, 'm> {
    scene: &'c Scene<'s, 'm>,
    culprit: Option<Culprit>,
    address: Avma,
    pointer: Option<Pointer>,
    /// What was accessed.
    what: Option<Expression>,
}

impl Case<'_, '_, '_> {
    fn verb(&self) -> &'static str {
        self.scene.verb()
    }

    fn operand(&self) -> Option<Finding> {
        self.culprit.map(|culprit| self.scene.operand(culprit))
    }

    fn is_mapped(&self) -> bool {
        told::is_forbidden(self.scene.fault)
    }

    /// ``wrote to `p->name` at address 0x18``
    fn did(&self) -> String {
        match &self.what {
            Some(what) => format!("{} `{}` at address {}", self.verb(), what.text, self.address),
            None => format!("{} address {}", self.verb(), self.address),
        }
    }

    fn misaligned(&self) -> Option<Explanation> {
        let culprit = self.culprit.filter(|culprit| {
            told::address(self.scene.fault).is_none()
                && self.scene.is_misaligned(*culprit)
                && self.scene.is_canonical(culprit.address)
        })?;
        let alignment = culprit.access.alignment;
        let sentence = format!(
            "{}, which is no multiple of {alignment}: this instruction accesses aligned memory only",
            self.did()
        );
        Some(Explanation::new(Cause::Misaligned, sentence).with(self.pointer_finding()))
    }

    fn null(&self) -> Option<Explanation> {
        if self.is_mapped() {
            return None;
        }
        let Some(pointer) = self.pointer.as_ref() else {
            let plain = (self.address.0 < told::NULL_PAGE_BYTES)
                .then(|| told::explanation(self.scene.fault, self.scene.pid))?;
            return Some(Explanation::new(Cause::NullPointer, plain));
        };
        if pointer.value != 0 {
            return self.null_array(pointer);
        }
        let verb = self.verb();
        let sentence = match (&self.what, &pointer.name) {
            (Some(what), Some(name)) => match &what.member {
                Some(member) if member.is_method_table() => {
                    format!("used a virtual method of a null object: {} is NULL", name.with_type())
                }
                Some(Member { name: of, offset }) if *offset > 0 => format!(
                    "{verb} `{}` through a null pointer: {} is NULL, and `{of}` lies {offset:#x} bytes into it",
                    what.text,
                    name.with_type()
                ),
                _ => format!("{verb} `{}` through a null pointer: {} is NULL", what.text, name.with_type()),
            },
            _ => format!("{verb} address {} through a null pointer: {} was 0", self.address, pointer.register),
        };
        Some(Explanation::new(Cause::NullPointer, sentence))
    }

    /// An element of an array, whose address was computed before.
    fn null_array(&self, pointer: &Pointer) -> Option<Explanation> {
        let number = self.culprit?.access.base.filter(|_| pointer.name.is_none())?;
        let array = self.scene.name(|namer| namer.array_behind(number)).filter(|array| array.value == Some(0))?;
        let sentence = format!(
            "{} `{}[..]` at address {} through a null pointer: {} is NULL",
            self.verb(),
            array.text,
            self.address,
            array.with_type()
        );
        Some(Explanation::new(Cause::NullPointer, sentence))
    }

    /// A mapping is there, and does not permit it.
    fn forbidden(&self) -> Option<Explanation> {
        if !self.is_mapped() {
            return None;
        }
        let place = place::find(self.scene.code, self.address);
        let is_write = self.scene.access() == Some(Access::Write);
        if mapping::permits_nothing(self.scene.fault) == Some(true) {
            let sentence = format!("{}, in memory that permits no access at all (a guard page)", self.did());
            return Some(Explanation::new(Cause::Forbidden, sentence).with(self.pointer_finding()));
        }
        let (cause, why) = match (is_write, &place) {
            (true, Some(place)) => (Cause::ReadOnly, format!("which is read-only: it is {}", place.describe())),
            (true, None) => (Cause::ReadOnly, "which is read-only".to_owned()),
            (false, _) => (Cause::Forbidden, "which does not permit it".to_owned()),
        };
        Some(
            Explanation::new(cause, format!("{}, {why}", self.did()))
                .with(self.pointer_finding())
                .with(self.mapping_finding()),
        )
    }

    fn text(&self) -> Option<Explanation> {
        let pointer = self.pointer.as_ref()?;
        let text = text_in(pointer.value)?;
        let sentence = format!("{}: {} holds the text \"{text}\" and no address", self.did(), pointer.described());
        Some(
            Explanation::new(Cause::TextAsPointer, sentence)
                .inferred("the pointer was probably overwritten by a text that is too long"),
        )
    }

    fn small(&self) -> Option<Explanation> {
        let pointer = self.pointer.as_ref().filter(|pointer| pointer.value < LOWEST_MAPPED)?;
        if self.address.0 >= LOWEST_MAPPED {
            return None;
        }
        let sentence = format!(
            "{}: {} holds the small number {} ({:#x}) and no address",
            self.did(),
            pointer.described(),
            pointer.value,
            pointer.value
        );
        let explanation = Explanation::new(Cause::SmallInteger, sentence);
        Some(match pointer.value < told::NULL_PAGE_BYTES {
            true => explanation.inferred("it may also be the address of a member, taken through a null pointer"),
            false => explanation,
        })
    }

    fn not_canonical(&self) -> Option<Explanation> {
        if self.scene.is_canonical(self.address) {
            return None;
        }
        let value =
            self.pointer.as_ref().map(|pointer| format!("; {} holds {:#x}", pointer.described(), pointer.value));
        let sentence =
            format!("{}, which no memory can have (it is not canonical){}", self.did(), value.unwrap_or_default());
        Some(Explanation::new(Cause::NotCanonical, sentence))
    }

    fn unmapped(&self) -> Explanation {
        let behind = mapping::behind_end(self.scene.fault).map(|(mapping, distance)| {
            let of = mapping.file.as_ref().map_or(String::new(), |file| format!(" of {file}"));
            let text = match distance {
                0 => format!("right behind the end of the mapping{of} from {} to {}", mapping.start, mapping.end),
                more => format!(
                    "{} behind the end of the mapping{of} from {} to {}",
                    bytes(more),
                    mapping.start,
                    mapping.end
                ),
            };
            inferred(format!("the address lies {text}: it may have run over that"))
        });
        let sentence = format!("{}, where no memory is mapped", self.did());
        Explanation::new(Cause::Unmapped, sentence).with(self.pointer_finding()).with(behind)
    }

    fn pointer_finding(&self) -> Option<Finding> {
        let pointer = self.pointer.as_ref().filter(|pointer| pointer.name.is_some())?;
        Some(known(format!("{} was {:#x}, in {}", pointer.described(), pointer.value, pointer.register)))
    }

    fn mapping_finding(&self) -> Option<Finding> {
        let mapping = mapping::describe(self.scene.fault).filter(|mapping| mapping.contains_address)?;
        let of = mapping.file.as_ref().map_or("of no file".into(), |file| format!("of {file}"));
        Some(known(format!(
            "the mapping from {} to {} ({of}) permits {}",
            mapping.start, mapping.end, mapping.permissions
        )))
    }
}

/// The text that a pointer consists of, if all of its bytes are printable, but for zeros at its upper end.
pub fn text_in(value: u64) -> Option<String> {
    let bytes = value.to_le_bytes();
    let end = bytes.iter().rposition(|&byte| byte != 0)? + 1;
    let is_text = end >= MIN_TEXT_BYTES && bytes[..end].iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ');
    is_text.then(|| Text::new(&bytes[..end]).text.escape_debug().to_string())
}
