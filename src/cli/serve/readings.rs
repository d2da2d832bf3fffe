//! Metrics that each scrape reads from the modules: name, help and value in one place. Counters that the
//! webhook increments are in [`crate::record::metrics`].

use std::time::Duration;

use jiff::Timestamp;

use super::policy::PolicyState;
use crate::{
    record::metrics::reading::{Reading, SampleLabels, SampleValue},
    releases::{ReleaseInfo, Stats},
    scanner::status::{DriftStatus, KnownDrift, LastPass},
    webhook::{accept, registrar::RegistrationState},
};

pub(super) fn index(stats: &Stats) -> Vec<Reading> {
    let are_healthy = stats.watches > 0 && stats.watches == stats.watches_healthy;
    let mut readings = vec![
        Reading::gauge(
            "helm_guard_index_releases",
            "Releases in the index",
            stats.releases,
        ),
        Reading::gauge(
            "helm_guard_index_revisions",
            "Release records in the index",
            stats.revisions,
        ),
        Reading::gauge(
            "helm_guard_index_objects",
            "Declared objects in the index",
            stats.objects,
        ),
        Reading::gauge(
            "helm_guard_index_bytes",
            "Bytes of compressed declared objects in memory",
            stats.bytes,
        ),
        Reading::gauge(
            "helm_guard_index_record_copies",
            "Ignored records of a release outside its namespace, because it has records there too",
            stats.copies,
        ),
        Reading::gauge(
            "helm_guard_index_unreadable",
            "Active revisions whose record cannot be read",
            stats.unreadable,
        ),
        Reading::gauge(
            "helm_guard_index_outlined",
            "Active revisions that are read again for each request, because the index is full",
            stats.outlined,
        ),
        Reading::gauge(
            "helm_guard_index_over_budget",
            "Active revisions that are not guarded, because the index is full",
            stats.over_budget,
        ),
        Reading::gauge(
            "helm_guard_index_document_problems",
            "Documents of active manifests that cannot be parsed",
            stats.document_problems,
        ),
        Reading::gauge(
            "helm_guard_index_watches",
            "Watches of release records",
            stats.watches,
        ),
        Reading::gauge(
            "helm_guard_index_watch_healthy",
            "Whether every watch of release records works",
            are_healthy,
        ),
    ];
    readings.extend(stats.last_event_age.map(|age| {
        Reading::gauge(
            "helm_guard_index_last_event_age_seconds",
            "Seconds since the last watch event; grows while nothing changes",
            age,
        )
    }));
    readings.extend([
        Reading::counter(
            "helm_guard_index_decode_errors",
            "Release records that could not be decoded",
            stats.decode_errors,
        ),
        Reading::counter(
            "helm_guard_index_fetch_errors",
            "Attempts to fetch a release record that failed",
            stats.fetch_errors,
        ),
        Reading::counter(
            "helm_guard_index_metadata_errors",
            "Objects labeled as release records that are not valid ones",
            stats.metadata_errors,
        ),
        Reading::counter(
            "helm_guard_index_watch_errors",
            "Failures of the watches of release records",
            stats.watch_errors,
        ),
        Reading::results(
            "helm_guard_read_throughs",
            "Read-throughs of a release's records before a denial",
            stats.read_throughs,
            stats.read_through_errors,
        ),
    ]);
    readings
}

/// Expiry of a certificate, in seconds since 1970.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Expiry {
    pub(super) ca: Option<i64>,
    pub(super) leaf: Option<i64>,
}

/// The certificates, and their reloads: successful and failed.
pub(super) fn certificates(expiry: Expiry, (ok, error): (u64, u64)) -> Vec<Reading> {
    let samples = [("ca", expiry.ca), ("leaf", expiry.leaf)];
    let samples = samples.into_iter().filter_map(|(certificate, not_after)| {
        let seconds = u64::try_from(not_after?).ok()?;
        Some((
            vec![("certificate", certificate.to_owned())],
            seconds.into(),
        ))
    });
    vec![
        Reading::gauges(
            "helm_guard_certificate_not_after_timestamp_seconds",
            "Expiry of the certificate, in seconds since 1970",
            samples,
        ),
        Reading::results(
            "helm_guard_certificate_reloads",
            "Certificate reloads",
            ok,
            error,
        ),
    ]
}

