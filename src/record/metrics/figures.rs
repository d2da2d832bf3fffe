//! What other rooms know, as metrics at scrape time.

use std::{fmt, time::Duration};

use jiff::Timestamp;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge, info::Info},
};

/// The state of the process at the moment of a scrape. What is `None` is left out, never shown as
/// a zero that would look like a measurement.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// The index of declared objects.
    pub index: Index,
    /// Reads of records before a denial.
    pub read_throughs: Vec<(&'static str, u64)>,
    /// When the CA of the webhook's certificate expires.
    pub ca_not_after: Option<Timestamp>,
    /// When the webhook's certificate expires.
    pub leaf_not_after: Option<Timestamp>,
    /// Certificates loaded anew, by result.
    pub certificate_reloads: Vec<(&'static str, u64)>,
    /// Whether the webhook's configuration in the cluster is as it should be; `None` where this
    /// process does not register itself.
    pub registered: Option<bool>,
    /// Requirements that others added to it and that are tolerated.
    pub foreign_requirements: u64,
    /// The policy in force.
    pub policy: Option<PolicyFigures>,
    /// Events that were dropped.
    pub events_dropped: u64,
    /// Whether the audit log has stopped taking lines.
    pub audit_stalled: bool,
    /// Log lines that were dropped because standard error does not take them.
    pub log_lines_dropped: u64,
    /// The webhook's connections.
    pub connections: Connections,
    /// The releases.
    pub releases: Vec<Release>,
}

/// Figures of the index.
#[derive(Clone, Debug, Default)]
pub struct Index {
    /// Releases with at least one record.
    pub releases: u64,
    /// Release records.
    pub revisions: u64,
    /// Objects that an active revision declares.
    pub objects: u64,
    /// Bytes held for declared objects, which are compressed.
    pub bytes: u64,
    /// Since the last sign of life of the oldest watch.
    pub last_event_age: Option<Duration>,
    /// Copies of records, which do not count.
    pub copies: u64,
    /// Active revisions whose record can not be read now.
    pub unreadable: u64,
    /// Active revisions of which only the names of their objects are kept.
    pub outlined: u64,
    /// Active revisions that the index has no room for.
    pub over_budget: u64,
    /// Documents of active manifests that do not parse now.
    pub document_problems: u64,
    /// Records that could not be decoded.
    pub decode_errors: u64,
    /// Records that could not be fetched, by attempt.
    pub fetch_errors: u64,
    /// Objects labelled as records whose name or labels make no sense.
    pub metadata_errors: u64,
    /// Failures of the watches.
    pub watch_errors: u64,
    /// Watches.
    pub watches: u64,
    /// Watches that work.
    pub watches_healthy: u64,
}

/// The policy in force.
#[derive(Clone, Debug, Default)]
pub struct PolicyFigures {
    /// `flags`, `file` or `object`.
    pub source: &'static str,
    /// The object's generation; 0 for the others.
    pub generation: i64,
    /// The mode of releases for which it says nothing else.
    pub mode: &'static str,
    /// Whether what was read last is in force. If not, the last good policy is.
    pub last_reload_successful: bool,
    /// Whether the kill switch is on.
    pub is_suspended: bool,
    /// Whether a policy is in force whose object has vanished.
    pub is_missing: bool,
    /// Policies read anew, by result.
    pub reloads: Vec<(&'static str, u64)>,
}

/// Connections of the webhook's listener.
#[derive(Clone, Debug, Default)]
pub struct Connections {
    /// Open now.
    pub open: u64,
    /// Accepted since the start.
    pub accepted: u64,
    /// Failures of `accept` since the start.
    pub accept_errors: u64,
    /// TLS handshakes that failed since the start.
    pub handshake_failures: u64,
    /// Connections and requests that took too long since the start.
    pub timeouts: u64,
    /// Connections ended to make room for another one since the start.
    pub evicted: u64,
}

/// A release, labelled as the alert rules that people already have expect it.
#[derive(Clone, Debug, Default)]
pub struct Release {
    /// Name.
    pub release: String,
    /// Namespace.
    pub namespace: String,
    /// Name of the chart.
    pub chart: String,
    /// Version of the chart.
    pub chart_version: String,
    /// Version of what it installs.
    pub app_version: String,
    /// Status of the newest revision.
    pub status: &'static str,
    /// When it was last deployed.
    pub last_deployed: Option<Timestamp>,
}

/// Asks for [`Figures`] at each scrape.
pub struct AtScrape<F>(F);

impl<F> AtScrape<F> {
    /// Wraps the function that is asked.
    pub fn new(figures: F) -> Self {
        Self(figures)
    }
}

impl<F> fmt::Debug for AtScrape<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AtScrape")
    }
}

