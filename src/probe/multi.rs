//! Many probes by one link: `BPF_TRACE_UPROBE_MULTI` (Linux 6.6) and `BPF_TRACE_UPROBE_SESSION` (Linux 6.13).
//!
//! aya 0.14 has neither, and aya 0.16, which has, needs a newer compiler than ours. So the program is relocated with aya-obj, against
//! the maps that aya made, and two bpf(2) calls are made here. Written to be deleted when aya 0.16 can be used.

use std::collections::{HashMap, HashSet};
use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use aya_obj::generated::{bpf_attach_type, bpf_attr, bpf_cmd, bpf_insn, bpf_prog_type};
use aya_obj::{Function, Object};
use lastwords_abi::KFUNC_SESSION_IS_RETURN;
use nix::libc;

use super::{ProbeError, Site};

/// `BPF_TRACE_UPROBE_SESSION`, which aya-obj 0.3 does not know yet.
const BPF_TRACE_UPROBE_SESSION: u32 = 57;
/// `BPF_F_UPROBE_MULTI_RETURN`
const RETURN_FLAG: u32 = 1;
/// `BPF_F_SLEEPABLE`
const SLEEPABLE_FLAG: u32 = 1 << 4;
/// `BPF_PSEUDO_KFUNC_CALL`
const PSEUDO_KFUNC_CALL: u8 = 2;
/// `BPF_JMP | BPF_CALL`
const CALL_INSTRUCTION: u8 = 0x85;
/// Room for the verifier's explanation of a refusal.
const LOG_BYTES: usize = 1 << 20;

/// Which events of a function one link reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The instruction itself.
    Instruction,
    /// The function's return.
    Return,
    /// The function's entry, and its return.
    Session,
    /// The instruction, with a program that does nothing.
    Nothing,
}

impl Kind {
    fn attach_type(self) -> u32 {
        match self {
            Self::Session => BPF_TRACE_UPROBE_SESSION,
            _ => bpf_attach_type::BPF_TRACE_UPROBE_MULTI as u32,
        }
    }

    pub fn program(self) -> &'static str {
        match self {
            Self::Instruction => "probe",
            Self::Return => "probe_return",
            Self::Session => "probe_session",
            Self::Nothing => "probe_nothing",
        }
    }
}

/// The object, relocated against maps that exist.
pub struct Relocated {
    object: Object,
    types: Option<OwnedFd>,
}

impl Relocated {
    /// Relocates the object against the maps with these names.
    pub fn new(bytes: &[u8], maps: &HashMap<String, RawFd>) -> Result<Self, ProbeError> {
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| ProbeError::Load {
            what: "programs".into(),
            source,
            errno: None,
        };
        let mut object = Object::parse(bytes).map_err(|error| failed(error.into()))?;
        let features = aya::features();
        let types = match features.btf() {
            Some(features) => {
                let types = object.fixup_and_sanitize_btf(features).map_err(|error| failed(error.into()))?;
                types.map(|types| load_types(&types.to_bytes())).transpose().map_err(|error| failed(error.into()))?
            }
            None => None,
        };
        let definitions = std::mem::take(&mut object.maps);
        let text: HashSet<usize> = object.functions.keys().map(|(section, _)| *section).collect();
        let present = definitions.iter().filter_map(|(name, map)| Some((name.as_str(), *maps.get(name)?, map)));
        object.relocate_maps(present, &text).map_err(|error| failed(error.into()))?;
        object.relocate_calls(&text).map_err(|error| failed(error.into()))?;
        object.sanitize_functions(features);
        Ok(Self { object, types })
    }

    /// Loads the program of a kind. `is_return` is the BTF id of `bpf_session_is_return`, which only sessions need.
    pub fn load(&self, kind: Kind, is_return: Option<u32>) -> Result<OwnedFd, ProbeError> {
        let name = kind.program();
        let missing = || ProbeError::Object { what: format!("program `{name}`") };
        let program = self.object.programs.get(name).ok_or_else(missing)?;
        let mut function = self.object.functions.get(&program.function_key()).ok_or_else(missing)?.clone();
        if let Some(id) = is_return {
            call_kernel_function(&mut function.instructions, id);
        }
        load_program(name, &function, kind.attach_type(), SLEEPABLE_FLAG, self.types.as_ref()).map_err(
            |(error, log)| ProbeError::Load {
                what: format!("program `{name}`"),
                errno: error.raw_os_error(),
                source: if log.is_empty() { error.into() } else { format!("{error}: {log}").into() },
            },
        )
    }
}