/// The registration, if this process writes it.
pub(super) fn registration(registered: &RegistrationState) -> Vec<Reading> {
    vec![
        Reading::gauge(
            "helm_guard_registered",
            "Whether the ValidatingWebhookConfiguration is installed and unmodified",
            registered.is_registered(),
        ),
        Reading::gauge(
            "helm_guard_registration_foreign_requirements",
            "Selector requirements and match conditions added by others that the guard leaves in place",
            registered.foreign().len(),
        ),
    ]
}

/// The policy in force.
pub(super) fn policy(state: &PolicyState, mode: &'static str) -> Vec<Reading> {
    let build = vec![
        ("version", env!("CARGO_PKG_VERSION").to_owned()),
        ("mode", mode.to_owned()),
    ];
    let source = vec![
        ("source", state.loaded.origin.as_str().to_owned()),
        ("generation", state.loaded.generation.to_string()),
        ("mode", mode.to_owned()),
    ];
    vec![
        Reading::info(
            "helm_guard_build",
            "Version of helm-guard, and the default mode of the policy in force",
            [build],
        ),
        Reading::info(
            "helm_guard_policy",
            "Source of the policy in force, and its default mode",
            [source],
        ),
        Reading::gauge(
            "helm_guard_policy_last_reload_successful",
            "Whether the latest policy is in force; if not, the last valid one is",
            state.error.is_none(),
        ),
        Reading::gauge(
            "helm_guard_suspended",
            "Whether the kill switch is on: every request is allowed without evaluation",
            state.suspension.is_some(),
        ),
        Reading::gauge(
            "helm_guard_policy_missing",
            "Whether the GuardPolicy in force is missing from the cluster",
            state.is_missing,
        ),
        Reading::results(
            "helm_guard_policy_reloads",
            "Policy reloads",
            state.taken,
            state.refused,
        ),
    ]
}

/// Records that were lost before they were written.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lost {
    pub(super) events: u64,
    pub(super) log_lines: u64,
    pub(super) is_audit_stalled: bool,
}

/// Events, audit log and log.
pub(super) fn lost(lost: Lost) -> Vec<Reading> {
    vec![
        Reading::counter(
            "helm_guard_events_dropped",
            "Kubernetes events dropped before they were sent",
            lost.events,
        ),
        Reading::gauge(
            "helm_guard_audit_stalled",
            "Whether the audit log is stalled and its lines go to standard error",
            lost.is_audit_stalled,
        ),
        Reading::counter(
            "helm_guard_log_lines_dropped",
            "Log lines dropped because standard error was blocked",
            lost.log_lines,
        ),
    ]
}

/// The connections of the webhook's listener.
pub(super) fn connections(stats: &accept::Stats) -> Vec<Reading> {
    let counter = Reading::counter;
    vec![
        Reading::gauge(
            "helm_guard_connections_open",
            "Open connections to the webhook",
            stats.open(),
        ),
        counter(
            "helm_guard_connections",
            "Connections accepted by the webhook",
            stats.accepted(),
        ),
        counter(
            "helm_guard_accept_errors",
            "Failures to accept a connection",
            stats.accept_errors(),
        ),
        counter(
            "helm_guard_handshake_failures",
            "TLS handshakes that failed or took too long",
            stats.handshake_failures(),
        ),
        counter(
            "helm_guard_timeouts",
            "Connections and requests that timed out",
            stats.timeouts(),
        ),
        counter(
            "helm_guard_connections_evicted",
            "Connections closed in favor of a new one",
            stats.evicted(),
        ),
    ]
}

