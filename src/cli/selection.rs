//! The options that choose functions, for every subcommand that probes.

use clap::Args;
use clap::builder::NonEmptyStringValueParser;

use crate::plan::select::Selection;

/// Which functions to probe. Without any of these: the functions of the program whose source belongs to it.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Functions")]
pub struct SelectionArgs {
    /// Probe functions whose name matches GLOB, or all but these with `!GLOB` (repeatable)
    ///
    /// `*` and `?` are wildcards. Names are demangled and without parameters; the last components are enough: `area` and `Shape::*`
    /// match `geometry::Shape::area`. Functions without debug info are found by their symbols.
    #[arg(short = 'f', long = "function", value_name = "GLOB", value_parser = parse_function)]
    functions: Vec<String>,

    /// Probe functions that are declared in files which match GLOB (repeatable)
    ///
    /// The last components of the path are enough: `src/net` and `net/*.c` match `/work/app/src/net/send.c`. With `-f`, a function
    /// must match both.
    #[arg(long = "source", value_name = "GLOB", value_parser = NonEmptyStringValueParser::new())]
    sources: Vec<String>,

    /// Probe functions of a shared library too: of those that it exports, or those that match `-f` (repeatable)
    ///
    /// NAME is a path, or the name of a library that the program loads: `libz.so.1`, `libz` or `z`.
    #[arg(long = "lib", value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    libraries: Vec<String>,
}

impl SelectionArgs {
    /// The choice, free of how it was written.
    #[must_use]
    pub fn selection(&self) -> Selection {
        Selection {
            functions: self.functions.clone(),
            sources: self.sources.clone(),
            libraries: self.libraries.clone(),
        }
    }
}

fn parse_function(text: &str) -> Result<String, String> {
    let pattern = text.strip_prefix('!').unwrap_or(text).trim();
    if pattern.is_empty() {
        return Err("expected a pattern, found nothing".to_owned());
    }
    if let Some((name, _)) = pattern.split_once('(').filter(|(name, _)| !name.is_empty() && !name.ends_with("operator"))
    {
        return Err(format!("expected a name without its parameters: `{name}`"));
    }
    Ok(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        selection: SelectionArgs,
    }

    fn parse(arguments: &[&str]) -> Result<Selection, String> {
        let parsed = Command::try_parse_from([&["lastwords"], arguments].concat());
        parsed.map(|command| command.selection.selection()).map_err(|error| error.to_string())
    }

    /// Guards against options that are parsed and then forgotten.
    #[test]
    fn every_option_reaches_the_selection() {
        let selection =
            parse(&["-f", "a*", "--function", "!b", "--source", "src", "--lib", "z", "--lib", "m"]).unwrap();
        let strings = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let expected = Selection {
            functions: strings(&["a*", "!b"]),
            sources: strings(&["src"]),
            libraries: strings(&["z", "m"]),
        };
        assert_eq!(selection, expected);
        assert_eq!(parse(&[]).unwrap(), Selection::default());
    }

    /// Guards against patterns that can never match, found out only when nothing was recorded.
    #[test]
    fn patterns_that_mean_nothing_are_refused() {
        for pattern in ["", "!", " ", "!  "] {
            assert!(parse(&["-f", pattern]).unwrap_err().contains("expected a pattern, found nothing"), "{pattern}");
        }
        assert!(parse(&["-f", "area(int)"]).unwrap_err().contains("expected a name without its parameters: `area`"));
        for pattern in ["operator()", "Shape::operator()", "(anonymous namespace)::helper"] {
            assert!(parse(&["-f", pattern]).is_ok(), "{pattern}");
        }
        assert!(parse(&["--source", ""]).is_err());
        assert!(parse(&["--lib", ""]).is_err());
    }
}
