//! Looks for drift in a cluster: reads release records and live objects, and has [`helm_guard_core::scan`] compare them.
//!
//! | module | holds |
//! |---|---|
//! | [`catalog`] | the kinds that the API server serves |
//! | [`stored`] | release records and their bodies |
//! | [`listing`] | lists of live objects, page by page |
//! | [`pass`] | one pass over the objects of some releases; [`autoscaled`]: which of them have an autoscaler |
//! | [`leader`] | scans as long as this replica leads; [`status`]: what they found |
//!
//! Invariants
//! - It only reads: `get`, `list` and, on the leader, `watch`.
//! - What could not be read is in the report, which is then not complete.
//!
//! Start at [`scan`].

mod autoscaled;
pub(crate) mod catalog;
pub(crate) mod leader;
mod listing;
mod pass;
mod progress;
pub(crate) mod status;
mod stored;

use std::collections::HashMap;

use helm_guard_core::{
    api::EmergencyChange,
    compare::redact::Redactor,
    guard::HELM_WRITERS,
    helm::{ReleaseName, lifecycle::active_set, storage::Driver},
    policy::Policy,
    scan::{
        ReleaseScan, ScanReport, ScanRules, ScannedRelease, emergencies::OpenEmergencies,
        orphans::OwnerRecords, report::ScanFailure, scanned::RecordContent,
    },
};
use jiff::{SignedDuration, Timestamp};
use kube::{Api, Client, api::ListParams};

use self::{
    catalog::Catalog,
    listing::ListError,
    pass::{PassInput, pass},
    stored::{RecordQuery, StoredRelease},
};
use crate::cluster::{ApiFailure, Clients, Crds};

pub(crate) use self::{listing::ListCost, pass::ForbiddenKinds, progress::ScanProgress};

/// Helm's label, which each object that it manages has.
const MANAGED: &str = "app.kubernetes.io/managed-by=Helm";

/// How long an operation of Helm may take before it is stuck: Helm itself waits five minutes by default.
const PENDING_GRACE: SignedDuration = SignedDuration::from_mins(15);

/// What is scanned, and by which rules.
#[derive(Debug)]
pub(crate) struct ScanRequest<'a> {
    /// The name of the cluster in the report.
    pub(crate) cluster: String,
    /// One namespace, or all.
    pub(crate) namespace: Option<&'a str>,
    /// The namespace of the records, or all. Usually that of the releases; Flux may store records elsewhere.
    pub(crate) records_in: Option<&'a str>,
    /// Releases to scan, by namespace of their records (empty: any) and name; all if there are none.
    pub(crate) only: &'a [(String, String)],
    /// The name of the chart of the releases to scan.
    pub(crate) chart: Option<&'a str>,
    /// Where Helm stores records.
    pub(crate) drivers: &'a [Driver],
    /// Tolerates differences.
    pub(crate) policy: &'a Policy,
    /// Hashes values of Secrets.
    pub(crate) redactor: &'a Redactor,
    pub(crate) forbidden_kinds: ForbiddenKinds,
    /// Whether all objects are counted, and those that belong to a release.
    pub(crate) with_coverage: bool,
    /// Where to note how far the scan is.
    pub(crate) progress: &'a ScanProgress,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ScanError {
    /// Discovery failed.
    #[error("failed to ask what the API server serves: {0}")]
    Discovery(ApiFailure),
    /// The records cannot be listed.
    #[error("failed to list the release records: {0}")]
    Records(ListError),
}

/// Scans a cluster once.
///
/// # Errors
/// When nothing could be looked at. What could not be looked at besides is in the report.
pub(crate) async fn scan(
    client: &Client,
    request: &ScanRequest<'_>,
) -> Result<(ScanReport, ListCost), ScanError> {
    let catalog = Catalog::read(client).await.map_err(ScanError::Discovery)?;
    scan_with(client, &Crds::new(client.clone()), &catalog, request).await
}

