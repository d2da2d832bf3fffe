//! The command line: one file per subcommand. The only module that uses all others.
//!
//! Arguments are parsed ([`args`]), resolved into a checked configuration, and only then used.
//! Exit codes: 0 success, 1 error, with one line on stderr; 2 is reserved for subcommands
//! that report drift or a denial.

pub mod args;
pub mod break_glass;
pub mod check;
mod documents;
pub mod explain;
mod failure;
mod live_sources;
pub mod output;
pub mod policy;
mod process;
pub mod registration;
mod reviewing;
mod serve;
mod target;

use std::{ffi::OsString, process::ExitCode};

use clap::{CommandFactory, Parser, error::ErrorKind};

use self::{
    args::{Args, Command},
    output::print,
};

/// Runs the command that `args` name.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args = match Args::try_parse_from(args) {
        Ok(args) => args,
        Err(error) => return refuse(&error),
    };
    let done = match args.command {
        Command::Serve(args) => serve::run(*args).map(|()| ExitCode::SUCCESS),
        Command::Check(args) => check::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Policy(args) => policy::run(&args),
        Command::BreakGlass(args) => break_glass::run(&args),
        Command::Registration(args) => registration::run(&args),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Args::command(), "helm-guard", &mut script);
            print(&script).map(|()| ExitCode::SUCCESS)
        }
        Command::Version => {
            let version = concat!("helm-guard ", env!("CARGO_PKG_VERSION"), "\n");
            print(version.as_bytes()).map(|()| ExitCode::SUCCESS)
        }
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            failure::report(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Help and version were asked for; everything else is a mistake, said in one line.
fn refuse(error: &clap::Error) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // A closed pipe (`--help | head -1`) is no failure.
            let _ = error.print();
            ExitCode::SUCCESS
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            failure::report("no subcommand given; see helm-guard --help");
            ExitCode::FAILURE
        }
        _ => {
            failure::report(&failure::of_clap(error));
            ExitCode::FAILURE
        }
    }
}
