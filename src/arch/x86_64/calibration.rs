//! A program that calls functions which begin with an instruction of each class, and tells how long that took: 120 bytes of headers, then
//! machine code. It is made here because no file of the system can be relied on to have these instructions at known places.

use super::classes;
use crate::address::FileOffset;
use crate::arch::cost::Calibration;

/// Calls in a row. A probe with a second trap costs 13 us here: 5 classes, three times, make 50 ms.
const CALLS: u32 = 250;
/// How often all is done: the least time of each class counts.
const ROUNDS: usize = 3;

/// Where the program is mapped.
const BASE: u64 = 0x40_0000;
const HEADER_BYTES: usize = 64;
const SEGMENT_BYTES: usize = 56;
/// `sub $32, %rsp`: room for the two times.
const START: [u8; 4] = [0x48, 0x83, 0xec, 0x20];
/// `mov $231, %eax` (`exit_group`); `xor %edi, %edi`; `syscall`
const EXIT: [u8; 9] = [0xb8, 231, 0, 0, 0, 0x31, 0xff, 0x0f, 0x05];
/// Bytes of what [`block`] makes.
const BLOCK_BYTES: usize = 66;
/// Bytes of a block in front of the end of its `call`.
const CALL_END: usize = 25;

/// The program.
pub fn program() -> Calibration {
    // The sample behind the last class is called through the trampoline.
    let with_trampoline = &classes::ALL[usize::from(classes::PUSH.0)];
    let samples: Vec<&[u8]> = classes::ALL.iter().chain([with_trampoline]).map(|class| class.sample).collect();
    let code_start = HEADER_BYTES + SEGMENT_BYTES;
    let samples_start = code_start + START.len() + samples.len() * ROUNDS * BLOCK_BYTES + EXIT.len();
    let mut next = samples_start;
    let mut places = Vec::new();
    for sample in &samples {
        places.push(next);
        next += sample.len();
    }
    let mut program = headers(next as u64);
    program.extend(START);
    for _ in 0..ROUNDS {
        for &place in &places {
            let call_end = program.len() + CALL_END;
            program.extend(block((place - call_end) as u32));
        }
    }
    program.extend(EXIT);
    samples.iter().for_each(|sample| program.extend(*sample));
    Calibration { program, samples: places.into_iter().map(|place| FileOffset(place as u64)).collect(), calls: CALLS }
}

/// Takes the time, calls a function [`CALLS`] times, takes the time again, and writes both. `distance` is that of the function from behind
/// the call.
fn block(distance: u32) -> Vec<u8> {
    let mut code = vec![0xb8, 228, 0, 0, 0]; // mov $228, %eax: clock_gettime
    code.extend([0xbf, 1, 0, 0, 0]); // mov $CLOCK_MONOTONIC, %edi
    code.extend([0x48, 0x89, 0xe6, 0x0f, 0x05]); // mov %rsp, %rsi; syscall
    code.push(0xbb); // mov $CALLS, %ebx
    code.extend(CALLS.to_le_bytes());
    code.push(0xe8); // call
    code.extend(distance.to_le_bytes());
    code.extend([0xff, 0xcb, 0x75, 0xf7]); // dec %ebx; jne to the call
    code.extend([0xb8, 228, 0, 0, 0]); // mov $228, %eax
    code.extend([0xbf, 1, 0, 0, 0]); // mov $CLOCK_MONOTONIC, %edi
    code.extend([0x48, 0x8d, 0x74, 0x24, 16, 0x0f, 0x05]); // lea 16(%rsp), %rsi; syscall
    code.extend([0xb8, 1, 0, 0, 0]); // mov $1, %eax: write
    code.extend([0xbf, 1, 0, 0, 0]); // mov $1, %edi
    code.extend([0x48, 0x89, 0xe6]); // mov %rsp, %rsi
    code.extend([0xba, 32, 0, 0, 0, 0x0f, 0x05]); // mov $32, %edx; syscall
    code
}

/// An ELF header and one `PT_LOAD` segment, which is all of the file.
fn headers(file_bytes: u64) -> Vec<u8> {
    let mut bytes = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let half = |bytes: &mut Vec<u8>, value: u16| bytes.extend(value.to_le_bytes());
    let word = |bytes: &mut Vec<u8>, value: u32| bytes.extend(value.to_le_bytes());
    let long = |bytes: &mut Vec<u8>, value: u64| bytes.extend(value.to_le_bytes());
    half(&mut bytes, 2); // e_type: ET_EXEC
    half(&mut bytes, 62); // e_machine: EM_X86_64
    word(&mut bytes, 1); // e_version
    long(&mut bytes, BASE + (HEADER_BYTES + SEGMENT_BYTES) as u64); // e_entry
    long(&mut bytes, HEADER_BYTES as u64); // e_phoff
    long(&mut bytes, 0); // e_shoff
    word(&mut bytes, 0); // e_flags
    half(&mut bytes, HEADER_BYTES as u16); // e_ehsize
    half(&mut bytes, SEGMENT_BYTES as u16); // e_phentsize
    half(&mut bytes, 1); // e_phnum
    (0..3).for_each(|_| half(&mut bytes, 0)); // e_shentsize, e_shnum, e_shstrndx
    word(&mut bytes, 1); // p_type: PT_LOAD
    word(&mut bytes, 5); // p_flags: PF_R | PF_X
    long(&mut bytes, 0); // p_offset
    long(&mut bytes, BASE); // p_vaddr
    long(&mut bytes, BASE); // p_paddr
    long(&mut bytes, file_bytes); // p_filesz
    long(&mut bytes, file_bytes); // p_memsz
    long(&mut bytes, 0x1000); // p_align
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards against a call that leads beside its sample, and against samples at other places than the ones told.
    #[test]
    fn calls_lead_to_the_samples() {
        let Calibration { program, samples, .. } = program();
        assert_eq!(block(0).len(), BLOCK_BYTES);
        let first = HEADER_BYTES + SEGMENT_BYTES + START.len();
        for (index, sample) in samples.iter().enumerate() {
            let call_end = first + index * BLOCK_BYTES + CALL_END;
            assert_eq!(program[call_end - 5], 0xe8);
            let distance = u32::from_le_bytes(program[call_end - 4..call_end].try_into().unwrap());
            assert_eq!(FileOffset((call_end as u64) + u64::from(distance)), *sample);
            let class = classes::ALL.get(index).unwrap_or(&classes::ALL[usize::from(classes::PUSH.0)]);
            assert!(program[sample.0 as usize..].starts_with(class.sample), "{}", class.name);
        }
        assert_eq!(samples.len(), classes::ALL.len() + 1);
    }
}
