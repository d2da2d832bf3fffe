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
mod files;
mod in_force;
mod invoked;
mod live_sources;
pub mod output;
pub mod policy;
mod process;
pub mod registration;
mod resource;
mod reviewing;
mod scan;
#[cfg(test)]
mod schema;
mod serve;
mod target;
mod version;

use std::{ffi::OsString, process::ExitCode};

use clap::{CommandFactory, FromArgMatches, error::ErrorKind};

use self::{
    args::{Args, Command},
    output::print,
};

/// Runs the command that `args` name.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = args.into_iter().collect();
    let args = match parse(&arguments) {
        Ok(args) => args,
        Err(error) => return refuse(&error, &arguments),
    };
    let done = match args.command {
        Command::Serve(args) => serve::run(*args).map(|()| ExitCode::SUCCESS),
        Command::Check(args) => check::run(&args),
        Command::Scan(args) => scan::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Policy(args) => policy::run(&args),
        Command::BreakGlass(args) => break_glass::run(&args),
        Command::Registration(args) => registration::run(&args),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Args::command(), "helm-guard", &mut script);
            print(&script).map(|()| ExitCode::SUCCESS)
        }
        Command::Version { output } => version::run(output),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            failure::report(&failure::of_error(&error));
            ExitCode::FAILURE
        }
    }
}

fn parse(arguments: &[OsString]) -> Result<Args, clap::Error> {
    let mut command = Args::command().bin_name(invoked::name());
    let matches = command.try_get_matches_from_mut(arguments)?;
    Args::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
}

/// Help and version were asked for; everything else is a mistake, reported in one line.
fn refuse(error: &clap::Error, arguments: &[OsString]) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // A closed pipe (`--help | head -1`) is no failure.
            let _ = error.print();
            ExitCode::SUCCESS
        }
        _ => {
            failure::report(&failure::of_clap(error, arguments));
            ExitCode::FAILURE
        }
    }
}
