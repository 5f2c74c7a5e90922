//! How the return of functions may be seen without changing what the program does.
//!
//! The kernel's return probe replaces the return address on the stack. Whatever reads return addresses then finds the kernel's
//! trampoline: an unwinder that meets it gives up (a C++ exception becomes `std::terminate`), and a program that switches stacks is
//! killed, since the kernel keeps the true addresses in the order of one stack (`arch_uretprobe_is_alive`). So the trampoline is for
//! C programs that show no sign of either. Others get a probe on each instruction that returns.

use crate::dwarf::function::{Function, Language};

/// What the user wants of returns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Returns {
    /// Wherever it can be done without changing the program, for as long as the function is watched if that is possible
    Always,
    /// The same, but where they cost more than all the rest, they are the first to go when `--max-overhead` is broken
    #[default]
    Cheap,
    /// They are not asked for
    Never,
}

/// How the return of one function may be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReturnPolicy {
    /// By the kernel's trampoline.
    Trampoline,
    /// By probes on the instructions that leave it.
    Instructions,
    /// Not at all: nobody asked.
    NotAskedFor,
}

/// What a program does with its stacks, as far as its file tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StackUse {
    conflict: Option<String>,
}

/// Libraries whose purpose is to unwind stacks or to switch them (`DT_NEEDED`).
const LIBRARIES: [&str; 8] =
    ["libstdc++", "libc++", "libgcc_s", "libunwind", "libgo.", "libboost_context", "libboost_coroutine", "libpth."];
/// Symbols of programs that read return addresses or switch stacks.
const SYMBOLS: [&str; 8] = [
    "__cxa_throw",
    "makecontext",
    "swapcontext",
    "runtime.morestack",
    "runtime.goexit",
    "rust_begin_unwind",
    "rust_panic",
    "rust_eh_personality",
];
const SYMBOL_STARTS: [&str; 2] = ["backtrace", "jump_fcontext"];
/// The same; but every static executable has the unwinder and its users in it, for a `pthread_cancel` that nobody may call.
const SYMBOLS_IF_DYNAMIC: [&str; 5] =
    ["setcontext", "sigaltstack", "pthread_cancel", "pthread_exit", "__cxa_begin_catch"];
const SYMBOL_STARTS_IF_DYNAMIC: [&str; 3] = ["_Unwind_", "unw_", "_ULx86_64_"];
/// Functions that return more often than they are called.
const RETURN_TWICE: [&str; 8] =
    ["setjmp", "_setjmp", "sigsetjmp", "__sigsetjmp", "vfork", "__vfork", "getcontext", "savectx"];

impl StackUse {
    /// Judges a program: languages of its units, names of its symbols (defined and imported), `DT_NEEDED`, and whether it is static.
    pub fn of_program<'a>(
        languages: impl IntoIterator<Item = Language>,
        symbols: impl IntoIterator<Item = &'a str>,
        needed: impl IntoIterator<Item = &'a str>,
        is_static: bool,
    ) -> Self {
        let language = languages
            .into_iter()
            .find(|language| !matches!(language, Language::C | Language::Assembly))
            .map(|language| format!("a part of it is written in {}", name_of(language)));
        let library = || {
            let mut needed = needed.into_iter();
            let found = needed.find(|name| LIBRARIES.iter().any(|library| name.starts_with(library)));
            found.map(|name| format!("it is linked with {name}"))
        };
        let symbol = || {
            let names = symbols.into_iter().map(|symbol| symbol.split('@').next().unwrap_or(symbol));
            names
                .into_iter()
                .find(|name| is_of_stack_user(name, is_static))
                .map(|name| format!("it has the symbol `{name}`"))
        };
        Self { conflict: language.or_else(library).or_else(symbol) }
    }

    /// A program of which nothing is known: it may do anything.
    #[must_use]
    pub fn unknown() -> Self {
        Self { conflict: Some("what it does with its stacks is not known".into()) }
    }

    /// Why return addresses must stay as they are, as a clause: "it is linked with libstdc++.so.6".
    #[must_use]
    pub fn conflict(&self) -> Option<&str> {
        self.conflict.as_deref()
    }
}

fn name_of(language: Language) -> &'static str {
    match language {
        Language::C => "C",
        Language::Cpp => "C++",
        Language::Rust => "Rust",
        Language::Go => "Go",
        Language::Assembly => "assembly",
        Language::Other => "a language that is not known",
    }
}

fn is_of_stack_user(name: &str, is_static: bool) -> bool {
    let always = SYMBOLS.contains(&name) || SYMBOL_STARTS.iter().any(|start| name.starts_with(start));
    let if_dynamic =
        SYMBOLS_IF_DYNAMIC.contains(&name) || SYMBOL_STARTS_IF_DYNAMIC.iter().any(|start| name.starts_with(start));
    always || (!is_static && if_dynamic)
}

/// How the return of this function may be seen in a program that uses its stacks so.
#[must_use]
pub fn return_policy(function: &Function, program: &StackUse, asked: Returns) -> ReturnPolicy {
    let is_c = function.from_symbol_table || matches!(function.language, Language::C | Language::Assembly);
    let returns_once = !RETURN_TWICE.contains(&function.symbol.as_str());
    match asked {
        Returns::Never => ReturnPolicy::NotAskedFor,
        Returns::Always | Returns::Cheap if is_c && returns_once && program.conflict.is_none() => {
            ReturnPolicy::Trampoline
        }
        Returns::Always | Returns::Cheap => ReturnPolicy::Instructions,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conflict(languages: &[Language], symbols: &[&str], needed: &[&str], is_static: bool) -> Option<String> {
        let languages = languages.iter().copied();
        StackUse::of_program(languages, symbols.iter().copied(), needed.iter().copied(), is_static).conflict
    }

    /// Guards against replacing return addresses in a program that reads them.
    #[test]
    fn programs_that_walk_or_switch_stacks_are_recognized() {
        let c = &[Language::C];
        let libc = &["libc.so.6"];
        assert_eq!(conflict(c, &["puts@GLIBC_2.2.5", "longjmp"], libc, false), None);
        assert_eq!(
            conflict(c, &["puts"], &["libstdc++.so.6", "libc.so.6"], false).as_deref(),
            Some("it is linked with libstdc++.so.6")
        );
        assert_eq!(
            conflict(c, &["backtrace_symbols_fd@GLIBC_2.2.5"], libc, false).as_deref(),
            Some("it has the symbol `backtrace_symbols_fd`")
        );
        assert_eq!(
            conflict(&[Language::C, Language::Rust], &[], libc, false).as_deref(),
            Some("a part of it is written in Rust")
        );
        for symbol in ["swapcontext", "_Unwind_Resume@GCC_3.0", "sigaltstack", "pthread_cancel", "unw_step"] {
            assert!(conflict(c, &[symbol], libc, false).is_some(), "{symbol}");
        }
    }

    /// Guards against denying every static C program the trampoline for what the C library always brings along.
    #[test]
    fn a_static_program_is_not_judged_by_its_c_library() {
        assert_eq!(conflict(&[Language::C], &["_Unwind_Resume", "_Unwind_ForcedUnwind", "puts"], &[], true), None);
        assert!(conflict(&[Language::C], &["_Unwind_Resume", "__cxa_throw"], &[], true).is_some());
        assert!(conflict(&[Language::C], &["backtrace"], &[], true).is_some());
    }
}
