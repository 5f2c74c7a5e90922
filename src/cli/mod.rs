//! The command line: one file a subcommand. Parsed arguments are validated into configurations here; nothing below reads them.

mod budget;
pub mod capture;
pub mod coroner;
pub mod demo;
pub mod doctor;
pub mod error;
pub mod flush;
pub mod functions;
mod kills;
pub mod page;
pub mod run;
pub mod selection;
pub mod show;
pub mod signals;
pub mod watch;

use clap::Parser;

use crate::launch::Ending;
use error::Error;

/// What a native program did before it died: its last calls, with their arguments, per thread.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Say more on standard error
    #[arg(short, long, global = true)]
    verbose: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Run a program; if it dies of a signal, say with which calls
    Run(Box<run::RunArgs>),
    /// List the functions that would be recorded, and what cannot be read of them
    Functions(functions::FunctionsArgs),
    /// Show a report again
    Show(show::ShowArgs),
    /// Say what this machine can do, and what to do about what it cannot
    Doctor,
    /// See it work: a small program that crashes
    Demo(demo::DemoArgs),
}

impl Cli {
    /// Carries out the command; the error, if there is one, has been printed.
    #[must_use]
    pub fn run(self) -> Ending {
        start_log(self.verbose);
        self.dispatch().unwrap_or_else(|error| {
            page::error(&error, error.hint().as_deref());
            Ending::Exited(error.exit_status())
        })
    }

    fn dispatch(self) -> Result<Ending, Error> {
        let verbose = self.verbose;
        match self.command {
            Command::Run(args) => run::run(*args, verbose),
            Command::Functions(args) => {
                functions::run(&args, &mut std::io::stdout().lock(), &mut std::io::stderr().lock())?;
                Ok(Ending::Exited(0))
            }
            Command::Show(args) => show::run(&args, verbose).map(Ending::Exited),
            Command::Doctor => doctor::run().map(Ending::Exited),
            Command::Demo(args) => demo::run(&args, verbose).map(Ending::Exited),
        }
    }
}

/// For those who work on lastwords: `LASTWORDS_LOG=debug`.
fn start_log(verbose: bool) {
    let asked = std::env::var("LASTWORDS_LOG").ok().and_then(|level| level.parse().ok());
    let level = asked.unwrap_or(if verbose { tracing::Level::INFO } else { tracing::Level::WARN });
    let _ = tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr).without_time().try_init();
}

/// As `uname -r` prints it.
#[must_use]
pub fn kernel_release() -> String {
    nix::sys::utsname::uname().map_or_else(|_| "unknown".into(), |name| name.release().to_string_lossy().into_owned())
}
