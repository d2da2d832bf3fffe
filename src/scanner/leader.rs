//! Scans on the leader: everything at an interval, and a release again as soon as one of its objects or records
//! changes.
//!
//! Invariants
//! - It only reads: get, list and watch.
//! - A change that no watch reported is found by the next full pass.
//! - What could not be read has no state: its series are absent, and it is counted.
//!
//! Start at [`LeaderScan::run`].

mod alerting;
mod changes;
mod fingerprint;
mod records;
mod watches;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use helm_guard_core::{
    compare::redact::Redactor,
    helm::{ReleaseName, storage::Driver},
    policy::Live,
    scan::ScanReport,
};
use jiff::Timestamp;
use kube::Client;
use tokio::time::{MissedTickBehavior, sleep};

use self::{
    alerting::DriftAlerts,
    changes::{ChangedRelease, ChangedReleases, ReleaseGroup},
    records::KnownRecords,
    watches::KindWatches,
};
use super::{
    ForbiddenKinds, ListCost, ScanError, ScanProgress, ScanRequest,
    catalog::Catalog,
    scan_with,
    status::{DriftStatus, PassFigures},
};
use crate::{cluster::Crds, record::alerts::Alerts, releases::Releases};

/// How often the leader looks at what has changed. A change has to be known within two seconds.
const TICK: Duration = Duration::from_millis(500);

/// How long what the API server serves is taken as known.
const CATALOG_AGE: Duration = Duration::from_secs(60);

/// The pause after the API server did not say what it serves.
const PAUSE: Duration = Duration::from_secs(5);

/// The pause after a full pass that failed, or before another one because much has changed.
const RETRY: Duration = Duration::from_secs(60);

/// Scans, for as long as this replica leads.
#[derive(Clone)]
pub(crate) struct LeaderScan {
    /// Needs `get`, `list` and `watch` on what releases declare, and on their records.
    pub(crate) client: Client,
    pub(crate) crds: Arc<Crds>,
    /// Says which kinds are declared, and when records have changed.
    pub(crate) releases: Releases,
    /// The policy in force.
    pub(crate) policy: Live,
    pub(crate) redactor: Arc<Redactor>,
    pub(crate) drivers: Vec<Driver>,
    /// The namespaces to scan; all if empty.
    pub(crate) namespaces: Vec<String>,
    /// The time between two full passes.
    pub(crate) interval: Duration,
    /// What is found.
    pub(crate) status: Arc<DriftStatus>,
    /// Who is told.
    pub(crate) alerts: Alerts,
}

/// What the API server serves, and when it said so.
struct KnownCatalog {
    catalog: Catalog,
    read: Instant,
}

/// What one scan is about: see [`ScanRequest`].
#[derive(Clone, Copy)]
struct ScanScope<'a> {
    namespace: Option<&'a str>,
    records_in: Option<&'a str>,
    only: &'a [(String, String)],
}

