//! `make demo`: the moments that a user of helm-guard cares about, shown on a real control plane.
//! `make up`: the same set-up, left running for a person to play with.
//!
//! `demo [up] [BINARY]`. The guard's binary is the one given, else `$HELM_GUARD_BIN`, else the one
//! that was built beside this example. Every step checks that what it says is what happened: the
//! status is 1 when one does not.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::indexing_slicing,
    reason = "a program for people to read; what is not in a JSON line reads as null"
)]

mod channel;
mod play;
mod screen;
mod shop;
mod steps;

use std::{
    env,
    error::Error,
    path::{Path, PathBuf},
    process::ExitCode,
};

use crate::{screen::Screen, shop::Shop};

fn main() -> ExitCode {
    let mut args: Vec<String> = env::args().skip(1).collect();
    let play = args.first().is_some_and(|arg| arg == "up");
    if play {
        args.remove(0);
    }
    let binary = match args.as_slice() {
        [] => env::var_os("HELM_GUARD_BIN").map(PathBuf::from),
        [binary] => Some(binary.into()),
        _ => {
            eprintln!("usage: demo [up] [BINARY]");
            return ExitCode::FAILURE;
        }
    };
    match run(play, binary) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nThe demo failed: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(play: bool, binary: Option<PathBuf>) -> Result<(), Box<dyn Error>> {
    let binary = match binary {
        Some(binary) => binary,
        None => beside(&env::current_exe()?)?,
    };
    if !binary.is_file() {
        return Err(format!("{} is not there: run `make build`", binary.display()).into());
    }
    let binary = std::path::absolute(binary)?;
    let screen = Screen::new();
    let shop = Shop::open(screen, &binary)?;
    if play {
        play::until_interrupted(screen, &shop, &binary)
    } else {
        steps::show(screen, &shop)
    }
}

/// Examples are built into a folder below the one of the binaries.
fn beside(example: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let folder = example.parent().and_then(Path::parent);
    let folder = folder.ok_or("the demo does not know where it was built")?;
    Ok(folder.join("helm-guard"))
}
