//! Findings in groups: by object, by release, by who wrote the difference, by class, by chart.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt::Write,
};

use clap::ValueEnum;
use helm_guard_core::{
    scan::{DriftFinding, ScanReport},
    text::counted,
};

/// What findings are grouped by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum GroupBy {
    /// One group for each release
    Release,
    /// One group for each field manager that wrote live values
    Writer,
    /// One group for each class
    Class,
    /// One group for each chart
    Chart,
}

/// A finding with its release.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReleaseFinding<'r> {
    /// The release: its namespace and name.
    pub(super) release: (&'r str, &'r str),
    /// Its chart; empty for an orphan, whose release declares it no more.
    pub(super) chart: &'r str,
    /// The finding.
    pub(super) finding: &'r DriftFinding,
}

impl ReleaseFinding<'_> {
    /// `shop/web`
    pub(super) fn release_name(&self) -> String {
        let (namespace, name) = self.release;
        format!("{namespace}/{name}")
    }
}

/// Findings that have something in common.
#[derive(Debug)]
pub(super) struct FindingGroup<'r> {
    /// What.
    pub(super) title: String,
    /// At least one.
    pub(super) findings: Vec<ReleaseFinding<'r>>,
}

impl FindingGroup<'_> {
    /// `kubectl-edit: 3 findings in 2 releases`
    pub(super) fn heading(&self) -> String {
        let releases: BTreeSet<_> = self.findings.iter().map(|one| one.release).collect();
        let mut heading = format!(
            "{}: {}",
            self.title,
            counted(self.findings.len(), "finding")
        );
        if releases.len() > 1 {
            // Writing to a string cannot fail.
            let _ = write!(heading, " in {} releases", releases.len());
        }
        heading
    }
}

/// All findings in the order of the report, those about orphans last.
pub(super) fn all(report: &ScanReport) -> impl Iterator<Item = ReleaseFinding<'_>> {
    let of_releases = report.releases.iter().flat_map(|release| {
        release.findings.iter().map(|finding| ReleaseFinding {
            release: (&release.namespace, &release.name),
            chart: &release.chart,
            finding,
        })
    });
    let of_orphans = report.orphans.iter().map(|orphan| ReleaseFinding {
        release: (&orphan.release_namespace, &orphan.release_name),
        chart: "",
        finding: &orphan.finding,
    });
    of_releases.chain(of_orphans)
}

/// Findings about one object, in the order in which the objects come.
pub(super) fn by_object(findings: &[DriftFinding]) -> Vec<Vec<&DriftFinding>> {
    let mut objects: Vec<Vec<&DriftFinding>> = Vec::new();
    let mut known = HashMap::new();
    for finding in findings {
        let object = &finding.object;
        let key = (
            &object.api_version,
            &object.kind,
            &object.namespace,
            &object.name,
        );
        let at = *known.entry(key).or_insert(objects.len());
        match objects.get_mut(at) {
            Some(others) => others.push(finding),
            None => objects.push(vec![finding]),
        }
    }
    objects
}

/// All findings in groups: releases by name, everything else by the number of findings.
pub(super) fn groups(report: &ScanReport, by: GroupBy) -> Vec<FindingGroup<'_>> {
    let mut by_title: BTreeMap<String, Vec<ReleaseFinding<'_>>> = BTreeMap::new();
    for one in all(report) {
        by_title.entry(title(&one, by)).or_default().push(one);
    }
    let groups = by_title.into_iter();
    let mut groups: Vec<_> = groups
        .map(|(title, findings)| FindingGroup { title, findings })
        .collect();
    if by != GroupBy::Release {
        // It is stable, so groups of one size stay in the order of their titles.
        groups.sort_by_key(|group| Reverse(group.findings.len()));
    }
    groups
}

fn title(one: &ReleaseFinding<'_>, by: GroupBy) -> String {
    match by {
        GroupBy::Release => one.release_name(),
        GroupBy::Writer => match &one.finding.writer {
            Some(writer) => writer.manager.clone(),
            None => "no known writer".to_owned(),
        },
        GroupBy::Class => {
            let class = one.finding.class;
            format!("{class} ({})", class.definition())
        }
        GroupBy::Chart => match one.chart {
            "" => "no chart".to_owned(),
            chart => chart.to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use rstest::rstest;

    use super::*;
    use crate::cli::scan::{Scan, run, sample};

    #[rstest]
    #[case::release(GroupBy::Release, &[
        "pay/ledger: 1 finding", "shop/gone: 2 findings", "shop/web: 8 findings",
    ])]
    #[case::writer(GroupBy::Writer, &[
        "no known writer: 7 findings in 3 releases", "kubectl-edit: 3 findings", "hpa: 1 finding",
    ])]
    #[case::class(GroupBy::Class, &[
        "Changed (a declared field has another value): 3 findings",
        "Orphaned (an object has the marks of a release that does not declare it): 2 findings",
        "Claimed (another field manager owns a declared field, so an upgrade that changes it fails): 1 finding",
        "Missing (a declared object does not exist): 1 finding",
        "MutatedAtAdmission (the value differs since Helm's own write): 1 finding",
        "Removed (a declared field is gone): 1 finding",
        "Unmarked (Helm's label or ownership annotations are gone or changed): 1 finding",
        "Unreadable (the object could not be read or compared): 1 finding",
    ])]
    #[case::chart(GroupBy::Chart, &[
        "web: 8 findings", "no chart: 2 findings", "ledger: 1 finding",
    ])]
    fn every_finding_is_in_one_group(#[case] by: GroupBy, #[case] expected: &[&str]) {
        let report = sample::report();
        let groups = groups(&report, by);
        let headings: Vec<String> = groups.iter().map(FindingGroup::heading).collect();
        assert_eq!(headings, expected);
        let count: usize = groups.iter().map(|group| group.findings.len()).sum();
        assert_eq!(count, report.findings().count());
    }

    #[test]
    fn findings_of_an_object_are_together_wherever_they_come() {
        let report = sample::report();
        let objects = by_object(&report.releases[2].findings);
        let found: Vec<(String, usize)> = objects
            .iter()
            .map(|findings| (findings[0].object.to_string(), findings.len()))
            .collect();
        let expected = [
            ("Deployment shop/web", 4),
            ("ConfigMap shop/web", 1),
            ("Secret shop/web", 1),
            ("Service shop/web", 1),
            ("Widget shop/web", 1),
        ];
        assert_eq!(
            found,
            expected.map(|(object, count)| (object.to_owned(), count))
        );
    }

    #[test]
    fn a_document_has_no_groups() {
        let args = ["scan", "--group-by", "class", "-o", "json"];
        let error = run(&Scan::try_parse_from(args).unwrap()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "--group-by is for -o table, wide and markdown"
        );
    }
}