/// Puts the kernel function's id where the object has a placeholder.
fn call_kernel_function(instructions: &mut [bpf_insn], id: u32) {
    for instruction in instructions {
        let is_call = instruction.code == CALL_INSTRUCTION && instruction.src_reg() == 0;
        if is_call && instruction.imm as usize == KFUNC_SESSION_IS_RETURN {
            instruction.set_src_reg(PSEUDO_KFUNC_CALL);
            instruction.imm = id.cast_signed();
        }
    }
}

/// Loads a program for [`Kind::Nothing`] or [`Kind::Return`] that does nothing, without the object and its maps.
pub fn load_nothing(kind: Kind) -> io::Result<OwnedFd> {
    load_empty(kind.attach_type(), if kind == Kind::Return { 0 } else { SLEEPABLE_FLAG })
}

fn load_empty(attach_type: u32, flags: u32) -> io::Result<OwnedFd> {
    // mov $0, %r0; exit
    const CODE: [u64; 2] = [0xb7, 0x95];
    let mut attributes = empty_attributes();
    // SAFETY: all-zero attributes are valid, and this is the member that BPF_PROG_LOAD reads.
    let load = unsafe { &mut attributes.__bindgen_anon_3 };
    load.prog_type = bpf_prog_type::BPF_PROG_TYPE_KPROBE as u32;
    load.expected_attach_type = attach_type;
    load.prog_flags = flags;
    load.insns = CODE.as_ptr() as u64;
    load.insn_cnt = CODE.len() as u32;
    load.license = c"Dual MIT/GPL".as_ptr() as u64;
    bpf(bpf_cmd::BPF_PROG_LOAD, &mut attributes)
}

/// Whether probes may wait for pages (Linux 6.0): found out by loading one that does nothing. Whatever else is wrong, loading the others tells.
pub fn can_wait_for_pages() -> bool {
    let loaded = load_empty(0, SLEEPABLE_FLAG);
    loaded.err().and_then(|error| error.raw_os_error()) != Some(libc::EINVAL)
}

/// Places the probes of one file.
pub fn link(program: &OwnedFd, kind: Kind, path: &Path, sites: &[Site]) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let offsets: Vec<u64> = sites.iter().map(|site| site.offset.0).collect();
    let cookies: Vec<u64> = sites.iter().map(|site| site.cookie).collect();
    let mut attributes = empty_attributes();
    // SAFETY: all-zero attributes are valid, and this is the member that BPF_LINK_CREATE reads.
    let create = unsafe { &mut attributes.link_create };
    create.__bindgen_anon_1.prog_fd = program.as_raw_fd().cast_unsigned();
    create.attach_type = kind.attach_type();
    // SAFETY: a union of structs of numbers; the arrays live until the call has returned.
    let multi = unsafe { &mut create.__bindgen_anon_3.uprobe_multi };
    multi.path = path.as_ptr() as u64;
    multi.offsets = offsets.as_ptr() as u64;
    multi.cookies = cookies.as_ptr() as u64;
    multi.cnt = u32::try_from(sites.len()).map_err(io::Error::other)?;
    multi.flags = if kind == Kind::Return { RETURN_FLAG } else { 0 };
    bpf(bpf_cmd::BPF_LINK_CREATE, &mut attributes)
}