/// The releases, with the labels that common alert rules expect.
pub(super) fn releases(infos: impl Iterator<Item = ReleaseInfo>, now: Timestamp) -> Vec<Reading> {
    let (mut releases, mut deployed) = (Vec::new(), Vec::new());
    let (mut pending, mut sizes) = (Vec::new(), Vec::new());
    for info in infos {
        let name = || {
            vec![
                ("release", info.release.clone()),
                ("namespace", info.namespace.clone()),
            ]
        };
        if let Some(bytes) = info.record_bytes {
            sizes.push((name(), u64::from(bytes).into()));
        }
        if info.status.is_pending()
            && let Some(at) = info
                .last_deployed
                .as_deref()
                .and_then(|text| text.parse().ok())
        {
            pending.push((name(), elapsed(at, now)));
        }
        let name: SampleLabels = vec![
            ("release", info.release),
            ("namespace", info.namespace),
            ("chart", info.chart),
        ];
        if let Some(at) = info.last_deployed.and_then(|text| text.parse().ok()) {
            deployed.push((name.clone(), since_1970(at)));
        }
        let about = [
            ("chart_version", info.chart_version),
            ("app_version", info.app_version),
            ("status", info.status.as_str().to_owned()),
        ];
        releases.push(name.into_iter().chain(about).collect());
    }
    vec![
        Reading::info("helm_release", "Helm releases in the cluster", releases),
        Reading::gauges(
            "helm_release_last_deployed_timestamp",
            "Time of the last deployment of the release, in seconds since 1970",
            deployed,
        ),
        Reading::gauges(
            "helm_release_pending_seconds",
            "Age of the operation of Helm that the release is in; a long one is stuck",
            pending,
        ),
        Reading::gauges(
            "helm_release_record_bytes",
            "Size of the newest record of the release; the API server takes at most 1 MiB",
            sizes,
        ),
    ]
}

/// Drift, as the scans of this replica found it; nothing but failures on a replica that does not lead.
pub(super) fn drift(status: &DriftStatus, now: Timestamp) -> Vec<Reading> {
    let mut readings = vec![
        Reading::counter(
            "helm_guard_drift_scan_failures",
            "Scans for drift that failed as a whole",
            status.failures(),
        ),
        Reading::counter(
            "helm_guard_drift_watch_failures",
            "Failures of the watches of what releases declare",
            status.watch_failures(),
        ),
    ];
    let known = status.view(|known, last_pass| {
        let (mut detected, mut findings, mut ages) = (Vec::new(), Vec::new(), Vec::new());
        for (name, release) in known.releases() {
            let Some(is_drifted) = release.is_drifted() else {
                continue;
            };
            let name: SampleLabels = vec![
                ("release", name.name.clone()),
                ("namespace", name.namespace.clone()),
            ];
            for (class, count) in release.by_class() {
                let class = [("class", class.as_str().to_owned())];
                findings.push((name.iter().cloned().chain(class).collect(), count.into()));
            }
            if let Some(since) = release.since() {
                ages.push((name.clone(), elapsed(since, now)));
            }
            detected.push((name, is_drifted.into()));
        }
        drift_readings(
            DriftSamples {
                detected,
                findings,
                ages,
            },
            known,
            last_pass,
        )
    });
    readings.extend(known.into_iter().flatten());
    readings
}

/// Samples of each release.
struct DriftSamples {
    detected: Vec<(SampleLabels, SampleValue)>,
    findings: Vec<(SampleLabels, SampleValue)>,
    ages: Vec<(SampleLabels, SampleValue)>,
}

fn drift_readings(samples: DriftSamples, known: &KnownDrift, last_pass: LastPass) -> Vec<Reading> {
    vec![
        Reading::gauges(
            "helm_drift_detected",
            "Whether the release has drift; absent if it could not be read",
            samples.detected,
        ),
        Reading::gauges(
            "helm_drift_findings",
            "Findings of the last scan of the release, by class",
            samples.findings,
        ),
        Reading::gauges(
            "helm_drift_age_seconds",
            "Age of the oldest drift of the release",
            samples.ages,
        ),
        Reading::gauge(
            "helm_drift_orphans",
            "Objects with the marks of a release that does not declare them",
            known.orphans(),
        ),
        Reading::gauge(
            "helm_drift_scan_errors",
            "Releases, kinds and namespaces that the last scans could not read",
            known.errors(),
        ),
        Reading::gauge(
            "helm_drift_scan_last_success_timestamp_seconds",
            "Time of the last full pass, in seconds since 1970",
            since_1970(last_pass.at),
        ),
        Reading::gauge(
            "helm_drift_scan_duration_seconds",
            "Duration of the last full pass",
            last_pass.figures.took,
        ),
        Reading::gauge(
            "helm_drift_scan_calls",
            "Calls of the API server in the last full pass",
            last_pass.figures.calls,
        ),
    ]
}

fn elapsed(since: Timestamp, now: Timestamp) -> SampleValue {
    let elapsed = Duration::try_from(now.duration_since(since));
    elapsed.unwrap_or_default().into()
}

fn since_1970(at: Timestamp) -> SampleValue {
    u64::try_from(at.as_second()).unwrap_or_default().into()
}

#[cfg(test)]
mod tests;
