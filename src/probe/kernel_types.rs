//! The kernel's own BTF in; offsets of the few structure members that the recorder reads out.
//!
//! A small reader of our own: it is asked for a dozen members at every start, and the libraries that read BTF either keep their
//! types to themselves or build a copy of all 100,000 of them. Format: Documentation/bpf/btf.rst of the kernel.

use std::collections::HashMap;
use std::path::Path;

use lastwords_abi::TaskOffsets;

use super::ProbeError;

const BTF_PATH: &str = "/sys/kernel/btf/vmlinux";
const MAGIC: u16 = 0xeb9f;
const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;
const KIND_TYPEDEF: u32 = 8;
const KIND_VOLATILE: u32 = 9;
const KIND_CONST: u32 = 10;
const KIND_FUNC: u32 = 12;
/// `btf_type.info` bit 31: member offsets hold a bit field's size in their upper byte.
const KIND_FLAG: u32 = 1 << 31;
/// Anonymous structures inside of each other, at the most.
const MAX_NESTING: u32 = 8;

/// The kernel's types, indexed by name as far as they are needed.
pub struct KernelTypes {
    data: Vec<u8>,
    strings: usize,
    /// Offset in `data` of each type's description, by its id.
    types: Vec<u32>,
    named: HashMap<String, u32>,
    functions: HashMap<String, u32>,
}

impl KernelTypes {
    /// Reads the running kernel's types.
    ///
    /// # Errors
    /// If the kernel has none, or they are damaged.
    pub fn load() -> Result<Self, ProbeError> {
        let data = std::fs::read(Path::new(BTF_PATH)).map_err(|source| ProbeError::NoKernelTypes { source })?;
        Self::parse(data).ok_or(ProbeError::DamagedKernelTypes { path: BTF_PATH.into() })
    }

    fn parse(data: Vec<u8>) -> Option<Self> {
        if u16::from_ne_bytes(data.get(..2)?.try_into().ok()?) != MAGIC {
            return None;
        }
        let header = word(&data, 4)? as usize;
        let (first, bytes) = (header + word(&data, 8)? as usize, word(&data, 12)? as usize);
        let strings = header + word(&data, 16)? as usize;
        let mut this = Self { data, strings, types: vec![0], named: HashMap::new(), functions: HashMap::new() };
        let mut at = first;
        while at < first + bytes {
            let info = word(&this.data, at + 4)?;
            let id = u32::try_from(this.types.len()).ok()?;
            this.types.push(u32::try_from(at).ok()?);
            match kind(info) {
                KIND_STRUCT => this.index_name(at, id, false)?,
                KIND_FUNC => this.index_name(at, id, true)?,
                _ => {}
            }
            at += 12 + extra_bytes(info)?;
        }
        Some(this)
    }

    /// Names are looked at only where they begin like one that is needed: the rest of 100,000 need no copy.
    fn index_name(&mut self, at: usize, id: u32, function: bool) -> Option<()> {
        let name = self.name(word(&self.data, at)?)?;
        if function {
            if name.starts_with("bpf_session") {
                let name = name.to_owned();
                self.functions.insert(name, id);
            }
        } else if NEEDED_STRUCTURES.contains(&name) {
            let name = name.to_owned();
            self.named.insert(name, id);
        }
        Some(())
    }

    /// The BTF id of a kernel function that eBPF programs may call.
    #[must_use]
    pub fn function(&self, name: &str) -> Option<u32> {
        self.functions.get(name).copied()
    }

    /// Byte offset of a member, given as a path: `["task_struct", "thread", "cr2"]`.
    fn offset(&self, path: &[&str]) -> Option<u32> {
        let (structure, members) = path.split_first()?;
        let mut ty = *self.named.get(*structure)?;
        let mut offset = 0;
        for member in members {
            let (found, member_type) = self.member(self.unqualified(ty)?, member, 0)?;
            offset += found;
            ty = member_type;
        }
        Some(offset)
    }

    /// The type behind `const`, `volatile` and type definitions.
    fn unqualified(&self, mut ty: u32) -> Option<u32> {
        for _ in 0..MAX_NESTING {
            let at = *self.types.get(ty as usize)? as usize;
            match kind(word(&self.data, at + 4)?) {
                KIND_TYPEDEF | KIND_VOLATILE | KIND_CONST => ty = word(&self.data, at + 8)?,
                _ => return Some(ty),
            }
        }
        None
    }

    /// Byte offset and type of a member, looked for in anonymous structures as well.
    fn member(&self, ty: u32, wanted: &str, nesting: u32) -> Option<(u32, u32)> {
        let at = *self.types.get(ty as usize)? as usize;
        let info = word(&self.data, at + 4)?;
        if !matches!(kind(info), KIND_STRUCT | KIND_UNION) || nesting > MAX_NESTING {
            return None;
        }
        for number in 0..(info & 0xffff) as usize {
            let member = at + 12 + number * 12;
            let name = self.name(word(&self.data, member)?)?;
            let member_type = word(&self.data, member + 4)?;
            let raw = word(&self.data, member + 8)?;
            let bits = if info & KIND_FLAG != 0 { raw & 0x00ff_ffff } else { raw };
            if name == wanted {
                return Some((bits / 8, member_type));
            }
            if name.is_empty()
                && let Some((inner, inner_type)) = self.member(self.unqualified(member_type)?, wanted, nesting + 1)
            {
                return Some((bits / 8 + inner, inner_type));
            }
        }
        None
    }

    fn name(&self, offset: u32) -> Option<&str> {
        let rest = self.data.get(self.strings + offset as usize..)?;
        let end = rest.iter().position(|&byte| byte == 0)?;
        std::str::from_utf8(&rest[..end]).ok()
    }

