//! `testbed build` gets the programs ready; `testbed up` runs a control plane until Ctrl-C.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::{env, error::Error, fs, os::unix::fs::symlink, path::Path, process::ExitCode};

use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
};
use testbed::{Binaries, ControlPlane};

const USAGE: &str =
    "usage: testbed build            find the control plane's programs, or build them once
       testbed build promtool   the same for promtool
       testbed up               run a control plane until Ctrl-C";

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let result = match args
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .as_slice()
    {
        ["build"] => build(),
        ["build", "promtool"] => promtool(),
        ["up"] => up(),
        ["help" | "-h" | "--help"] => {
            println!("{USAGE}");
            Ok(())
        }
        _ => Err(USAGE.into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn build() -> Result<(), Box<dyn Error>> {
    let binaries = Binaries::locate_or_build()?;
    for path in [
        &binaries.etcd,
        &binaries.kube_apiserver,
        &binaries.kube_controller_manager,
        &binaries.kube_scheduler,
        &binaries.kwok,
        &binaries.kubectl,
        &binaries.helm3,
        &binaries.helm4,
    ] {
        println!("{}", path.display());
    }
    Ok(())
}

fn promtool() -> Result<(), Box<dyn Error>> {
    println!("{}", testbed::binaries::promtool()?.display());
    Ok(())
}

fn up() -> Result<(), Box<dyn Error>> {
    let plane = ControlPlane::start()?;
    // Not before: during the start a signal ends us at once, and the watchdogs do the rest.
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    let bin = plane.scratch().join("bin");
    link(&bin, plane.binaries())?;
    println!("# ready. In another shell:");
    println!(
        "export PATH={}:$PATH  # kubectl, helm (4), helm3, helm4",
        bin.display()
    );
    println!(
        "export KUBECONFIG={}  # an ordinary user bound to cluster-admin",
        plane.alice().display()
    );
    println!(
        "export TESTBED_ADMIN={}  # a member of system:masters",
        plane.admin().display()
    );
    println!(
        "export TESTBED_DIR={}  # logs, the audit log",
        plane.scratch().display()
    );
    println!("# Ctrl-C stops everything.");
    signals.forever().next();
    eprintln!("testbed: stopping");
    Ok(())
}

fn link(dir: &Path, binaries: &Binaries) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(dir)?;
    for (name, program) in [
        ("kubectl", &binaries.kubectl),
        ("helm", &binaries.helm4),
        ("helm3", &binaries.helm3),
        ("helm4", &binaries.helm4),
    ] {
        symlink(program, dir.join(name))?;
    }
    Ok(())
}
