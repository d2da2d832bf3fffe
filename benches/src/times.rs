//! What criterion has measured: the medians of its last run, from its files.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::{cases, report::Report};

const GROUP: &str = "judgement";

/// Adds a row for each case that was timed.
pub fn collect(target: &Path, report: &mut Report) -> Result<()> {
    let folder = target.join("criterion");
    let mut missing = 0;
    for case in cases::all() {
        let of = folder
            .join(format!("judge {}", case.size))
            .join(file_name(case.name));
        let Ok(text) = fs::read_to_string(of.join("new/estimates.json")) else {
            missing += 1;
            continue;
        };
        let estimates: Value = serde_json::from_str(&text)
            .with_context(|| format!("failed to read {}", of.display()))?;
        let nanoseconds = estimates["median"]["point_estimate"].as_f64();
        let nanoseconds = nanoseconds.context("criterion estimates a median")?;
        report.add(GROUP, case.title(), nanoseconds / 1e3, "µs");
    }
    if missing > 0 {
        report.note(format!(
            "judgement: {missing} cases were not timed; cargo bench -p bench does"
        ));
    }
    Ok(())
}

/// As criterion makes folders of names (`make_filename_safe`): some characters are replaced, and a name
/// is cut at 64 bytes.
fn file_name(name: &str) -> String {
    let safe = name.replace(['?', '"', '/', '\\', '*', '<', '>', ':', '|', '^'], "_");
    safe.chars().take(64).collect()
}
