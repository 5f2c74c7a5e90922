//! The command line: one file a subcommand. Parsed arguments are validated into configurations here; nothing below reads them.

pub mod watch;
