//! The document of a scan: `ScanReport`. Its fields are an interface, documented in docs/output.md.
//!
//! Invariant: a scan that could not look at everything is not complete, whatever it found.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::finding::DriftFinding;
use crate::{api::API_VERSION, text::second};

/// Its kind.
pub const KIND: &str = "ScanReport";

/// The result of a scan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScanReport {
    /// `helm-guard.dev/v1alpha1`
    pub api_version: String,
    /// `ScanReport`
    pub kind: String,
    /// The cluster: the name of the kubeconfig's context, or as configured.
    pub cluster: String,
    /// When the scan ended.
    pub scanned_at: String,
    /// Whether everything was looked at.
    pub complete: bool,
    /// What was found, in numbers.
    pub summary: ScanSummary,
    /// The releases.
    pub releases: Vec<ReleaseReport>,
    /// Marked objects that no release declares.
    pub orphans: Vec<OrphanReport>,
    /// What could not be looked at, beyond single objects and releases.
    pub errors: Vec<ScanFailure>,
    /// How much of each namespace belongs to releases.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub coverage: Vec<NamespaceCoverage>,
}

/// A scan in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScanSummary {
    /// All releases. Those in neither of the other numbers are pending.
    pub releases: usize,
    /// The objects that they declare.
    pub objects: usize,
    /// Releases without drift.
    pub in_sync: usize,
    /// Releases with drift.
    pub drifted: usize,
    /// Releases that could not be read or compared, and other failures of the scan.
    pub errors: usize,
}

/// The state of a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum DriftState {
    /// There is no finding but for information.
    InSync,
    /// There is drift.
    Drifted,
    /// An operation runs: its objects may be on their way and were not compared.
    Pending,
    /// It, or a part of it, could not be read or compared.
    Error,
}

/// One release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseReport {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its newest revision.
    pub revision: u32,
    /// The status of that revision, in Helm's words.
    pub status: String,
    /// The name of its chart.
    pub chart: String,
    /// The version of its chart.
    pub chart_version: String,
    /// Its state.
    pub state: DriftState,
    /// The number of objects that active revisions declare.
    pub objects: usize,
    /// What was found.
    pub findings: Vec<DriftFinding>,
    /// The number of further differing fields, which are not listed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more_findings: usize,
}

/// A marked object that no release declares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OrphanReport {
    /// The namespace of the release that it names.
    pub release_namespace: String,
    /// The name of that release.
    pub release_name: String,
    /// Whether `helm.sh/resource-policy` kept it, so that it is there on purpose.
    #[serde(rename = "kept")]
    pub is_kept: bool,
    /// The finding.
    #[serde(flatten)]
    pub finding: DriftFinding,
}

/// Something that could not be looked at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScanFailure {
    /// The kind of objects, if it is about one: `Deployment.apps`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The namespace; absent for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// What failed.
    pub message: String,
}

/// How much of a namespace belongs to releases. Only kinds that some release declares are counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceCoverage {
    /// The namespace.
    pub namespace: String,
    /// The objects in it that nothing owns.
    pub objects: usize,
    /// Those of them that a release declares.
    pub declared: usize,
}

/// Counts objects by namespace while they are listed.
#[derive(Clone, Debug, Default)]
pub struct CoverageCount(BTreeMap<String, (usize, usize)>);

impl CoverageCount {
    /// Counts an object that nothing owns.
    pub fn add(&mut self, namespace: &str, is_declared: bool) {
        if !self.0.contains_key(namespace) {
            self.0.insert(namespace.to_owned(), (0, 0));
        }
        if let Some((objects, declared)) = self.0.get_mut(namespace) {
            *objects += 1;
            *declared += usize::from(is_declared);
        }
    }

    /// By namespace.
    pub fn finish(self) -> Vec<NamespaceCoverage> {
        let counts = self.0.into_iter();
        counts
            .map(|(namespace, (objects, declared))| NamespaceCoverage {
                namespace,
                objects,
                declared,
            })
            .collect()
    }
}