/// Has an event run a program: `BPF_PERF_EVENT` (Linux 5.15).
pub fn link_to_event(program: BorrowedFd<'_>, event: BorrowedFd<'_>, cookie: u64) -> io::Result<OwnedFd> {
    let mut attributes = empty_attributes();
    // SAFETY: all-zero attributes are valid, and this is the member that BPF_LINK_CREATE reads.
    let create = unsafe { &mut attributes.link_create };
    create.__bindgen_anon_1.prog_fd = program.as_raw_fd().cast_unsigned();
    create.__bindgen_anon_2.target_fd = event.as_raw_fd().cast_unsigned();
    create.attach_type = bpf_attach_type::BPF_PERF_EVENT as u32;
    create.__bindgen_anon_3.perf_event.bpf_cookie = cookie;
    bpf(bpf_cmd::BPF_LINK_CREATE, &mut attributes)
}

fn load_program(
    name: &str,
    function: &Function,
    attach_type: u32,
    flags: u32,
    types: Option<&OwnedFd>,
) -> Result<OwnedFd, (io::Error, String)> {
    let try_once = |log: &mut [u8]| {
        let lines = function.line_info.line_info_bytes();
        let functions = function.func_info.func_info_bytes();
        let mut attributes = empty_attributes();
        // SAFETY: all-zero attributes are valid, and this is the member that BPF_PROG_LOAD reads.
        let load = unsafe { &mut attributes.__bindgen_anon_3 };
        for (to, from) in load.prog_name.iter_mut().zip(name.bytes().take(15)) {
            *to = from.cast_signed();
        }
        load.prog_type = bpf_prog_type::BPF_PROG_TYPE_KPROBE as u32;
        load.expected_attach_type = attach_type;
        load.prog_flags = flags;
        load.insns = function.instructions.as_ptr() as u64;
        load.insn_cnt = function.instructions.len() as u32;
        load.license = c"Dual MIT/GPL".as_ptr() as u64;
        if let Some(types) = types {
            load.prog_btf_fd = types.as_raw_fd().cast_unsigned();
            load.func_info = functions.as_ptr() as u64;
            load.func_info_cnt = function.func_info.len() as u32;
            load.func_info_rec_size = function.func_info_rec_size as u32;
            load.line_info = lines.as_ptr() as u64;
            load.line_info_cnt = function.line_info.len() as u32;
            load.line_info_rec_size = function.line_info_rec_size as u32;
        }
        if !log.is_empty() {
            load.log_level = 1;
            load.log_buf = log.as_mut_ptr() as u64;
            load.log_size = log.len() as u32;
        }
        bpf(bpf_cmd::BPF_PROG_LOAD, &mut attributes)
    };
    try_once(&mut []).or_else(|first| {
        if matches!(first.raw_os_error(), Some(libc::EPERM)) {
            return Err((first, String::new()));
        }
        let mut log = vec![0; LOG_BYTES];
        try_once(&mut log).map_err(|error| (error, last_lines(&log)))
    })
}

/// The end of the verifier's log: the part that says why.
fn last_lines(log: &[u8]) -> String {
    let end = log.iter().position(|&byte| byte == 0).unwrap_or(log.len());
    let text = String::from_utf8_lossy(&log[..end]);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}

fn load_types(types: &[u8]) -> io::Result<OwnedFd> {
    let mut attributes = empty_attributes();
    // SAFETY: all-zero attributes are valid, and this is the member that BPF_BTF_LOAD reads.
    let load = unsafe { &mut attributes.__bindgen_anon_7 };
    load.btf = types.as_ptr() as u64;
    load.btf_size = types.len() as u32;
    bpf(bpf_cmd::BPF_BTF_LOAD, &mut attributes)
}

fn empty_attributes() -> bpf_attr {
    // SAFETY: a union of structs of numbers.
    unsafe { std::mem::zeroed() }
}

/// bpf(2) for commands that return a file descriptor.
fn bpf(command: bpf_cmd, attributes: &mut bpf_attr) -> io::Result<OwnedFd> {
    // SAFETY: the callers filled the members that the command reads; every pointer in them outlives the call.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command as libc::c_long, &raw mut *attributes, size_of::<bpf_attr>()) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a new file descriptor that nobody else owns; the kernel made it close-on-exec.
    Ok(unsafe { OwnedFd::from_raw_fd(RawFd::try_from(result).map_err(io::Error::other)?) })
}
