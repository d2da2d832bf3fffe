//! Tells the binary which commit it is built from: `helm-guard version`.
//!
//! The environment may set both values, where there is no clone (a container build). Only release builds ask git, so
//! that a commit does not rebuild every test.

use std::{env, process::Command};

fn main() {
    let is_release = env::var("PROFILE").is_ok_and(|profile| profile == "release");
    for (name, format) in [
        ("HELM_GUARD_COMMIT", "%h"),
        ("HELM_GUARD_COMMIT_DATE", "%cI"),
    ] {
        println!("cargo::rerun-if-env-changed={name}");
        let of_git = || is_release.then(|| git(format)).flatten();
        let value = env::var(name).ok().filter(|value| !value.is_empty());
        let value = value
            .or_else(of_git)
            .unwrap_or_else(|| "unknown".to_owned());
        println!("cargo::rustc-env={name}={value}");
    }
    println!("cargo::rerun-if-changed=build.rs");
    if is_release {
        println!("cargo::rerun-if-changed=.git/HEAD");
        println!("cargo::rerun-if-changed=.git/refs");
    }
}

fn git(format: &str) -> Option<String> {
    let format = format!("--format={format}");
    let output = Command::new("git")
        .args(["log", "-1", "--abbrev=12", &format])
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let text = text.trim();
    (output.status.success() && !text.is_empty()).then(|| text.to_owned())
}
