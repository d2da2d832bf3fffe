//! Instructions of an evaluation, counted by callgrind: the figure that is stable on a busy machine.
//!
//! Each case runs in a process of its own under valgrind; what is counted is one call of
//! [`Case::measured`], after a first one that is not.

use std::{path::Path, process::Command};

use anyhow::{Context, Result, bail};

use crate::{
    cases::{self, Case, Work},
    report::Report,
};

const GROUP: &str = "instructions";

/// Whether valgrind is installed.
pub fn is_possible() -> bool {
    let version = Command::new("valgrind").arg("--version").output();
    version.is_ok_and(|output| output.status.success())
}

/// The cases that are counted.
pub fn titles() -> Vec<String> {
    let ours = cases::all().filter(|case| case.work != Work::Value);
    ours.map(|case| case.title()).collect()
}

/// Counts all cases.
pub fn measure(folder: &Path, report: &mut Report) -> Result<()> {
    if !is_possible() {
        report.note("instructions: not counted, valgrind is not installed");
        return Ok(());
    }
    for title in titles() {
        let count = count(folder, &title)?;
        report.add(GROUP, title, count / 1e3, "thousand");
    }
    Ok(())
}

/// Instructions of one case.
pub fn count(folder: &Path, title: &str) -> Result<f64> {
    let out = folder.join("callgrind.out");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--toggle-collect=*Case*measured*"])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(std::env::current_exe()?)
        .args(["once", title])
        .output()
        .context("failed to run valgrind")?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        bail!("failed to count {title:?}:\n{said}");
    }
    let text = std::fs::read_to_string(&out)
        .with_context(|| format!("failed to read {}", out.display()))?;
    let totals = text.lines().find_map(|line| line.strip_prefix("totals: "));
    let count: f64 = totals
        .and_then(|totals| totals.split_whitespace().next()?.parse().ok())
        .with_context(|| format!("callgrind counted nothing of {title:?}:\n{said}"))?;
    if count < 1.0 {
        bail!("callgrind did not find the function to count");
    }
    Ok(count)
}

/// Runs one case twice under valgrind: once as a warm-up, once counted.
pub fn once(title: &str) -> Result<()> {
    let name = title.split(' ').next().unwrap_or_default();
    let (size, bytes) = cases::SIZES
        .into_iter()
        .find(|(size, _)| *size == name)
        .with_context(|| format!("there is no case {title:?}"))?;
    let cases = cases::of_size(size, bytes);
    let case: &Case = cases
        .iter()
        .find(|case| case.title() == title)
        .with_context(|| format!("there is no case {title:?}"))?;
    if !case.holds() {
        bail!("{title:?} does not have the expected verdict");
    }
    case.measured();
    Ok(())
}