impl LeaderScan {
    /// Runs for as long as it is polled. Only the leader has drift to show.
    pub(crate) async fn run(&self) {
        let _shown = self.status.lead();
        let changed = Arc::<ChangedReleases>::default();
        let mut watches = KindWatches::new(
            self.client.clone(),
            self.releases.clone(),
            (Arc::clone(&changed), Arc::clone(&self.status)),
        );
        let mut records = KnownRecords::default();
        let mut drift_alerts = DriftAlerts::default();
        let mut catalog: Option<KnownCatalog> = None;
        let (mut next_pass, mut earliest_pass) = (Instant::now(), Instant::now());
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            // Without all records, objects of unread releases look like orphans.
            if !self.releases.readiness().ready {
                continue;
            }
            let has_new_records = records.update(&self.releases, &changed);
            let now = Instant::now();
            let is_pass_due = now >= next_pass || changed.are_too_many() && now >= earliest_pass;
            let is_stale = catalog
                .as_ref()
                .is_none_or(|known| known.read.elapsed() >= CATALOG_AGE);
            let is_needed = is_pass_due || has_new_records || !changed.is_empty();
            if is_needed && is_stale {
                match Catalog::read(&self.client).await {
                    Ok(read) => {
                        catalog = Some(KnownCatalog {
                            catalog: read,
                            read: Instant::now(),
                        });
                    }
                    Err(failure) => {
                        self.failed(&ScanError::Discovery(failure));
                        sleep(PAUSE).await;
                    }
                }
            }
            let Some(KnownCatalog { catalog, .. }) = &catalog else {
                continue;
            };
            if is_pass_due || has_new_records {
                watches.follow(catalog, &self.namespaces);
                watches.settle().await;
            }
            if is_pass_due {
                let is_done = self.full_pass(catalog, &changed).await;
                next_pass = Instant::now()
                    + if is_done {
                        self.interval
                    } else {
                        self.interval.min(RETRY)
                    };
                earliest_pass = Instant::now() + RETRY;
            } else {
                self.scan_again(catalog, &changed).await;
            }
            self.tell(&mut drift_alerts);
        }
    }

    /// Raises the alerts that are due, with the policy in force.
    fn tell(&self, drift_alerts: &mut DriftAlerts) {
        let over = self.policy.load().alerts().drift_over().get();
        let now = Timestamp::now();
        let due = self
            .status
            .view(|known, _| drift_alerts.due(known, over, now));
        for alert in due.into_iter().flatten() {
            self.alerts.raise(alert);
        }
    }

    /// Scans everything. Returns whether that was possible.
    async fn full_pass(&self, catalog: &Catalog, changed: &ChangedReleases) -> bool {
        // What changes from here on may be missed by the lists, and is scanned again.
        changed.clear();
        let started = Instant::now();
        let mut merged: Option<(ScanReport, ListCost)> = None;
        for namespace in self.scopes() {
            let scope = ScanScope {
                namespace,
                records_in: namespace,
                only: &[],
            };
            match self.scan(catalog, scope).await {
                Ok((report, cost)) => match &mut merged {
                    Some((whole, costs)) => {
                        whole.merge(report);
                        costs.add(cost);
                    }
                    None => merged = Some((report, cost)),
                },
                Err(error) => {
                    self.failed(&error);
                    return false;
                }
            }
        }
        if let Some((report, cost)) = merged {
            let figures = PassFigures {
                took: started.elapsed(),
                calls: cost.calls,
            };
            tracing::debug!(calls = cost.calls, bytes = cost.bytes, "scanned everything");
            self.status.replace(report, figures);
        }
        true
    }

    /// Scans what has changed, a few releases at a time.
    async fn scan_again(&self, catalog: &Catalog, changed: &ChangedReleases) {
        for (group, names) in changed.due(Instant::now()) {
            let ReleaseGroup {
                namespace,
                records_in,
            } = &group;
            let only: Vec<_> = names
                .iter()
                .map(|name| (records_in.clone(), name.clone()))
                .collect();
            let releases = names.into_iter().map(|name| ReleaseName {
                namespace: namespace.clone(),
                name,
            });
            let releases: Vec<_> = releases.collect();
            let scope = ScanScope {
                namespace: Some(namespace),
                records_in: Some(records_in),
                only: &only,
            };
            match self.scan(catalog, scope).await {
                Ok((report, _)) => self.status.update(&releases, report),
                Err(error) => {
                    self.failed(&error);
                    for release in releases {
                        let records_in = records_in.clone();
                        changed.add(ChangedRelease {
                            release,
                            records_in,
                        });
                    }
                }
            }
        }
    }

    /// The namespaces to list in; `None` for all.
    fn scopes(&self) -> Vec<Option<&str>> {
        if self.namespaces.is_empty() {
            return vec![None];
        }
        self.namespaces
            .iter()
            .map(|namespace| Some(namespace.as_str()))
            .collect()
    }

    async fn scan(
        &self,
        catalog: &Catalog,
        scope: ScanScope<'_>,
    ) -> Result<(ScanReport, ListCost), ScanError> {
        let policy = self.policy.load_full();
        let request = ScanRequest {
            cluster: String::new(),
            namespace: scope.namespace,
            records_in: scope.records_in,
            only: scope.only,
            chart: None,
            drivers: &self.drivers,
            policy: &policy,
            redactor: &self.redactor,
            forbidden_kinds: ForbiddenKinds::Skipped,
            with_coverage: false,
            progress: &ScanProgress::default(),
        };
        scan_with(&self.client, &self.crds, catalog, &request).await
    }

    fn failed(&self, error: &ScanError) {
        self.status.failed();
        tracing::warn!(%error, "failed to scan for drift");
    }
}
