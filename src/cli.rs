//! The command line.

use std::{ffi::OsString, process::ExitCode};

/// Runs the command that `args` name.
pub fn run(_args: impl IntoIterator<Item = OsString>) -> ExitCode {
    ExitCode::FAILURE
}
