//! A scan for people: a table of the findings, or one for each group of them, and what they mean in a sentence.

use std::fmt::Write;

use helm_guard_core::scan::{FindingSeverity, ScanReport};
use serde_json::Value;

use super::{
    group::{self, GroupBy, ReleaseFinding},
    summary::{failure, sentence, unlisted},
};
use crate::cli::output::{Cell, Column, Screen, Table, Tone, toned};

const COLUMNS: [Column; 10] = [
    Column::cut("RELEASE"),
    Column::cut("OBJECT"),
    Column::whole("FINDING"),
    Column::cut("FIELD"),
    Column::whole("NEXT UPGRADE"),
    Column::wide("DECLARED"),
    Column::wide("LIVE"),
    Column::wide("BY"),
    Column::wide("SINCE"),
    Column::wide("MESSAGE"),
];

/// The text. Writing to a string cannot fail.
pub(super) fn table(report: &ScanReport, by: Option<GroupBy>, screen: Screen) -> String {
    let mut text = String::new();
    match by {
        None => write_rows(&mut text, group::all(report), screen),
        Some(by) => {
            for group in group::groups(report, by) {
                let heading = screen.wrapped("", &group.heading());
                let _ = writeln!(text, "{}", toned(Tone::Heading, heading.trim_end()));
                write_rows(&mut text, group.findings.iter().copied(), screen);
            }
        }
    }
    for more in report.releases.iter().filter_map(unlisted) {
        text.push_str(&screen.wrapped("", &more));
    }
    for one in &report.errors {
        let _ = write!(text, "{} ", toned(Tone::Bad, "not complete:"));
        text.push_str(&screen.wrapped("", &failure(one)));
    }
    if !report.coverage.is_empty() {
        text.push_str(&Table::new(&COVERAGE, coverage(report)).text(screen));
        text.push('\n');
    }
    text.push_str(&screen.wrapped("", &sentence(report)));
    text
}

const COVERAGE: [Column; 3] = [
    Column::whole("NAMESPACE"),
    Column::whole("OBJECTS"),
    Column::whole("OF RELEASES"),
];

fn coverage(report: &ScanReport) -> Vec<Vec<Cell>> {
    let rows = report.coverage.iter().map(|of| {
        let share = of.declared * 100 / of.objects.max(1);
        vec![
            of.namespace.clone().into(),
            of.objects.to_string().into(),
            format!("{} ({share} %)", of.declared).into(),
        ]
    });
    rows.collect()
}

fn write_rows<'r>(
    text: &mut String,
    findings: impl Iterator<Item = ReleaseFinding<'r>>,
    screen: Screen,
) {
    let rows: Vec<Vec<Cell>> = findings.map(|one| row(&one)).collect();
    if !rows.is_empty() {
        text.push_str(&Table::new(&COLUMNS, rows).text(screen));
        text.push('\n');
    }
}

fn row(one: &ReleaseFinding<'_>) -> Vec<Cell> {
    let finding = one.finding;
    let tone = match finding.severity {
        FindingSeverity::Info => Tone::Plain,
        FindingSeverity::Low | FindingSeverity::Medium => Tone::Warning,
        FindingSeverity::High | FindingSeverity::Critical => Tone::Bad,
    };
    let object = &finding.object;
    let place = match &*object.namespace {
        "" => String::new(),
        namespace if namespace == one.release.0 => String::new(),
        namespace => format!("{namespace}/"),
    };
    let value = |value: &Option<Value>| value.as_ref().map_or_else(String::new, Value::to_string);
    let writer = finding.writer.as_ref();
    vec![
        one.release_name().into(),
        format!("{place}{}/{}", object.kind, object.name).into(),
        Cell::toned(tone, finding.class.as_str()),
        finding.path.clone().unwrap_or_default().into(),
        finding.consequence.as_str().into(),
        value(&finding.declared).into(),
        value(&finding.live).into(),
        writer
            .map_or_else(String::new, |writer| writer.manager.clone())
            .into(),
        finding.since.clone().unwrap_or_default().into(),
        finding.message.clone().into(),
    ]
}

#[cfg(test)]
mod tests {
    use anstream::adapter::strip_str;
    use rstest::rstest;

    use super::*;
    use crate::cli::scan::sample;

    #[rstest]
    #[case::one_table("table", None)]
    #[case::by_writer("table-by-writer", Some(GroupBy::Writer))]
    fn findings_are_listed_in_one_table_or_in_groups(
        #[case] name: &str,
        #[case] by: Option<GroupBy>,
    ) {
        let text = table(&sample::report(), by, Screen::default());
        insta::assert_snapshot!(name, strip_str(&text).to_string());
    }

    #[test]
    fn each_finding_is_in_a_row_however_they_are_grouped() {
        let report = sample::report();
        let count = report.findings().count();
        let is_class = |cell: &str| {
            let mut findings = report.findings();
            findings.any(|finding| finding.class.as_str() == cell)
        };
        for by in [
            GroupBy::Release,
            GroupBy::Writer,
            GroupBy::Class,
            GroupBy::Chart,
        ] {
            let text = table(&report, Some(by), Screen::default());
            let text = strip_str(&text).to_string();
            let rows = text.lines().filter(|line| {
                let mut cells = line.split("   ").filter(|cell| !cell.is_empty());
                cells.nth(2).is_some_and(|cell| is_class(cell.trim()))
            });
            assert_eq!(rows.count(), count, "{text}");
        }
    }
}
