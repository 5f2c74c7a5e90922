//! What a probe costs on an instruction: it depends on what the kernel does with that instruction.
//!
//! The kernel puts a trap in the instruction's place. Some instructions it then emulates; any other is executed elsewhere, and a second
//! trap behind it leads back. Which ones are emulated differs between kernels, so [`Costs`] are measured (`crate::probe::calibrate`).

use super::Architecture;
use crate::address::FileOffset;

/// Index of a [`ProbeClass`] in [`Architecture::probe_classes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClassId(pub u8);

/// All that the kernel emulates nowhere, or that is not looked at closer: it is executed out of line, and single-stepped.
pub const SINGLE_STEPPED: ClassId = ClassId(0);

/// Instructions that kernels treat alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbeClass {
    /// As people call it: `push`, `5-byte nop`.
    pub name: &'static str,
    /// Nanoseconds where nothing was measured: those of kernels that emulate what all do since Linux 4.18.
    pub default_ns: u32,
    /// Code of a function whose first instruction is of this class, and which changes nothing.
    pub sample: &'static [u8],
}

/// A program that executes an instruction of each class, and says how long that took.
#[derive(Clone, Debug)]
pub struct Calibration {
    /// An executable file. For each sample it calls that many times, it writes 32 bytes to its standard output: two `struct timespec`,
    /// the time before and after. It does so for all samples, and that several times.
    pub program: Vec<u8>,
    /// Where the samples begin: one for each class, and one that returns through the trampoline.
    pub samples: Vec<FileOffset>,
    /// How often each is called in a row.
    pub calls: u32,
}

/// Nanoseconds of a return by the kernel's trampoline, where nothing was measured.
const DEFAULT_TRAMPOLINE_NS: u32 = 1_200;

/// What probes cost here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Costs {
    /// Nanoseconds of a probe on an instruction of each class.
    pub class_ns: Vec<u32>,
    /// Nanoseconds that the return by the trampoline adds.
    pub trampoline_ns: u32,
    /// Measured on this machine since it was started, or the table of defaults.
    pub is_measured: bool,
}

impl Costs {
    /// The costs where nothing was measured.
    #[must_use]
    pub fn defaults(arch: &dyn Architecture) -> Self {
        let class_ns = arch.probe_classes().iter().map(|class| class.default_ns).collect();
        Self { class_ns, trampoline_ns: DEFAULT_TRAMPOLINE_NS, is_measured: false }
    }

    /// Nanoseconds of a probe on an instruction of this class.
    #[must_use]
    pub fn of(&self, class: ClassId) -> u32 {
        let known = self.class_ns.get(usize::from(class.0)).or_else(|| self.class_ns.first());
        known.copied().unwrap_or_default()
    }

    /// Whether the kernel emulates such instructions, by what it costs. A second trap is 15 times as expensive as all the rest on
    /// virtual machines, and not twice as expensive on others.
    #[must_use]
    pub fn is_cheap(&self, class: ClassId) -> bool {
        self.of(class) < self.of(SINGLE_STEPPED) / 4 * 3
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::host;

    /// Guards against a default table for which single-stepped code counts as cheap, or nothing does.
    #[test]
    fn the_defaults_tell_cheap_from_expensive() {
        let costs = Costs::defaults(host());
        assert!(!costs.is_cheap(SINGLE_STEPPED) && !costs.is_cheap(host().return_class()));
        let cheap = (0..).zip(host().probe_classes()).filter(|(id, _)| costs.is_cheap(ClassId(*id)));
        let names: Vec<&str> = cheap.map(|(_, class)| class.name).collect();
        assert_eq!(names, ["push", "1-byte nop", "jmp", "jcc", "call"]);
        assert_eq!(costs.of(ClassId(200)), costs.of(SINGLE_STEPPED));
    }
}
