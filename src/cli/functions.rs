//! `lastwords functions PROG`: what would be probed, and what of it can be read.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, Write};

use clap::Args;

use super::capture::CaptureArgs;
use super::selection::SelectionArgs;
use crate::address::{Avma, Svma};
use crate::arch;
use crate::arch::cost::Costs;
use crate::binary::{Binary, BinaryError, find_program};
use crate::plan::build::{Options, Prepared, prepare};
use crate::plan::capture::readable;
use crate::plan::describe::describe;
use crate::plan::placement::exit_cost_ns;
use crate::plan::runs::StepRuns;
use crate::plan::select::SelectError;
use crate::plan::{Exits, FunctionPlan, Plan};
use crate::probe::calibrate;

/// Arguments of `lastwords functions`.
#[derive(Args, Clone, Debug)]
pub struct FunctionsArgs {
    #[command(flatten)]
    selection: SelectionArgs,
    #[command(flatten)]
    capture: CaptureArgs,
    /// Show the steps by which the arguments are captured
    #[arg(help_heading = "List", long)]
    plan: bool,
    /// Show where the probes stand, what they cost and what can be read there
    #[arg(help_heading = "List", long)]
    placement: bool,
    /// The program
    #[arg(value_name = "PROG")]
    program: OsString,
}

/// Why the functions could not be listed.
#[derive(Debug, thiserror::Error)]
pub enum FunctionsError {
    /// The program cannot be used.
    #[error(transparent)]
    Binary(#[from] BinaryError),
    /// Nothing could be selected.
    #[error(transparent)]
    Select(#[from] SelectError),
    /// The list could not be written.
    #[error("cannot write the list of functions")]
    Write(#[from] io::Error),
}

impl FunctionsError {
    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Binary(error) => error.hint(),
            Self::Select(error) => error.hint(),
            Self::Write(_) => None,
        }
    }

    /// The exit status of the program: as a shell's for a program that cannot be used, 2 otherwise.
    #[must_use]
    pub fn exit_status(&self) -> u8 {
        match self {
            Self::Binary(error) => error.exit_status(),
            Self::Select(_) | Self::Write(_) => 2,
        }
    }
}

/// Lists to `out`; what the user should know besides goes to `notes`.
///
/// # Errors
/// If the program cannot be read, nothing is selected, or `out` does not take the list.
pub fn run(arguments: &FunctionsArgs, out: &mut impl Write, notes: &mut impl Write) -> Result<(), FunctionsError> {
    let program = Binary::open(&find_program(&arguments.program)?)?;
    let measured = calibrate::known();
    if arguments.placement && measured.is_none() {
        writeln!(
            notes,
            "note: what probes cost here was not measured since the machine was started: `lastwords doctor` does it"
        )?;
    }
    let costs = measured.unwrap_or_else(|| Costs::defaults(arch::host()));
    let options = Options { costs: Some(costs.clone()), ..arguments.capture.options() };
    let prepared = prepare(program, &arguments.selection.selection(), &options)?;
    for note in &prepared.notes {
        writeln!(notes, "note: {note}")?;
    }
    match write_list(&prepared, arguments, &costs, out) {
        // `lastwords functions PROG | head` has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}

fn write_list(prepared: &Prepared, arguments: &FunctionsArgs, costs: &Costs, out: &mut impl Write) -> io::Result<()> {
    let plan = &prepared.plan;
    for function in &plan.functions {
        match &function.declared {
            Some(line) => write!(out, "{}:{}: ", line.file.display(), line.line)?,
            None => write!(out, "{}+{}: ", plan.objects[function.object].display(), function.address)?,
        }
        write!(out, "{}", Outline { function, plan })?;
        if arguments.placement {
            writeln!(out, "    {}", Placed { function, binary: &prepared.binaries[function.object], costs })?;
        }
        if arguments.plan {
            let text = describe(function, &plan.types, arch::host());
            text.lines().try_for_each(|line| writeln!(out, "    {line}"))?;
        }
    }
    if arguments.plan {
        writeln!(out, "steps: {}", StepRuns::of(&plan.functions))?;
    }
    for skipped in &plan.skipped {
        writeln!(out, "skipped: {}: {}", skipped.function, skipped.reason)?;
    }
    out.flush()
}

/// A function as it is listed.
struct Outline<'a> {
    function: &'a FunctionPlan,
    plan: &'a Plan,
}

impl fmt::Display for Outline<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { function, plan } = self;
        if !function.has_debug_info {
            return writeln!(
                f,
                "{}(...)  no debug info: the registers for integer arguments are guessed",
                function.name
            );
        }
        let name_of = |ty| plan.types.get(ty).name.as_str();
        // A parameter without a name is called by its place, from 1.
        let names = (1..).zip(&function.arguments).map(|(place, it)| it.name.clone().unwrap_or(format!("#{place}")));
        let names: Vec<String> = names.collect();
        let list: Vec<String> =
            names.iter().zip(&function.arguments).map(|(name, it)| format!("{name}: {}", name_of(it.ty))).collect();
        write!(f, "{}({})", function.name, list.join(", "))?;
        if let Some(returns) = &function.returns {
            write!(f, " -> {}", name_of(returns.value.ty))?;
        }
        writeln!(f)?;
        for (name, argument) in names.iter().zip(&function.arguments) {
            if let Err(obstacle) = readable(argument) {
                writeln!(f, "    cannot read `{name}`: {obstacle}")?;
            }
        }
        Ok(())
    }
}

