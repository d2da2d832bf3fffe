//! Prints the Grafana dashboard, `deploy/monitoring/dashboard.json`.
//!
//! What the panels show is in [`content`], in one place for each panel. [`panel`] and [`grafana`] write Grafana's JSON. `tests/monitoring.rs` checks that each query parses and names metrics and labels that exist.

use std::io::Write as _;

mod content;
mod grafana;
mod panel;

fn main() -> anyhow::Result<()> {
    std::io::stdout().write_all(dashboard()?.as_bytes())?;
    Ok(())
}

/// The text of the file.
fn dashboard() -> serde_json::Result<String> {
    let dashboard = grafana::dashboard(&content::sections());
    Ok(serde_json::to_string_pretty(&dashboard)? + "\n")
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    #[test]
    fn the_dashboard_is_generated_from_its_description() {
        let file =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/monitoring/dashboard.json");
        let is_same = fs::read_to_string(file).unwrap_or_default() == super::dashboard().unwrap();
        assert!(
            is_same,
            "deploy/monitoring/dashboard.json is out of date: run make dashboard"
        );
    }
}
