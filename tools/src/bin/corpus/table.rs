//! The table at the end, and the exit code.

use std::{fmt::Write, process::ExitCode};

use testbed::HelmVersion;

use crate::tally::{Outcomes, Tally};

/// One chart with one Helm.
#[derive(Clone, Debug)]
pub struct Row {
    pub chart: String,
    pub helm: String,
    /// Helm steps that were allowed, in the counted life cycle.
    pub passed: usize,
    /// Steps that were denied by the guard.
    pub refused: usize,
    /// Why the chart does not install or upgrade here, even without the guard.
    pub not_here: Vec<String>,
    /// The counts.
    pub tally: Tally,
    /// How long it took.
    pub seconds: f64,
    /// Remarks.
    pub notes: Vec<String>,
}

impl Row {
    /// An empty row.
    pub fn new(chart: &str, version: HelmVersion) -> Self {
        Self {
            chart: chart.to_owned(),
            helm: version.to_string(),
            passed: 0,
            refused: 0,
            not_here: Vec::new(),
            tally: Tally::default(),
            seconds: 0.0,
            notes: Vec::new(),
        }
    }

    fn is_clean(&self) -> bool {
        self.refused == 0
            && self.tally.missed() == 0
            && self.tally.false_denials == 0
            && self.tally.errors == 0
            && self.tally.scans.are_right()
    }

    fn remarks(&self) -> String {
        let mut remarks = Vec::new();
        if self.passed < STEPS && self.refused == 0 {
            remarks.push(match self.passed {
                0 => "does not install here, even without the guard".to_owned(),
                _ => "does not get through here, even without the guard".to_owned(),
            });
        }
        let tally = &self.tally;
        for (count, what) in [
            (tally.exempt, "exempt objects"),
            (tally.absent, "absent objects"),
            (tally.late, "not evaluated at first"),
            (tally.errors, "errors"),
            (tally.not_tried(), "not tried"),
        ] {
            if count > 0 {
                remarks.push(format!("{count} {what}"));
            }
        }
        remarks.extend(self.not_here.iter().cloned());
        remarks.extend(self.notes.iter().cloned());
        remarks.join("; ")
    }
}

/// Install, upgrade, rollback, upgrade, uninstall.
const STEPS: usize = 5;

const HEAD: [&str; 13] = [
    "CHART",
    "HELM",
    "STEPS",
    "REFUSED",
    "OBJECTS",
    "DELETES D/A/U/M",
    "CHANGED D/A/U/M",
    "REMOVED D/A/U/M",
    "WRITES OK/A",
    "FALSE DENIALS",
    "SCANS F/M/X/C",
    "SECONDS",
    "REMARKS",
];