    /// Offset in a task of the base of its thread-local storage; 0 where this architecture keeps it elsewhere.
    #[must_use]
    pub fn thread_tls_base(&self) -> u32 {
        self.offset(&["task_struct", "thread", "fsbase"]).unwrap_or(0)
    }

    /// The offsets that the recorder needs, and whether this architecture has the details of a fault.
    ///
    /// # Errors
    /// If a member that it cannot do without is not there.
    pub fn task_offsets(&self) -> Result<(TaskOffsets, bool), ProbeError> {
        let need =
            |path: &[&str]| self.offset(path).ok_or_else(|| ProbeError::UnknownKernelType { member: path.join(".") });
        let thread = |member| self.offset(&["task_struct", "thread", member]);
        let details = thread("cr2").zip(thread("trap_nr")).zip(thread("error_code"));
        let ((fault_register, trap), error_code) = details.unwrap_or_default();
        let offsets = TaskOffsets {
            task_pid: need(&["task_struct", "pid"])?,
            task_tgid: need(&["task_struct", "tgid"])?,
            task_signal: need(&["task_struct", "signal"])?,
            task_exit_code: need(&["task_struct", "exit_code"])?,
            task_mm: need(&["task_struct", "mm"])?,
            thread_error_code: error_code,
            thread_trap: trap,
            thread_fault_register: fault_register,
            signal_live: need(&["signal_struct", "live"])?,
            mm_start_code: need(&["mm_struct", "start_code"])?,
            mm_arg_start: need(&["mm_struct", "arg_start"])?,
            mm_arg_end: need(&["mm_struct", "arg_end"])?,
            mm_start_stack: need(&["mm_struct", "start_stack"])?,
            task_utask: need(&["task_struct", "utask"])?,
            utask_returns: need(&["uprobe_task", "return_instances"])?,
            return_stack: need(&["return_instance", "stack"])?,
            return_address: need(&["return_instance", "orig_ret_vaddr"])?,
            return_next: need(&["return_instance", "next"])?,
            return_function: need(&["return_instance", "func"])?,
            action_handler: need(&["k_sigaction", "sa", "sa_handler"])?,
            action_flags: need(&["k_sigaction", "sa", "sa_flags"])?,
            task_blocked: need(&["task_struct", "blocked"])?,
            task_alt_stack: need(&["task_struct", "sas_ss_sp"])?,
            task_alt_stack_bytes: need(&["task_struct", "sas_ss_size"])?,
            signal_flags: need(&["signal_struct", "flags"])?,
            signal_exit_code: need(&["signal_struct", "group_exit_code"])?,
            binprm_file: need(&["linux_binprm", "file"])?,
            file_inode: need(&["file", "f_inode"])?,
            inode_number: need(&["inode", "i_ino"])?,
            inode_super_block: need(&["inode", "i_sb"])?,
            super_block_device: need(&["super_block", "s_dev"])?,
            vma_start: need(&["vm_area_struct", "vm_start"])?,
            vma_end: need(&["vm_area_struct", "vm_end"])?,
            vma_flags: need(&["vm_area_struct", "vm_flags"])?,
            vma_file: need(&["vm_area_struct", "vm_file"])?,
            vma_page_offset: need(&["vm_area_struct", "vm_pgoff"])?,
            inode_bytes: need(&["inode", "i_size"])?,
            file_dentry: need(&["file", "f_path", "dentry"])?,
            dentry_name: need(&["dentry", "d_name", "name"])?,
        };
        Ok((offsets, details.is_some()))
    }
}

const NEEDED_STRUCTURES: [&str; 12] = [
    "uprobe_task",
    "return_instance",
    "task_struct",
    "signal_struct",
    "mm_struct",
    "k_sigaction",
    "linux_binprm",
    "file",
    "inode",
    "super_block",
    "vm_area_struct",
    "dentry",
];

fn word(data: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(data.get(at..at + 4)?.try_into().ok()?))
}

/// `BTF_INFO_KIND`
fn kind(info: u32) -> u32 {
    info >> 24 & 0x1f
}

/// Bytes that follow the common part of a type's description; `None` for a kind that we do not know.
fn extra_bytes(info: u32) -> Option<usize> {
    let entries = (info & 0xffff) as usize;
    Some(match kind(info) {
        // INT, VAR, DECL_TAG
        1 | 14 | 17 => 4,
        // ARRAY
        3 => 12,
        // STRUCT, UNION, DATASEC, ENUM64
        4 | 5 | 15 | 19 => entries * 12,
        // ENUM, FUNC_PROTO
        6 | 13 => entries * 8,
        // PTR, FWD, TYPEDEF, VOLATILE, CONST, RESTRICT, FUNC, FLOAT, TYPE_TAG
        2 | 7..=12 | 16 | 18 => 0,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards against an offset that is looked up in the wrong place: `pid` and `tgid` are neighbours of 4 bytes in every kernel.
    #[test]
    fn the_running_kernel_says_where_process_ids_are() {
        let (offsets, _) = KernelTypes::load().unwrap().task_offsets().unwrap();
        assert_eq!(offsets.task_tgid, offsets.task_pid + 4);
        assert_eq!(offsets.action_handler, 0);
    }

    /// Guards against a panic on types that are cut off anywhere.
    #[test]
    fn damaged_kernel_types_are_refused() {
        let whole = std::fs::read(BTF_PATH).unwrap();
        for length in [0, 1, 2, 8, 20, 24, 100, whole.len() / 2] {
            assert!(KernelTypes::parse(whole[..length].to_vec()).is_none_or(|types| types.task_offsets().is_err()));
        }
    }
}