/// The same, where it is known already what the API server serves.
async fn scan_with(
    client: &Client,
    crds: &Crds,
    catalog: &Catalog,
    request: &ScanRequest<'_>,
) -> Result<(ScanReport, ListCost), ScanError> {
    let clients = Clients::from(client.clone());
    let query = RecordQuery {
        namespace: request.records_in,
        drivers: request.drivers,
        only: request.only,
    };
    let (releases, changes) = tokio::join!(
        stored::read(&clients, &query),
        emergency_changes(client, request.namespace),
    );
    let mut releases = releases.map_err(ScanError::Records)?;
    if let Some(chart) = request.chart {
        releases.retain(|release| release.chart() == Some(chart));
    }
    let mut failures = Vec::new();
    let changes = changes.unwrap_or_else(|failure| {
        failures.push(failure);
        Vec::new()
    });
    let rules = ScanRules {
        policy: request.policy,
        redactor: request.redactor,
        writers: HELM_WRITERS,
        emergencies: &OpenEmergencies::of(&changes),
        now: Timestamp::now(),
        pending_grace: PENDING_GRACE,
    };
    let revisions: Vec<_> = releases.iter().map(StoredRelease::revisions).collect();
    let scanned = releases
        .iter()
        .zip(&revisions)
        .map(|(release, revisions)| ScannedRelease {
            name: &release.name,
            records: &release.records,
            revisions,
            highest_seen: None,
        });
    let scanned: Vec<_> = scanned.collect();
    let scans: Vec<_> = scanned
        .iter()
        .map(|release| ReleaseScan::new(release, &rules))
        .collect();
    let owners = owners(&scanned);
    let result = pass(
        &PassInput {
            client,
            crds,
            catalog,
            rules: &rules,
            namespace: request.namespace,
            with_orphans: request.only.is_empty() && request.chart.is_none(),
            forbidden_kinds: request.forbidden_kinds,
            with_coverage: request.with_coverage,
            progress: request.progress,
            owners: &|name| owners.get(name).copied().unwrap_or(OwnerRecords::None),
        },
        &scans,
    )
    .await;
    failures.extend(result.failures);
    let reports = scans
        .iter()
        .zip(result.assessed)
        .map(|(scan, assessed)| scan.conclude(assessed));
    let mut report = ScanReport::new(
        request.cluster.clone(),
        Timestamp::now(),
        reports.collect(),
        result.orphans,
        failures,
    );
    report.coverage = result.coverage;
    Ok((report, result.cost))
}

/// What is known of each release.
fn owners(releases: &[ScannedRelease<'_>]) -> HashMap<ReleaseName, OwnerRecords> {
    let of = |release: &ScannedRelease<'_>| {
        let revisions = release.revisions.iter();
        let statuses: Vec<_> = revisions.map(|one| (one.revision, one.status)).collect();
        let is_unread = |number| {
            let mut revisions = release.revisions.iter();
            let revision = revisions.find(|one| one.revision == number);
            revision.is_some_and(|one| !is_read(&one.content))
        };
        let records = match active_set(&statuses) {
            Some(active) if active.revisions().any(is_unread) => OwnerRecords::Unread,
            Some(_) => OwnerRecords::Active,
            None => OwnerRecords::Uninstalled,
        };
        (release.name.clone(), records)
    };
    releases.iter().map(of).collect()
}

/// Whether it is known what a revision declares.
fn is_read(content: &RecordContent<'_>) -> bool {
    matches!(content, RecordContent::Read(record) if record.unread_documents == 0)
}

/// The emergency changes; none if the cluster does not have the kind.
async fn emergency_changes(
    client: &Client,
    namespace: Option<&str>,
) -> Result<Vec<EmergencyChange>, ScanFailure> {
    let api: Api<EmergencyChange> = match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    };
    match api
        .list(&ListParams::default())
        .await
        .map_err(ApiFailure::from)
    {
        Ok(list) => Ok(list.items),
        Err(failure) if failure.is_not_found() => Ok(Vec::new()),
        Err(failure) => Err(ScanFailure {
            kind: Some("EmergencyChange.helm-guard.dev".to_owned()),
            namespace: namespace.map(str::to_owned),
            message: format!("failed to list, so what they explain counts as drift: {failure}"),
        }),
    }
}