impl ScanReport {
    /// The document of what was found; releases and orphans are sorted, so that two scans compare as texts.
    pub fn new(
        cluster: String,
        at: Timestamp,
        mut releases: Vec<ReleaseReport>,
        mut orphans: Vec<OrphanReport>,
        errors: Vec<ScanFailure>,
    ) -> Self {
        let name = |release: &ReleaseReport| (release.namespace.clone(), release.name.clone());
        releases.sort_by_cached_key(name);
        orphans.sort_by(|a, b| a.finding.id.cmp(&b.finding.id));
        let in_state = |state| {
            releases
                .iter()
                .filter(|release| release.state == state)
                .count()
        };
        let failed = in_state(DriftState::Error);
        Self {
            api_version: API_VERSION.to_owned(),
            kind: KIND.to_owned(),
            cluster,
            scanned_at: second(at).to_string(),
            complete: failed == 0 && errors.is_empty(),
            summary: ScanSummary {
                releases: releases.len(),
                objects: releases.iter().map(|release| release.objects).sum(),
                in_sync: in_state(DriftState::InSync),
                drifted: in_state(DriftState::Drifted),
                errors: failed + errors.len(),
            },
            releases,
            orphans,
            errors,
            coverage: Vec::new(),
        }
    }

    /// Adds the report of another part of the same cluster, such as another namespace.
    pub fn merge(&mut self, other: Self) {
        let ScanSummary {
            releases,
            objects,
            in_sync,
            drifted,
            errors,
        } = other.summary;
        self.summary.releases += releases;
        self.summary.objects += objects;
        self.summary.in_sync += in_sync;
        self.summary.drifted += drifted;
        self.summary.errors += errors;
        self.complete &= other.complete;
        self.releases.extend(other.releases);
        self.orphans.extend(other.orphans);
        self.errors.extend(other.errors);
        self.coverage.extend(other.coverage);
    }

    /// All findings, those about orphans last.
    pub fn findings(&self) -> impl Iterator<Item = &DriftFinding> {
        let of_releases = self.releases.iter().flat_map(|release| &release.findings);
        of_releases.chain(self.orphans.iter().map(|orphan| &orphan.finding))
    }
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn release(name: &str, state: DriftState) -> ReleaseReport {
        ReleaseReport {
            namespace: "shop".to_owned(),
            name: name.to_owned(),
            revision: 3,
            status: "deployed".to_owned(),
            chart: "web".to_owned(),
            chart_version: "1.0.0".to_owned(),
            state,
            objects: 5,
            findings: Vec::new(),
            more_findings: 0,
        }
    }

    #[test]
    fn a_report_counts_its_releases_and_is_complete_without_errors() {
        let at = "2026-11-21T03:12:09.5Z".parse().unwrap();
        let states = [
            ("c", DriftState::Pending),
            ("b", DriftState::Drifted),
            ("a", DriftState::InSync),
        ];
        let releases: Vec<_> = states.map(|(name, state)| release(name, state)).to_vec();
        let report =
            |releases, errors| ScanReport::new("test".to_owned(), at, releases, Vec::new(), errors);
        let clean = report(releases.clone(), Vec::new());
        let document = serde_json::to_value(&clean).unwrap();
        assert_eq!(
            document["summary"],
            json!({"releases": 3, "objects": 15, "inSync": 1, "drifted": 1, "errors": 0})
        );
        assert_eq!(document["complete"], true);
        assert_eq!(document["scannedAt"], "2026-11-21T03:12:09Z");
        assert_eq!(document["releases"][0]["name"], "a");
        assert_eq!(
            serde_json::from_value::<ScanReport>(document).unwrap(),
            clean
        );
        let failure = ScanFailure {
            kind: Some("Deployment.apps".to_owned()),
            namespace: None,
            message: "forbidden".to_owned(),
        };
        assert!(!report(releases.clone(), vec![failure]).complete);
        let with_error = [releases, vec![release("d", DriftState::Error)]].concat();
        let report = report(with_error, Vec::new());
        assert!(!report.complete);
        assert_eq!(report.summary.errors, 1);
    }

    #[test]
    fn coverage_is_counted_by_namespace() {
        let mut count = CoverageCount::default();
        for (namespace, is_declared) in [("b", true), ("a", false), ("b", false)] {
            count.add(namespace, is_declared);
        }
        let found: Vec<_> = count
            .finish()
            .into_iter()
            .map(|one| (one.namespace, one.objects, one.declared))
            .collect();
        assert_eq!(found, [("a".to_owned(), 1, 0), ("b".to_owned(), 2, 1)]);
    }
}
