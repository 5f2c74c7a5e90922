//! A virtual machine: a kernel and its root file system in; what it prints, and whether its tests have passed, out.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use super::kernel::Kernel;
use super::programs::VERDICT;
use crate::shell::{ChoreError, as_typed};

/// The tests take a tenth of it, or they hang.
const LIMIT: Duration = Duration::from_secs(15 * 60);

/// Boots the kernel, shows its console, and waits until it is switched off.
pub fn run(kernel: &Kernel, initramfs: &std::path::Path) -> Result<(), ChoreError> {
    let mut command = Command::new("qemu-system-x86_64");
    command
        // Emulated everywhere alike. The two processors take turns: with a thread for each, the emulator runs code that the other one is
        // just about to patch (seen: `int3` in a static branch of Linux 6.12), and uprobes do nothing but patch code.
        .args(["-accel", "tcg,thread=single", "-cpu", "max", "-smp", "2", "-m", "3G"])
        .args(["-nographic", "-no-reboot", "-net", "none"])
        .args(["-append", "console=ttyS0 quiet panic=-1"])
        .arg("-kernel")
        .arg(&kernel.image)
        .arg("-initrd")
        .arg(initramfs)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    eprintln!("+ {}", as_typed(&command));
    let failed = |reason: String| ChoreError::Kernel { version: kernel.version.clone(), reason };
    let mut machine =
        Machine(command.spawn().map_err(|source| ChoreError::Start { program: "qemu-system-x86_64".into(), source })?);
    let console = machine.console();
    let end = Instant::now() + LIMIT;
    let mut verdict = None;
    loop {
        match console.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                println!("{} | {line}", kernel.version);
                verdict = line.strip_prefix(VERDICT).map(str::to_owned).or(verdict);
            }
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => return Err(failed(format!("it ran for {LIMIT:?}"))),
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => break,
        }
    }
    match verdict.as_deref() {
        Some("0") => Ok(()),
        Some(_) => Err(failed("tests failed".into())),
        None => Err(failed("it stopped before its tests had ended".into())),
    }
}

/// Switched off when dropped.
struct Machine(Child);

impl Machine {
    /// What is printed, line by line, so that waiting for it can have a limit.
    fn console(&mut self) -> Receiver<String> {
        let (sender, receiver) = channel();
        let output = self.0.stdout.take();
        thread::spawn(move || {
            let mut output = BufReader::new(output?);
            let mut line = vec![];
            while output.read_until(b'\n', &mut line).ok()? > 0 {
                // The firmware clears its screen, and would clear ours; a serial line ends lines in its own way.
                let text = String::from_utf8_lossy(&line).replace('\u{1b}', "");
                sender.send(text.trim_end().to_owned()).ok()?;
                line.clear();
            }
            Some(())
        });
        receiver
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
