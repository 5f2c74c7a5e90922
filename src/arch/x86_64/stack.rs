//! What the stack of a thread looks like to somebody who has no unwind table.

use iced_x86::{Decoder, DecoderOptions, FlowControl};

/// Bytes of the shortest call (`call *%rax`) and of the longest that compilers make (`call *%fs:0x0(%rax,%rbx,8)`).
const CALL_BYTES: std::ops::RangeInclusive<usize> = 2..=9;

/// `mov $15, %rax` (`__NR_rt_sigreturn`) or `mov $15, %eax`; `syscall`: what glibc and musl set as `sa_restorer`.
const SIGNAL_RETURNS: [&[u8]; 2] = [&[0x48, 0xc7, 0xc0, 15, 0, 0, 0, 0x0f, 0x05], &[0xb8, 15, 0, 0, 0, 0x0f, 0x05]];

/// `struct sigcontext` (arch/x86/include/uapi/asm/sigcontext.h) lies at offset 40 of `struct ucontext`, to which the stack pointer
/// leads when the handler has returned. DWARF numbers.
const SAVED: [(u16, u64); 17] = [
    (8, 40),
    (9, 48),
    (10, 56),
    (11, 64),
    (12, 72),
    (13, 80),
    (14, 88),
    (15, 96),
    (5, 104),
    (4, 112),
    (6, 120),
    (3, 128),
    (1, 136),
    (0, 144),
    (2, 152),
    (7, 160),
    (16, 168),
];

/// Where the interrupted registers are, if the code is what a handler returns to.
pub fn signal_return(code: &[u8]) -> Option<&'static [(u16, u64)]> {
    SIGNAL_RETURNS.iter().any(|stub| code.starts_with(stub)).then_some(&SAVED)
}

/// Whether some instruction that ends with `code` is a call.
pub fn ends_with_call(code: &[u8]) -> bool {
    CALL_BYTES.filter_map(|length| code.get(code.len().checked_sub(length)?..)).any(|bytes| {
        let instruction = Decoder::new(64, bytes, DecoderOptions::NONE).decode();
        instruction.len() == bytes.len()
            && matches!(instruction.flow_control(), FlowControl::Call | FlowControl::IndirectCall)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards against taking any word of the stack that leads into code for a return address.
    #[test]
    fn only_what_follows_a_call_is_a_return_address() {
        let calls: [&[u8]; 5] = [
            &[0x90, 0xe8, 1, 2, 3, 4],                   // call rel32
            &[0xff, 0xd0],                               // call *%rax
            &[0x41, 0xff, 0x54, 0x24, 0x18],             // call *0x18(%r12)
            &[0xff, 0x15, 0, 0, 0, 0],                   // call *0x0(%rip)
            &[0x64, 0xff, 0x94, 0xd8, 0x10, 0x20, 0, 0], // call *%fs:0x2010(%rax,%rbx,8)
        ];
        let others: [&[u8]; 4] = [&[0xe9, 1, 2, 3, 4], &[0xff, 0xe0], &[0xe8, 1, 2, 3, 4, 0x90], &[]];
        assert_eq!(calls.map(ends_with_call), [true; 5]);
        assert_eq!(others.map(ends_with_call), [false; 4]);
    }
}