/// The whole table with its totals.
pub fn render(rows: &[Row]) -> String {
    let mut lines: Vec<Vec<String>> = vec![HEAD.iter().map(|cell| (*cell).to_owned()).collect()];
    lines.extend(rows.iter().map(cells));
    lines.push(totals(rows));
    let widths: Vec<usize> = (0..HEAD.len())
        .map(|column| {
            let cells = lines.iter().filter_map(|line| line.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        })
        .collect();
    let mut text = String::new();
    for line in lines {
        let padded: Vec<String> = line
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{}", padded.join("  ").trim_end());
    }
    text + "D denied by the guard, A refused by the API server itself, U unchanged by it, M missed. \
            Removed counts values, list items and whole branches. \
            Scans: F changes found, M missed, X findings without a change, C consequences that were wrong.\n"
}

fn cells(row: &Row) -> Vec<String> {
    let mut cells = vec![
        row.chart.clone(),
        row.helm.clone(),
        format!("{}/{STEPS}", row.passed),
    ];
    cells.push(row.refused.to_string());
    cells.extend(counts(&row.tally));
    cells.push(format!("{:.0}", row.seconds));
    cells.push(row.remarks());
    cells
}

fn counts(tally: &Tally) -> Vec<String> {
    let outcomes = |outcomes: &Outcomes| {
        let Outcomes {
            denied,
            api,
            unchanged,
            missed,
            ..
        } = outcomes;
        format!("{denied}/{api}/{unchanged}/{missed}")
    };
    vec![
        tally.objects.to_string(),
        outcomes(&tally.deletes),
        outcomes(&tally.changed),
        outcomes(&tally.removed),
        format!("{}/{}", tally.writes_passed, tally.writes_api),
        tally.false_denials.to_string(),
        format!(
            "{}/{}/{}/{}",
            tally.scans.found, tally.scans.missed, tally.scans.unfounded, tally.scans.mispredicted
        ),
    ]
}

fn totals(rows: &[Row]) -> Vec<String> {
    let mut tally = Tally::default();
    for row in rows {
        tally += row.tally;
    }
    let ran = rows.iter().filter(|row| row.passed > 0).count();
    let passed: usize = rows.iter().map(|row| row.passed).sum();
    let refused: usize = rows.iter().map(|row| row.refused).sum();
    let seconds: f64 = rows.iter().map(|row| row.seconds).sum();
    let mut cells = vec![
        "TOTAL".to_owned(),
        format!("{ran} runs"),
        passed.to_string(),
    ];
    cells.push(refused.to_string());
    cells.extend(counts(&tally));
    cells.push(format!("{seconds:.0}"));
    let mut remarks = vec![format!(
        "{} missed, {} false denials, {refused} refused",
        tally.missed(),
        tally.false_denials
    )];
    let foreign = |row: &&Row| row.passed < STEPS && row.refused == 0;
    let (stuck, absent): (Vec<&Row>, Vec<&Row>) =
        rows.iter().filter(foreign).partition(|row| row.passed > 0);
    for (count, what) in [
        (absent.len(), "do not install here"),
        (stuck.len(), "do not get through here"),
        (tally.errors, "errors"),
        (tally.not_tried(), "not tried"),
    ] {
        if count > 0 {
            remarks.push(format!("{count} {what}"));
        }
    }
    cells.push(remarks.join("; "));
    cells
}

/// One row as a line, for progress.
pub fn summary(row: &Row) -> String {
    let tally = &row.tally;
    format!(
        "corpus: {} {}: {}/5 steps, {} refused, {} missed, {} false denials, {:.0} s{}{}",
        row.chart,
        row.helm,
        row.passed,
        row.refused,
        tally.missed(),
        tally.false_denials,
        row.seconds,
        if row.remarks().is_empty() { "" } else { "; " },
        row.remarks()
    )
}

/// Zero only if nothing was denied to Helm, missed or falsely denied, and something was tried.
pub fn verdict(rows: &[Row]) -> ExitCode {
    let tried = rows.iter().any(|row| row.passed > 0);
    match (tried, rows.iter().all(Row::is_clean)) {
        (false, _) => ExitCode::FAILURE,
        (true, true) => ExitCode::SUCCESS,
        (true, false) => ExitCode::from(2),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_a_line_for_each_row_and_the_totals() {
        let mut row = Row::new("web", HelmVersion::V3);
        row.passed = 5;
        row.tally.changed.denied = 7;
        row.tally.removed.missed = 1;
        let nowhere = Row::new("operator", HelmVersion::V3);
        let text = render(&[row.clone(), row, nowhere]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 6);
        assert!(
            lines[1].contains("7/0/0/0") && lines[4].contains("14/0/0/0"),
            "{text}"
        );
        assert!(
            lines[4].contains("2 missed") && lines[4].contains("1 do not install here"),
            "{text}"
        );
    }

    #[test]
    fn a_miss_is_not_a_success() {
        let mut row = Row::new("web", HelmVersion::V4);
        assert_eq!(verdict(std::slice::from_ref(&row)), ExitCode::FAILURE);
        row.passed = 5;
        assert_eq!(verdict(std::slice::from_ref(&row)), ExitCode::SUCCESS);
        row.tally.scans.unfounded = 1;
        assert_eq!(verdict(std::slice::from_ref(&row)), ExitCode::from(2));
        row.tally.scans.unfounded = 0;
        row.tally.deletes.missed = 1;
        assert_eq!(verdict(std::slice::from_ref(&row)), ExitCode::from(2));
    }
}