impl<F: Fn() -> Figures + Send + Sync + 'static> Collector for AtScrape<F> {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let figures = (self.0)();
        index(&mut encoder, &figures.index)?;
        counters(
            &mut encoder,
            "helm_guard_read_throughs",
            "Read-throughs of a release's records before a denial",
            "result",
            &figures.read_throughs,
        )?;
        certificates(&mut encoder, &figures)?;
        if let Some(registered) = figures.registered {
            gauge(
                &mut encoder,
                "helm_guard_registered",
                "Whether the ValidatingWebhookConfiguration is installed and unmodified",
                u64::from(registered),
            )?;
            gauge(
                &mut encoder,
                "helm_guard_registration_foreign_requirements",
                "Namespace selector requirements added by others that the guard tolerates",
                figures.foreign_requirements,
            )?;
        }
        if let Some(known) = &figures.policy {
            policy(&mut encoder, known)?;
        }
        counter(
            &mut encoder,
            "helm_guard_events_dropped",
            "Kubernetes events dropped before they were sent",
            figures.events_dropped,
        )?;
        gauge(
            &mut encoder,
            "helm_guard_audit_stalled",
            "Whether the audit log is stalled and its lines go to standard error",
            u64::from(figures.audit_stalled),
        )?;
        counter(
            &mut encoder,
            "helm_guard_log_lines_dropped",
            "Log lines dropped because standard error was blocked",
            figures.log_lines_dropped,
        )?;
        connections(&mut encoder, &figures.connections)?;
        releases(&mut encoder, &figures.releases)
    }
}

fn policy(encoder: &mut DescriptorEncoder<'_>, policy: &PolicyFigures) -> fmt::Result {
    let generation = policy.generation.to_string();
    let info = Info::new([
        ("source", policy.source),
        ("generation", generation.as_str()),
        ("mode", policy.mode),
    ]);
    let metric = encoder.encode_descriptor(
        "helm_guard_policy",
        "Source of the policy in force, and its default mode",
        None,
        MetricType::Info,
    )?;
    info.encode(metric)?;
    gauge(
        encoder,
        "helm_guard_policy_last_reload_successful",
        "Whether the latest policy is in force; if not, the last good one is",
        u64::from(policy.last_reload_successful),
    )?;
    gauge(
        encoder,
        "helm_guard_suspended",
        "Whether the kill switch is on: every request is allowed without evaluation",
        u64::from(policy.is_suspended),
    )?;
    gauge(
        encoder,
        "helm_guard_policy_missing",
        "Whether the GuardPolicy in force has vanished from the cluster",
        u64::from(policy.is_missing),
    )?;
    counters(
        encoder,
        "helm_guard_policy_reloads",
        "Policy reloads",
        "result",
        &policy.reloads,
    )
}

fn index(encoder: &mut DescriptorEncoder<'_>, index: &Index) -> fmt::Result {
    let gauges = [
        ("releases", "Releases in the index", index.releases),
        ("revisions", "Release records in the index", index.revisions),
        ("objects", "Declared objects in the index", index.objects),
        (
            "bytes",
            "Bytes of compressed declared objects in memory",
            index.bytes,
        ),
        (
            "record_copies",
            "Records of a release outside its namespace, while it has records there too; they do not count",
            index.copies,
        ),
        (
            "unreadable",
            "Active revisions whose record cannot be read",
            index.unreadable,
        ),
        (
            "outlined",
            "Active revisions that are read anew for each request, because the index has no room for them",
            index.outlined,
        ),
        (
            "over_budget",
            "Active revisions that are not guarded, because the index has no room for them",
            index.over_budget,
        ),
        (
            "document_problems",
            "Documents of active manifests that do not parse",
            index.document_problems,
        ),
        ("watches", "Watches of release records", index.watches),
        (
            "watch_healthy",
            "Whether every watch of release records works",
            u64::from(index.watches > 0 && index.watches == index.watches_healthy),
        ),
    ];
    for (name, help, value) in gauges {
        gauge(encoder, &format!("helm_guard_index_{name}"), help, value)?;
    }
    if let Some(age) = index.last_event_age {
        gauge_f64(
            encoder,
            "helm_guard_index_last_event_age_seconds",
            "Seconds since the last watch event; grows while nothing changes",
            age.as_secs_f64(),
        )?;
    }
    let counters = [
        (
            "decode_errors",
            "Release records that could not be decoded",
            index.decode_errors,
        ),
        (
            "fetch_errors",
            "Attempts to fetch a release record that failed",
            index.fetch_errors,
        ),
        (
            "metadata_errors",
            "Objects labeled as release records that are not valid ones",
            index.metadata_errors,
        ),
        (
            "watch_errors",
            "Failures of the watches of release records",
            index.watch_errors,
        ),
    ];
    for (name, help, value) in counters {
        counter(encoder, &format!("helm_guard_index_{name}"), help, value)?;
    }
    Ok(())
}

