//! `lastwords functions PROG`: what would be probed, and what of it can be read.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, Write};

use clap::Args;

use super::selection::SelectionArgs;
use crate::binary::{Binary, BinaryError, find_program};
use crate::dwarf::function::{Function, Location, Place, SourceLine};
use crate::dwarf::types::{TypeId, TypeTable};
use crate::plan::select::{SelectError, Selected, select};
use crate::plan::{FunctionPlan, PieceSource, Source};

/// List the functions that would be probed, with their parameters and what cannot be read of them
#[derive(Args, Clone, Debug)]
pub struct FunctionsArgs {
    #[command(flatten)]
    selection: SelectionArgs,

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
pub fn run(arguments: &FunctionsArgs, out: &mut impl Write, notes: &mut impl Write) -> Result<(), FunctionsError> {
    let program = Binary::open(&find_program(&arguments.program))?;
    let selected = select(program, &arguments.selection.selection())?;
    for note in &selected.notes {
        writeln!(notes, "note: {note}")?;
    }
    match write_list(&selected, out) {
        // `lastwords functions PROG | head` has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}

fn write_list(selected: &Selected, out: &mut impl Write) -> io::Result<()> {
    for it in &selected.functions {
        let object = selected.objects[it.object].path();
        let outline = Outline::of_function(&it.function, &selected.types);
        match (&outline.declared, it.function.ranges.first()) {
            (Some(line), _) => write!(out, "{}:{}: ", line.file.display(), line.line)?,
            (None, Some(range)) => write!(out, "{}+{}: ", object.display(), range.start)?,
            (None, None) => {}
        }
        write!(out, "{outline}")?;
    }
    for skipped in &selected.skipped {
        writeln!(out, "skipped: {}: {}", skipped.function, skipped.reason)?;
    }
    out.flush()
}

/// A function as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outline {
    name: String,
    declared: Option<SourceLine>,
    /// `None` where there is no debug info.
    parameters: Option<Vec<ParameterOutline>>,
    result: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct ParameterOutline {
    name: String,
    ty: String,
    /// Why it cannot be read, if it cannot.
    obstacle: Option<String>,
}

impl Outline {
    /// What debug info says of a function.
    #[must_use]
    pub fn of_function(function: &Function, types: &TypeTable) -> Self {
        let name_of = |ty: TypeId| types.get(ty).name.clone();
        let parameters = function.parameters.iter().enumerate().map(|(index, parameter)| ParameterOutline {
            name: parameter_name(parameter.name.as_deref(), index),
            ty: name_of(parameter.ty),
            obstacle: obstacle_in_location(&parameter.location),
        });
        Self {
            name: function.name.clone(),
            declared: function.declared.clone(),
            parameters: (!function.from_symbol_table).then(|| parameters.collect()),
            result: function.return_type.map(name_of),
        }
    }

    /// What is going to be read of a function.
    #[must_use]
    pub fn of_plan(plan: &FunctionPlan, types: &TypeTable) -> Self {
        let name_of = |ty: TypeId| types.get(ty).name.clone();
        let parameters = plan.arguments.iter().enumerate().map(|(index, argument)| ParameterOutline {
            name: parameter_name(argument.name.as_deref(), index),
            ty: name_of(argument.ty),
            obstacle: obstacle_in_pieces(&argument.pieces),
        });
        Self {
            name: plan.name.clone(),
            declared: plan.declared.clone(),
            parameters: plan.has_debug_info.then(|| parameters.collect()),
            result: plan.returns.as_ref().map(|returns| name_of(returns.ty)),
        }
    }
}

/// A parameter without a name is called by its place, from 1.
fn parameter_name(name: Option<&str>, index: usize) -> String {
    name.map_or_else(|| format!("#{}", index + 1), str::to_owned)
}

const OPTIMIZED_OUT: &str = "optimized out";
const OPTIMIZED_OUT_IN_PART: &str = "a part of it is optimized out";

fn obstacle_in_location(location: &Location) -> Option<String> {
    match location {
        Location::OptimizedOut => Some(OPTIMIZED_OUT.to_owned()),
        Location::Unsupported(reason) => Some(reason.clone()),
        Location::Pieces(pieces) => {
            pieces.iter().any(|piece| piece.place == Place::OptimizedOut).then(|| OPTIMIZED_OUT_IN_PART.to_owned())
        }
    }
}

fn obstacle_in_pieces(pieces: &[PieceSource]) -> Option<String> {
    if pieces.iter().all(|piece| piece.source == Source::OptimizedOut) {
        return Some(OPTIMIZED_OUT.to_owned());
    }
    pieces.iter().find_map(|piece| match &piece.source {
        Source::Unavailable(reason) => Some(reason.clone()),
        Source::OptimizedOut => Some(OPTIMIZED_OUT_IN_PART.to_owned()),
        Source::Step { .. } | Source::Constant(_) => None,
    })
}

impl fmt::Display for Outline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(parameters) = &self.parameters else {
            return writeln!(f, "{}(...)  no debug info: the registers for integer arguments are guessed", self.name);
        };
        let list: Vec<String> = parameters.iter().map(|it| format!("{}: {}", it.name, it.ty)).collect();
        write!(f, "{}({})", self.name, list.join(", "))?;
        if let Some(result) = &self.result {
            write!(f, " -> {result}")?;
        }
        writeln!(f)?;
        for parameter in parameters {
            if let Some(obstacle) = &parameter.obstacle {
                writeln!(f, "    cannot read `{}`: {obstacle}", parameter.name)?;
            }
        }
        Ok(())
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
        DIR/program.c:4: note(text: const char *, weight: double)
        ");
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

    /// Guards against one word for all that cannot be read.
    #[test]
    fn each_obstacle_of_a_plan_has_its_own_words() {
        let piece = |source| PieceSource { size: 8, source };
        let step = || piece(Source::Step { step: 0, skip: 0 });
        assert_eq!(obstacle_in_pieces(&[step()]), None);
        assert_eq!(obstacle_in_pieces(&[piece(Source::OptimizedOut)]).as_deref(), Some("optimized out"));
        let part = [step(), piece(Source::OptimizedOut)];
        assert_eq!(obstacle_in_pieces(&part).as_deref(), Some("a part of it is optimized out"));
        let register = [piece(Source::Unavailable("in register xmm0".to_owned()))];
        assert_eq!(obstacle_in_pieces(&register).as_deref(), Some("in register xmm0"));
    }
}
