//! One table, and the same as JSON.

use std::{collections::BTreeMap, fmt::Write, path::Path};

use anyhow::{Context, Result};
use serde::Serialize;

/// What a figure should be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Goal {
    /// This or more.
    AtLeast(f64),
    /// This or less.
    AtMost(f64),
}

impl Goal {
    fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtLeast(goal) => value >= goal,
            Self::AtMost(goal) => value <= goal,
        }
    }
}

/// One line of the table.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// The part of the table.
    pub group: String,
    /// What was measured.
    pub what: String,
    /// The figure.
    pub value: f64,
    /// Its unit; nothing for ratios.
    pub unit: &'static str,
    /// What it should be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub goal: Option<Goal>,
    /// Whether it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub met: Option<bool>,
}

/// What was measured so far.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// About the machine and the run.
    pub about: BTreeMap<String, String>,
    /// The figures.
    pub rows: Vec<Row>,
    /// What must be known to read them.
    pub notes: Vec<String>,
}

impl Report {
    /// Adds a figure.
    pub fn add(&mut self, group: &str, what: impl Into<String>, value: f64, unit: &'static str) {
        self.rows.push(Row {
            group: group.to_owned(),
            what: what.into(),
            value,
            unit,
            goal: None,
            met: None,
        });
    }

    /// Adds a figure that should be something.
    pub fn aim(
        &mut self,
        group: &str,
        what: impl Into<String>,
        value: f64,
        unit: &'static str,
        goal: Goal,
    ) {
        self.add(group, what, value, unit);
        if let Some(row) = self.rows.last_mut() {
            row.goal = Some(goal);
            row.met = Some(goal.is_met(value));
        }
    }

    /// Adds a note.
    pub fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    /// Adds what is known of the run.
    pub fn about(&mut self, name: &str, text: impl Into<String>) {
        self.about.insert(name.to_owned(), text.into());
    }

    /// Writes it as JSON.
    pub fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        let written = std::fs::write(path, text + "\n");
        written.with_context(|| format!("failed to write {}", path.display()))
    }

    /// The table, in Markdown that also reads well as it is.
    pub fn table(&self) -> String {
        let mut text = String::new();
        for (name, value) in &self.about {
            let _ = writeln!(text, "{name}: {value}");
        }
        let width = |of: fn(&Row) -> usize| self.rows.iter().map(of).max().unwrap_or_default();
        let what = width(|row| row.what.chars().count()).max(4);
        let mut group = "";
        for row in &self.rows {
            if row.group != group {
                group = &row.group;
                let _ = writeln!(text, "\n### {group}\n");
                let _ = writeln!(text, "| {:what$} | {:>12} | target |", "what", "measured");
                let _ = writeln!(text, "|{:-<1$}|-------------:|--------|", "", what + 2);
            }
            let measured = format!("{} {}", figure(row.value), row.unit);
            let goal = match (row.goal, row.met) {
                (Some(Goal::AtLeast(goal)), Some(met)) => target("≥", goal, met),
                (Some(Goal::AtMost(goal)), Some(met)) => target("≤", goal, met),
                _ => String::new(),
            };
            let _ = writeln!(
                text,
                "| {:what$} | {:>12} | {goal} |",
                row.what,
                measured.trim_end()
            );
        }
        if !self.notes.is_empty() {
            text.push('\n');
        }
        for note in &self.notes {
            let _ = writeln!(text, "- {note}");
        }
        text
    }
}

fn target(sign: &str, goal: f64, met: bool) -> String {
    let word = if met { "met" } else { "MISSED" };
    format!("{sign} {}, {word}", figure(goal))
}

/// Three digits that count.
fn figure(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 || size == 0.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_whether_its_target_is_met() {
        let mut report = Report::default();
        report.aim("server", "throughput", 0.9, "", Goal::AtLeast(0.85));
        report.aim("server", "CPU", 1.5, "", Goal::AtMost(1.25));
        report.add("memory", "resident", 12345.6, "KiB");
        let table = report.table();
        assert!(table.contains("≥ 0.850, met"), "{table}");
        assert!(table.contains("≤ 1.25, MISSED"), "{table}");
        assert!(table.contains("12346 KiB"), "{table}");
    }
}
