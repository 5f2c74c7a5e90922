//! The first bytes of a file: what kind of file it is, and whether we can use it.

use std::fmt;
use std::path::Path;

use goblin::elf::header::{
    EI_CLASS, EI_DATA, ELFCLASS32, ELFCLASS64, ELFDATA2LSB, ELFDATA2MSB, ELFMAG, EM_AARCH64, EM_X86_64, ET_CORE,
    ET_DYN, ET_EXEC, ET_REL, Header, SIZEOF_IDENT, machine_to_str,
};

use super::error::BinaryError;

/// The machines that this program knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    /// `EM_X86_64`
    X86_64,
    /// `EM_AARCH64`
    Aarch64,
}

impl Machine {
    /// The machine that this program was built for.
    pub const HOST: Self = if cfg!(target_arch = "aarch64") { Self::Aarch64 } else { Self::X86_64 };

    /// An instruction that does nothing and may stand in front of a function's first: the target of an indirect jump (`endbr64`,
    /// `bti c`).
    #[must_use]
    pub const fn entry_marker(self) -> [u8; 4] {
        match self {
            Self::X86_64 => [0xf3, 0x0f, 0x1e, 0xfa],
            Self::Aarch64 => [0x5f, 0x24, 0x03, 0xd5],
        }
    }

    /// How long the instruction is that `code` begins with, if that does nothing (`nop`). `-fpatchable-function-entry` puts some at entries.
    #[must_use]
    pub fn nop_length(self, code: &[u8]) -> Option<usize> {
        match self {
            Self::X86_64 => {
                let prefixes = code.iter().take_while(|byte| **byte == 0x66).count();
                match code.get(prefixes..)? {
                    [0x90, ..] => Some(prefixes + 1),
                    // ModRM: Intel SDM volume 2, table 2-2.
                    [0x0f, 0x1f, modrm, ..] => {
                        let (mode, register) = (modrm >> 6, modrm & 7);
                        let scale = usize::from(mode != 3 && register == 4);
                        let displacement = match mode {
                            0 => {
                                if register == 5 {
                                    4
                                } else {
                                    0
                                }
                            }
                            1 => 1,
                            2 => 4,
                            _ => 0,
                        };
                        Some(prefixes + 3 + scale + displacement)
                    }
                    _ => None,
                }
            }
            Self::Aarch64 => code.starts_with(&[0x1f, 0x20, 0x03, 0xd5]).then_some(4),
        }
    }

    fn parse(e_machine: u16) -> Option<Self> {
        match e_machine {
            EM_X86_64 => Some(Self::X86_64),
            EM_AARCH64 => Some(Self::Aarch64),
            _ => None,
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::X86_64 => "x86-64",
            Self::Aarch64 => "aarch64",
        })
    }
}

/// What a file is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Its code runs: a program or a library.
    Code,
    /// Its debug info is read. The files that dwz makes are object files.
    DebugInfo,
}

/// The file header of `bytes`, if it is a file that we can use.
pub(super) fn parse(path: &Path, bytes: &[u8], purpose: Purpose) -> Result<(Header, Machine), BinaryError> {
    let path = || path.to_path_buf();
    if !bytes.starts_with(ELFMAG) {
        return Err(not_elf(path(), bytes));
    }
    let truncated = || BinaryError::Damaged { path: path(), what: "its header is not complete".to_owned() };
    let ident = bytes.get(..SIZEOF_IDENT).ok_or_else(truncated)?;
    match (ident[EI_CLASS], ident[EI_DATA]) {
        (ELFCLASS64, ELFDATA2LSB) => {}
        (_, ELFDATA2MSB) => return Err(BinaryError::BigEndian { path: path() }),
        (ELFCLASS32, _) => return Err(BinaryError::Bits32 { path: path() }),
        (class, data) => {
            let what = format!("its header has class {class} and byte order {data}");
            return Err(BinaryError::Damaged { path: path(), what });
        }
    }
    let header = goblin::elf::Elf::parse_header(bytes).map_err(|_| truncated())?;
    let machine = Machine::parse(header.e_machine).filter(|machine| *machine == Machine::HOST);
    let machine = machine.ok_or_else(|| BinaryError::OtherMachine {
        path: path(),
        expected: Machine::HOST.to_string(),
        found: machine_name(header.e_machine),
    })?;
    let found = match header.e_type {
        ET_EXEC | ET_DYN => return Ok((header, machine)),
        ET_REL if purpose == Purpose::DebugInfo => return Ok((header, machine)),
        ET_REL => "an object file",
        ET_CORE => "a core file",
        _ => "an ELF file of another type",
    };
    Err(BinaryError::NotExecutable { path: path(), found })
}

fn machine_name(e_machine: u16) -> String {
    Machine::parse(e_machine).map_or_else(|| machine_to_str(e_machine).to_lowercase(), |machine| machine.to_string())
}

/// Bytes of a `#!` line that the kernel reads (`BINPRM_BUF_SIZE`, since Linux 5.1).
const SCRIPT_LINE_BYTES: usize = 256;

fn not_elf(path: std::path::PathBuf, bytes: &[u8]) -> BinaryError {
    if let Some(rest) = bytes.strip_prefix(b"#!") {
        let line = rest.split(|&byte| byte == b'\n').next().unwrap_or_default();
        let line = String::from_utf8_lossy(&line[..line.len().min(SCRIPT_LINE_BYTES)]);
        if let Some(interpreter) = line.split_whitespace().next() {
            // `#!/usr/bin/env python3` runs python3.
            let named = line.split_whitespace().skip(1).find(|word| !word.starts_with('-') && !word.contains('='));
            let through_env = interpreter.rsplit('/').next() == Some("env");
            let interpreter = named.filter(|_| through_env).unwrap_or(interpreter).to_owned();
            return BinaryError::Script { path, interpreter };
        }
    }
    let found = match bytes {
        [] => "an empty file".to_owned(),
        bytes if bytes.iter().take(64).all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace()) => {
            "text".to_owned()
        }
        bytes => {
            let start: Vec<String> = bytes.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
            format!("a file that begins with the bytes {}", start.join(" "))
        }
    };
    BinaryError::NotElf { path, found }
}