fn certificates(encoder: &mut DescriptorEncoder<'_>, figures: &Figures) -> fmt::Result {
    let mut family = encoder.encode_descriptor(
        "helm_guard_certificate_not_after_timestamp_seconds",
        "Expiry of the certificate, in seconds since 1970",
        None,
        MetricType::Gauge,
    )?;
    let certificates = [
        ("ca", figures.ca_not_after),
        ("leaf", figures.leaf_not_after),
    ];
    for (certificate, not_after) in certificates {
        if let Some(not_after) = not_after {
            ConstGauge::new(not_after.as_second())
                .encode(family.encode_family(&[("certificate", certificate)])?)?;
        }
    }
    counters(
        encoder,
        "helm_guard_certificate_reloads",
        "Certificate reloads",
        "result",
        &figures.certificate_reloads,
    )
}

fn connections(encoder: &mut DescriptorEncoder<'_>, figures: &Connections) -> fmt::Result {
    gauge(
        encoder,
        "helm_guard_connections_open",
        "Open connections to the webhook",
        figures.open,
    )?;
    let counters = [
        (
            "connections",
            "Connections accepted by the webhook",
            figures.accepted,
        ),
        (
            "accept_errors",
            "Failures to accept a connection",
            figures.accept_errors,
        ),
        (
            "handshake_failures",
            "TLS handshakes that failed or took too long",
            figures.handshake_failures,
        ),
        (
            "timeouts",
            "Connections and requests that timed out",
            figures.timeouts,
        ),
        (
            "connections_evicted",
            "Connections closed to make room for another one",
            figures.evicted,
        ),
    ];
    for (name, help, value) in counters {
        counter(encoder, &format!("helm_guard_{name}"), help, value)?;
    }
    Ok(())
}

fn releases(encoder: &mut DescriptorEncoder<'_>, releases: &[Release]) -> fmt::Result {
    let mut family = encoder.encode_descriptor(
        "helm_release",
        "Helm releases in the cluster",
        None,
        MetricType::Info,
    )?;
    for release in releases {
        Info::new([
            ("release", release.release.as_str()),
            ("namespace", &release.namespace),
            ("chart", &release.chart),
            ("chart_version", &release.chart_version),
            ("app_version", &release.app_version),
            ("status", release.status),
        ])
        .encode(family.encode_family::<[(&str, &str); 0]>(&[])?)?;
    }
    let mut family = encoder.encode_descriptor(
        "helm_release_last_deployed_timestamp",
        "Time of the last deployment of the release, in seconds since 1970",
        None,
        MetricType::Gauge,
    )?;
    for release in releases {
        if let Some(deployed) = release.last_deployed {
            ConstGauge::new(deployed.as_second()).encode(family.encode_family(&[
                ("release", release.release.as_str()),
                ("namespace", &release.namespace),
                ("chart", &release.chart),
            ])?)?;
        }
    }
    Ok(())
}

fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    let value = i64::try_from(value).unwrap_or(i64::MAX);
    ConstGauge::new(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)
}

fn gauge_f64(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    value: f64,
) -> fmt::Result {
    ConstGauge::new(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)
}

fn counter(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    ConstCounter::new(value).encode(encoder.encode_descriptor(
        name,
        help,
        None,
        MetricType::Counter,
    )?)
}

fn counters(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    label: &str,
    values: &[(&'static str, u64)],
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (word, value) in values {
        ConstCounter::new(*value).encode(family.encode_family(&[(label, *word)])?)?;
    }
    Ok(())
}
