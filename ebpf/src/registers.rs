//! The registers at a probe: the part of the programs that knows the architecture.

use core::ffi::c_void;

use lastwords_abi::REGISTER_WORDS;

/// `struct pt_regs` of x86-64, as a probe's context gives it.
#[repr(C)]
pub struct Registers {
    r15: u64,
    r14: u64,
    r13: u64,
    r12: u64,
    bp: u64,
    bx: u64,
    r11: u64,
    r10: u64,
    r9: u64,
    r8: u64,
    ax: u64,
    cx: u64,
    dx: u64,
    si: u64,
    di: u64,
    orig_ax: u64,
    ip: u64,
    cs: u64,
    flags: u64,
    sp: u64,
    ss: u64,
}

impl Registers {
    /// Bytes that a call instruction pushes.
    pub const RETURN_ADDRESS_BYTES: u64 = 8;
    /// Bytes below the stack pointer that belong to a function that calls no other (psABI section 3.2.2).
    pub const RED_ZONE_BYTES: u64 = 128;
    /// Word of the stack pointer.
    pub const STACK_POINTER_WORD: usize = core::mem::offset_of!(Self, sp) / 8;
    /// Word of the program counter.
    pub const PROGRAM_COUNTER_WORD: usize = core::mem::offset_of!(Self, ip) / 8;
    /// In a signal frame: from `uc_stack` to the saved stack pointer, `uc_mcontext.gregs[REG_RSP]` (arch/x86/include/uapi/asm/ucontext.h
    /// and sigcontext.h: `uc_stack` has 24 bytes, and 15 registers come before).
    pub const SAVED_STACK_POINTER_BEHIND_UC_STACK: u64 = 24 + 15 * 8;
    /// How many words, from the first, are general registers.
    pub const GENERAL_WORDS: u32 = 15;
    /// How many registers may hold an address: see [`Self::pointer_word`].
    pub const POINTER_WORDS: u32 = 16;
    /// Bytes of the saved registers.
    pub const BYTES: usize = size_of::<Self>();

    /// The word of the `number`th register that may hold an address: the first 15, and the program counter, behind which the code lies that
    /// is in no file.
    #[inline(always)]
    pub fn pointer_word(number: u32) -> u64 {
        if number == 15 { core::mem::offset_of!(Self, ip) as u64 / 8 } else { number.into() }
    }

    /// A probe's context.
    #[inline(always)]
    pub fn of_probe<'a>(context: *mut c_void) -> &'a Self {
        // SAFETY: the context of a uprobe program is the saved registers.
        unsafe { &*context.cast() }
    }

    #[inline(always)]
    pub fn stack_pointer(&self) -> u64 {
        self.sp
    }

    /// The instruction that the probe stands on; at the trampoline, the one that the function returns to.
    #[inline(always)]
    pub fn program_counter(&self) -> u64 {
        self.ip
    }

    /// The two registers for integer results (psABI section 3.2.3).
    #[inline(always)]
    pub fn results(&self) -> [u64; 2] {
        [self.ax, self.dx]
    }

    /// Whether a jump on this condition is taken: the low four bits of its opcode (Intel SDM volume 1, appendix B).
    #[inline(always)]
    pub fn holds(&self, condition: u64) -> bool {
        let flag = |bit: u64| self.flags >> bit & 1 != 0;
        let (carry, parity, zero, sign, overflow) = (flag(0), flag(2), flag(6), flag(7), flag(11));
        let holds = match condition >> 1 {
            0 => overflow,
            1 => carry,
            2 => zero,
            3 => carry | zero,
            4 => sign,
            5 => parity,
            6 => sign != overflow,
            _ => zero | (sign != overflow),
        };
        holds != (condition & 1 != 0)
    }

    /// Copies those that can hold or lead to an argument, each at its place. One by one: the verifier wants constant offsets into a context.
    #[inline(always)]
    pub unsafe fn save(&self, to: *mut [u64; REGISTER_WORDS]) {
        macro_rules! save {
            ($($word:literal $name:ident)*) => {
                // SAFETY: the caller's array, constant indexes.
                unsafe { $( core::ptr::write_volatile(&raw mut (*to)[$word], core::ptr::read_volatile(&raw const self.$name)); )* }
            };
        }
        save!(0 r15 1 r14 2 r13 3 r12 4 bp 5 bx 6 r11 7 r10 8 r9 9 r8 10 ax 11 cx 12 dx 13 si 14 di 19 sp);
    }
}
