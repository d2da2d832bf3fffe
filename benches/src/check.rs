//! The gate: instruction counts and memory may not grow beyond a tenth of the committed baseline.
//!
//! `make bench-baseline` writes `baseline.json`. Counts depend on the compiler, so the file contains its version.
//! With another compiler, the comparison runs with a warning.

use std::{collections::BTreeMap, io::Write, path::Path, process::Command};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::{counts, memory};

/// Tolerated growth.
const LIMIT: f64 = 0.10;

/// Releases in the index whose memory is measured, and how often.
const RELEASES: usize = 1_000;
const STARTS: usize = 3;

const INSTRUCTIONS: &str = "instructions: ";

/// The measured figures.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    /// The compiler and the machine's kind.
    pub compiler: String,
    /// Instructions and KiB, by name.
    pub figures: BTreeMap<String, f64>,
}

impl Baseline {
    /// Reads the committed one.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path);
        let text = text.with_context(|| format!("failed to read {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("failed to read {}", path.display()))
    }

    /// Without figures that need valgrind.
    #[must_use]
    pub fn without_instructions(mut self) -> Self {
        self.figures
            .retain(|name, _| !name.starts_with(INSTRUCTIONS));
        self
    }

    /// Writes the figures as the new baseline.
    pub fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        let written = std::fs::write(path, text + "\n");
        written.with_context(|| format!("failed to write {}", path.display()))
    }

    /// Measures now; instructions only if valgrind is installed.
    pub async fn measure(folder: &Path) -> Result<Self> {
        let mut figures = BTreeMap::new();
        let titles = counts::is_possible().then(counts::titles);
        for title in titles.into_iter().flatten() {
            let count = counts::count(folder, &title)?;
            figures.insert(format!("{INSTRUCTIONS}{title}"), count);
        }
        let start = memory::median_resident(folder, RELEASES, STARTS).await?;
        figures.insert(format!("KiB resident: {RELEASES} releases"), start.resident);
        let objects = (start.index_bytes / 1024.0).round();
        figures.insert(
            format!("KiB of declared objects, compressed: {RELEASES} releases"),
            objects,
        );
        Ok(Self {
            compiler: compiler(),
            figures,
        })
    }
}

fn compiler() -> String {
    let output = Command::new("rustc").arg("-V").output();
    let version = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    format!(
        "{}, {}",
        version.unwrap_or_default(),
        std::env::consts::ARCH
    )
}

/// The change of one figure.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Changed by this share, within the tolerance.
    Within(f64),
    /// Grown by more than that.
    Grown(f64),
    /// Shrunk so far that the baseline should be rewritten.
    Shrunk(f64),
    /// Missing in the baseline, or in the baseline but no longer measured.
    Unknown,
}

/// Compares figure by figure.
pub fn compare(baseline: &Baseline, now: &Baseline) -> Vec<(String, Change)> {
    let names: std::collections::BTreeSet<&String> =
        baseline.figures.keys().chain(now.figures.keys()).collect();
    let change = |name: &String| match (baseline.figures.get(name), now.figures.get(name)) {
        (Some(before), Some(now)) => {
            let change = now / before - 1.0;
            match change {
                change if change > LIMIT => Change::Grown(change),
                change if change < -LIMIT => Change::Shrunk(change),
                change => Change::Within(change),
            }
        }
        _ => Change::Unknown,
    };
    let changes = names.into_iter().map(|name| (name.clone(), change(name)));
    changes.collect()
}

/// Whether no figure has grown too much; prints the changes.
pub fn passes(baseline: &Baseline, now: &Baseline) -> Result<bool> {
    let mut out = std::io::stdout().lock();
    if baseline.compiler != now.compiler {
        writeln!(
            out,
            "the baseline is from {}, this is {}: renew it if a change is rejected only for this reason",
            baseline.compiler, now.compiler
        )?;
    }
    let mut passes = true;
    for (name, change) in compare(baseline, now) {
        let word = match change {
            Change::Within(by) => format!("{:+.1} %", by * 100.0),
            Change::Shrunk(by) => format!("{:+.1} %: make bench-baseline", by * 100.0),
            Change::Grown(by) => {
                passes = false;
                format!("{:+.1} %: MORE THAN {:.0} %", by * 100.0, LIMIT * 100.0)
            }
            Change::Unknown => {
                passes = false;
                "only in one of the two: make bench-baseline".to_owned()
            }
        };
        writeln!(out, "{name}: {word}")?;
    }
    Ok(passes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(figures: &[(&str, f64)]) -> Baseline {
        let figures = figures
            .iter()
            .map(|(name, value)| ((*name).to_owned(), *value));
        Baseline {
            compiler: "rustc".to_owned(),
            figures: figures.collect(),
        }
    }

    #[test]
    fn other_figures_are_compared_without_instruction_counts() {
        let baseline = of(&[("instructions: a", 1.0), ("KiB", 1.0)]).without_instructions();
        assert!(passes(&baseline, &of(&[("KiB", 1.0)])).expect("stdout"));
        assert!(!passes(&baseline, &of(&[("KiB", 1.2)])).expect("stdout"));
    }

    #[test]
    fn growth_beyond_a_tenth_and_missing_figures_fail() {
        let baseline = of(&[("a", 100.0)]);
        let table = [
            (of(&[("a", 109.0)]), true),
            (of(&[("a", 111.0)]), false),
            (of(&[("a", 50.0)]), true),
            (of(&[("a", 100.0), ("b", 1.0)]), false),
            (of(&[]), false),
        ];
        for (now, expected) in table {
            assert_eq!(
                passes(&baseline, &now).expect("stdout"),
                expected,
                "{now:?}"
            );
        }
    }
}
