//! `make demo`: the main features of helm-guard, shown on a real control plane. `make up`: the same
//! setup, left running to try things.
//!
//! `demo [up] [BINARY]`. The guard's binary is the one given, else `$HELM_GUARD_BIN`, else the one
//! built next to this program. Every step checks its outcome; the exit code is 1 if one fails.

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
        None => sibling_binary(&env::current_exe()?)?,
    };
    if !binary.is_file() {
        return Err(format!("{} is not there: run `make build`", binary.display()).into());
    }
    let binary = std::path::absolute(binary)?;
    let screen = Screen::new();
    let mut shop = Shop::open(screen, &binary)?;
    if play {
        shop.start_guard()?;
        play::until_interrupted(screen, &shop, &binary)
    } else {
        steps::show(screen, &mut shop)
    }
}

/// The guard, built into the same folder.
fn sibling_binary(demo: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let folder = demo.parent();
    let folder = folder.ok_or("failed to find the folder of the demo")?;
    Ok(folder.join("helm-guard"))
}
