//! What the scans of the leader have found, for metrics and alerts.
//!
//! Invariants
//! - A replica that does not lead knows nothing.
//! - A release that could not be read has no state, and is counted as an error. A release that is gone is forgotten.

use std::{
    collections::{BTreeMap, HashMap},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use helm_guard_core::{
    helm::ReleaseName,
    scan::{
        DriftFinding, FindingClass, FindingSeverity, ScanReport,
        report::{DriftState, ReleaseReport},
    },
};
use jiff::Timestamp;
use parking_lot::RwLock;

/// Drift in the cluster. Shared between the scans and those who show it.
#[derive(Debug, Default)]
pub(crate) struct DriftStatus {
    known: RwLock<Option<KnownDrift>>,
    failures: AtomicU64,
    watch_failures: AtomicU64,
}

/// What the leader knows.
#[derive(Debug, Default)]
pub(crate) struct KnownDrift {
    releases: BTreeMap<ReleaseName, KnownRelease>,
    /// Kinds and namespaces that could not be read.
    unread: usize,
    /// Marked objects that no release declares.
    orphans: usize,
    last_pass: Option<LastPass>,
}

/// A release as it was scanned last.
#[derive(Debug)]
pub(crate) struct KnownRelease {
    pub(crate) report: ReleaseReport,
    /// Since when each finding is there, by its ID.
    since: HashMap<String, Timestamp>,
}

/// The cost of a full pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PassFigures {
    pub(crate) took: Duration,
    /// Calls of the API server.
    pub(crate) calls: usize,
}

/// The last full pass.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LastPass {
    pub(crate) at: Timestamp,
    pub(crate) figures: PassFigures,
}

/// Forgets everything when it is dropped: another replica leads.
pub(crate) struct Leading<'a>(&'a DriftStatus);

impl Drop for Leading<'_> {
    fn drop(&mut self) {
        *self.0.known.write() = None;
    }
}

impl DriftStatus {
    /// Shows what is found from now on, until the result is dropped.
    pub(crate) fn lead(&self) -> Leading<'_> {
        *self.known.write() = Some(KnownDrift::default());
        Leading(self)
    }

    /// Takes the result of a full pass.
    pub(crate) fn replace(&self, report: ScanReport, figures: PassFigures) {
        let now = Timestamp::now();
        let mut known = self.known.write();
        let known = known.get_or_insert_default();
        let mut before = std::mem::take(&mut known.releases);
        known.unread = report.errors.len();
        known.orphans = report.orphans.len();
        known.last_pass = Some(LastPass { at: now, figures });
        for report in report.releases {
            let name = name(&report);
            let release = KnownRelease::new(report, before.remove(&name), now);
            known.releases.insert(name, release);
        }
    }

    /// Takes the result of another scan of these releases. Those that are not in it are gone.
    pub(super) fn update(&self, scanned: &[ReleaseName], report: ScanReport) {
        let now = Timestamp::now();
        let mut known = self.known.write();
        let known = known.get_or_insert_default();
        let mut reports: BTreeMap<_, _> = report
            .releases
            .into_iter()
            .map(|report| (name(&report), report))
            .collect();
        for release in scanned {
            let before = known.releases.remove(release);
            if let Some(report) = reports.remove(release) {
                let after = KnownRelease::new(report, before, now);
                known.releases.insert(release.clone(), after);
            }
        }
    }

    /// Counts a scan that failed as a whole.
    pub(super) fn failed(&self) {
        self.failures.fetch_add(1, Relaxed);
    }

    /// Counts a failure of a watch.
    pub(super) fn watch_failed(&self) {
        self.watch_failures.fetch_add(1, Relaxed);
    }

    /// Scans that failed as a whole, since the start.
    pub(crate) fn failures(&self) -> u64 {
        self.failures.load(Relaxed)
    }

    /// Failures of watches, since the start.
    pub(crate) fn watch_failures(&self) -> u64 {
        self.watch_failures.load(Relaxed)
    }

    /// Shows what is known; `None` on a replica that does not lead, and before the first full pass.
    pub(crate) fn view<T>(&self, show: impl FnOnce(&KnownDrift, LastPass) -> T) -> Option<T> {
        let known = self.known.read();
        let known = known.as_ref()?;
        Some(show(known, known.last_pass?))
    }
}

fn name(report: &ReleaseReport) -> ReleaseName {
    ReleaseName {
        namespace: report.namespace.clone(),
        name: report.name.clone(),
    }
}

impl KnownDrift {
    /// By name.
    pub(crate) fn releases(&self) -> impl Iterator<Item = (&ReleaseName, &KnownRelease)> {
        self.releases.iter()
    }

    /// Marked objects that no release declares, as of the last full pass.
    pub(crate) fn orphans(&self) -> usize {
        self.orphans
    }

    /// Releases, kinds and namespaces that could not be read.
    pub(crate) fn errors(&self) -> usize {
        let unread = self.releases.values();
        let unread = unread.filter(|release| release.is_drifted().is_none());
        unread.count() + self.unread
    }
}

impl KnownRelease {
    /// What was there before is there since then. What is new began when its writer wrote it, or now.
    fn new(report: ReleaseReport, before: Option<Self>, now: Timestamp) -> Self {
        let mut before = before.map(|before| before.since).unwrap_or_default();
        let since = report.findings.iter().map(|finding| {
            let began = finding.since.as_deref().and_then(|time| time.parse().ok());
            let since = before.remove(&finding.id).or(began).unwrap_or(now);
            (finding.id.clone(), since.min(now))
        });
        Self {
            since: since.collect(),
            report,
        }
    }

    /// Whether there is drift; `None` if that could not be read. During an operation of Helm there is none.
    pub(crate) fn is_drifted(&self) -> Option<bool> {
        match self.report.state {
            DriftState::InSync | DriftState::Pending => Some(false),
            DriftState::Drifted => Some(true),
            DriftState::Error => None,
        }
    }

    /// The findings that make it drifted.
    pub(crate) fn drift(&self) -> impl Iterator<Item = &DriftFinding> {
        let findings = self.report.findings.iter();
        findings.filter(|finding| finding.severity > FindingSeverity::Info && !finding.is_error())
    }

    /// Since when the oldest of them is there.
    pub(crate) fn since(&self) -> Option<Timestamp> {
        let since = self
            .drift()
            .filter_map(|finding| self.since.get(&finding.id));
        since.min().copied()
    }

    /// The number of findings of each class.
    pub(crate) fn by_class(&self) -> BTreeMap<FindingClass, usize> {
        let mut classes = BTreeMap::new();
        for finding in &self.report.findings {
            *classes.entry(finding.class).or_default() += 1;
        }
        classes
    }
}

#[cfg(test)]
pub(crate) mod tests;