/// Where the probes of a function stand: `+0x1 push rbx: push, 0.9 us; reads 2 of 2; return by trampoline, 1.2 us`.
struct Placed<'a> {
    function: &'a FunctionPlan,
    binary: &'a Binary,
    costs: &'a Costs,
}

/// No instruction is longer (Intel SDM volume 2, section 2.3.11).
const MAX_INSTRUCTION_BYTES: u64 = 15;

impl fmt::Display for Placed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { function, binary, costs } = self;
        let site = &function.entry;
        let end = (1..=MAX_INSTRUCTION_BYTES).rev().map(|bytes| Svma(site.address.0.saturating_add(bytes)));
        let bytes = end.into_iter().find_map(|end| binary.code(site.address..end)).unwrap_or_default();
        let text = arch::host().decode(bytes, Avma(site.address.0)).map_or("?".to_owned(), |it| it.text);
        let class = arch::host().probe_classes().get(usize::from(site.class.0)).map_or("?", |class| class.name);
        let microseconds = |ns: u64| format!("{}.{} us", ns / 1000, ns % 1000 / 100);
        let distance = site.address.0.wrapping_sub(function.address.0);
        write!(f, "+{distance:#x} {text}: {class}, {}", microseconds(costs.of(site.class).into()))?;
        if let Some(obstacle) = site.obstacle {
            write!(f, " ({obstacle})")?;
        }
        let readable = function.arguments.iter().filter(|argument| readable(argument).is_ok()).count();
        write!(f, "; reads {readable} of {}", function.arguments.len())?;
        let exit = microseconds(exit_cost_ns(&function.exits, costs));
        match &function.exits {
            Exits::Trampoline => write!(f, "; return by trampoline, {exit}"),
            Exits::Instructions(sites) => write!(f, "; return at {} instructions, {exit}", sites.len()),
            Exits::Unseen(reason) => write!(f, "; return unseen: {reason}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::binary::fixture::{Fixture, run as run_tool};

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        functions: FunctionsArgs,
    }

    fn list(fixture: &Fixture, options: &[&str]) -> Result<String, FunctionsError> {
        let program = fixture.program();
        let arguments = [&["lastwords"], options, &[program.to_str().unwrap()]].concat();
        let (mut out, mut notes) = (Vec::new(), Vec::new());
        run(&Command::parse_from(arguments).functions, &mut out, &mut notes)?;
        let folder = fixture.folder().to_str().unwrap();
        Ok(String::from_utf8(out).unwrap().replace(folder, "DIR") + &String::from_utf8(notes).unwrap())
    }

    const SOURCE: &str = "
        static __attribute__((noinline, noipa)) int use(int n) { return n; }
        static __attribute__((noinline)) int scaled(int unused, int factor, int n) { return use(n * factor) + use(n); }
        __attribute__((noinline)) void note(const char *text, double weight) { __asm__ volatile(\"\" :: \"r\"(text), \"x\"(weight)); }
        int main(int argc, char **argv) { note(argv[0], argc); return scaled(argc, 3, argc) + scaled(argc + 1, 3, argc + 2); }
    ";

    /// Guards against a list that leaves out what the user will miss in the report.
    #[test]
    fn the_list_says_what_would_be_probed_and_what_cannot_be_read() {
        let fixture = Fixture::compile("gcc", &["-O2", "-g"], SOURCE);
        insta::assert_snapshot!(list(&fixture, &[]).unwrap(), @"
        DIR/program.c:5: main(argc: int, argv: char **) -> int
        DIR/program.c:2: use(n: int) -> int
        DIR/program.c:3: scaled(unused: int, factor: int, n: int) -> int
            cannot read `unused`: optimized out
            cannot read `factor`: the debug info says 0x3, which may have been assigned and not passed
        DIR/program.c:4: note(text: const char *, weight: double)
            cannot read `weight`: in register xmm0
        ");
    }

    /// Guards against a plan whose text does not say what is behind which pointer, or in which order it is read.
    #[test]
    fn the_plan_shows_what_is_behind_pointers() {
        let source = "
            struct name { char *given; long ids[2]; };
            struct rec { int id; struct name *name; struct rec *next; };
            __attribute__((noipa)) int take(struct rec *r, char **argv, const void *buf, unsigned len) { return r == 0 && !argv && buf && len; }
            int main(int argc, char **argv) { return take(0, argv, argv, argc); }
        ";
        let fixture = Fixture::compile("gcc", &["-O2", "-g"], source);
        let text = list(&fixture, &["--plan", "-f", "take"]).unwrap();
        let text = text.split("at the return").next().unwrap();
        let lines: Vec<&str> = text.lines().filter(|line| line.contains('#')).map(|line| &line[4..]).collect();
        insta::assert_snapshot!(lines.join("\n"), @"
        #0 rdi
        #1 rsi
        #2 rdx
        #3 rcx
        #4 24 bytes at [0]+0
        #5 24 bytes at [48]+0
        #6 24 bytes at [56]+0
        #7 24 bytes at [112]+0
        #8 24 bytes at [120]+0
        #9 64 bytes at [8]+0
        #10 [24] times 1 bytes at [16], 256 bytes at most
        #11 string at [72], 56 bytes at most
        #12 string at [136], 56 bytes at most
        #13 string at [200], 56 bytes at most
        #14 string at [208], 56 bytes at most
        #15 string at [216], 56 bytes at most
        #16 string at [224], 56 bytes at most
        #17 string at [232], 56 bytes at most
        #18 string at [240], 56 bytes at most
        #19 string at [248], 56 bytes at most
        #20 string at [256], 56 bytes at most
        struct rec * r = #0[0..8]
          *r: struct rec = #4
            *r->name: struct name = #5
              r->name->given: text = #11
            *r->next: struct rec = #6
              *r->next->name: struct name = #7
                r->next->name->given: text = #12
              *r->next->next: struct rec = #8
        char ** argv = #1[0..8]
          argv: texts up to a NULL = #9
            argv[0]: text = #13
            argv[1]: text = #14
            argv[2]: text = #15
            argv[3]: text = #16
            argv[4]: text = #17
            argv[5]: text = #18
            argv[6]: text = #19
            argv[7]: text = #20
        const void * buf = #2[0..8]
          buf: as many as argument 4 says = #10
        unsigned int len = #3[0..4]
        ");
    }

    /// Guards against the elements behind a structure that are read where it begins, or without a bound.
    #[test]
    fn the_plan_shows_what_is_behind_structures() {
        let source = "
            struct msg { unsigned short len, width; char data[]; };
            struct list { struct { int n_all; char *all[0]; } inner; };
            struct line { int number; int rest[]; };
            __attribute__((noipa)) int take(struct msg *m, struct list *l, struct line *e) { return m && l && e; }
            int main(int argc, char **argv) { return take(0, 0, 0); }
        ";
        let fixture = Fixture::compile("gcc", &["-O2", "-g"], source);
        let text = list(&fixture, &["--plan", "-f", "take", "--len", "take:e.rest=number", "--bytes", "256"]).unwrap();
        let text = text.split("at the return").next().unwrap();
        let lines: Vec<&str> = text.lines().filter(|line| line.contains('#')).map(|line| &line[4..]).collect();
        insta::assert_snapshot!(lines.join("\n"), @"
        #0 rdi
        #1 rsi
        #2 rdx
        #3 4 bytes at [0]+0
        #4 8 bytes at [8]+0
        #5 place of 8 bytes for [48] times 8 bytes at [8]+8
        #6 4 bytes at [16]+0
        #7 [32] times 1 bytes at [0]+4, 48 bytes at most
        #8 string at [64], 48 bytes at most
        #9 [80] times 4 bytes at [16]+4, 48 bytes at most
        struct msg * m = #0[0..8]
          *m: struct msg = #3
            m->data: elements = #7
        struct list * l = #1[0..8]
          *l: struct list = #4
            l->inner.all: elements = #5
              l->inner.all[0]: text = #8
        struct line * e = #2[0..8]
          *e: struct line = #6
            e->rest: elements = #9
        ");
    }

    /// Guards against a plan that grows with the functions although they have the same types.
    #[test]
    fn functions_of_the_same_types_share_their_steps() {
        let source = "
            struct rec { char *name; struct rec *next; };
            #define TAKE(f) __attribute__((noipa)) int f(const struct rec *r) { return r != 0; }
            TAKE(first) TAKE(second) TAKE(third)
            __attribute__((noipa)) int number(int n) { return n; }
            int main(void) { return first(0) + second(0) + third(0) + number(1); }
        ";
        let fixture = Fixture::compile("gcc", &["-O2", "-g"], source);
        let stored = |functions: &[&str]| {
            let patterns: Vec<&str> = functions.iter().flat_map(|function| ["-f", function]).collect();
            list(&fixture, &[&["--plan"], &patterns[..]].concat()).unwrap().lines().last().unwrap().to_owned()
        };

        // rdi, three structures and three names.
        assert_eq!(stored(&["first"]), "steps: 7 in 1 functions, 7 stored");
        assert_eq!(stored(&["first", "second", "third"]), "steps: 21 in 3 functions, 7 stored");
        // What a number needs, the others begin with.
        assert_eq!(stored(&["first", "second", "third", "number"]), "steps: 22 in 4 functions, 7 stored");
    }

    /// Guards against a program without debug info that is listed as if its functions had no parameters.
    #[test]
    fn functions_without_debug_info_say_so() {
        let fixture = Fixture::compile("gcc", &["-O2", "-g", "-no-pie"], SOURCE);
        run_tool("strip", &["--strip-debug", "program"], fixture.folder());
        let binary = Binary::open(&fixture.program()).unwrap();
        let address = binary.function_symbols().iter().find(|symbol| symbol.name == "note").unwrap().address;
        let expected = format!(
            "DIR/program+{address}: note(...)  no debug info: the registers for integer arguments are guessed\n"
        );
        assert_eq!(list(&fixture, &["-f", "note"]).unwrap(), expected);
    }

    /// Guards against losing the shell's exit status on the way up.
    #[test]
    fn errors_keep_their_status_and_hint() {
        let fixture = Fixture::compile("gcc", &["-g"], SOURCE);
        let error = list(&fixture, &["-f", "scald"]).unwrap_err();
        assert_eq!((error.exit_status(), error.hint().as_deref()), (2, Some("did you mean `scaled`?")));
        let error = list(&Fixture::new(), &[]).unwrap_err();
        assert_eq!(error.exit_status(), 127);
    }
}
