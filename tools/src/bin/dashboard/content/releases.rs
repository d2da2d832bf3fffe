//! The releases: drift, status, records, and the scan that the figures of drift come from.

use crate::panel::{Panel, query};

/// The size limit of a Secret or ConfigMap, in bytes.
const RECORD_LIMIT: f64 = 1_048_576.0;

pub fn drift() -> Vec<Panel> {
    vec![
        Panel::number(
            "In sync",
            "Releases whose objects are as declared",
            [query(
                "count(max by (namespace, release) (helm_drift_detected{releases}))
                 - sum(max by (namespace, release) (helm_drift_detected{releases}))",
                "in sync",
            )],
        ),
        Panel::number(
            "Drifted",
            "Releases with at least one finding",
            [query(
                "sum(max by (namespace, release) (helm_drift_detected{releases}))",
                "drifted",
            )],
        )
        .red_from(1.0),
        Panel::number(
            "Not scanned",
            "Releases that the scan has not read, or could not read: nothing is known about their drift",
            [query(
                "count(count by (namespace, release) (helm_release_info{releases}))
                 - (count(count by (namespace, release) (helm_release_info{releases})
                     and on (namespace, release) helm_drift_detected{releases}) or vector(0))",
                "not scanned",
            )],
        )
        .orange_from(1.0),
        Panel::number(
            "Oldest drift",
            "Age of the oldest finding",
            [query("max(helm_drift_age_seconds{releases})", "oldest")],
        )
        .unit("s")
        .orange_from(4.0 * 3600.0),
        Panel::graph(
            "Releases in sync and drifted",
            "By the last scan of each release",
            [
                query(
                    "count(max by (namespace, release) (helm_drift_detected{releases}))
                     - sum(max by (namespace, release) (helm_drift_detected{releases}))",
                    "in sync",
                ),
                query(
                    "sum(max by (namespace, release) (helm_drift_detected{releases}))",
                    "drifted",
                ),
            ],
        )
        .stacked(),
        Panel::graph(
            "Findings by class",
            "helm-guard scan --class CLASS lists them",
            [query(
                "sum by (class) (max by (namespace, release, class) (helm_drift_findings{releases}))",
                "{{class}}",
            )],
        )
        .stacked(),
        Panel::table(
            "Releases with the most findings",
            "The ten releases with the most findings, and the age of their oldest one in seconds",
            [
                query(
                    "topk(10, sum by (namespace, release) (
                       max by (namespace, release, class) (helm_drift_findings{releases})) > 0)",
                    "findings",
                ),
                query(
                    "max by (namespace, release) (helm_drift_age_seconds{releases})
                     and on (namespace, release) topk(10, sum by (namespace, release) (
                       max by (namespace, release, class) (helm_drift_findings{releases})) > 0)",
                    "age (s)",
                ),
            ],
        ),
    ]
}

pub fn inventory() -> Vec<Panel> {
    vec![
        Panel::graph(
            "Releases by status",
            "The status of the newest revision",
            [query(
                "count by (status) (count by (namespace, release, status) (helm_release_info{releases}))",
                "{{status}}",
            )],
        )
        .stacked(),
        Panel::bars(
            "Largest records",
            "Kubernetes rejects a record of more than 1 MiB, and the upgrade fails",
            [query(
                "topk(10, max by (namespace, release) (helm_release_record_bytes{releases}))",
                "{{namespace}}/{{release}}",
            )],
        )
        .unit("bytes")
        .up_to(RECORD_LIMIT)
        .orange_from(0.75 * RECORD_LIMIT)
        .red_from(0.9 * RECORD_LIMIT),
        Panel::table(
            "Pending releases",
            "Operations that have not ended, and for how long, in seconds",
            [query(
                "sort_desc(max by (namespace, release) (helm_release_pending_seconds{releases}) > 0)",
                "pending (s)",
            )],
        ),
        Panel::table(
            "Failed releases",
            "Releases whose newest revision failed",
            [query(
                r#"max by (namespace, release, chart, chart_version) (helm_release_info{releases,status="failed"})"#,
                "failed",
            )],
        ),
    ]
}

pub fn scan() -> Vec<Panel> {
    vec![
        Panel::number(
            "Last full pass",
            "Time since the last full pass ended",
            [query(
                "time() - max(helm_drift_scan_last_success_timestamp_seconds)",
                "ago",
            )],
        )
        .unit("s")
        .red_from(3.0 * 3600.0),
        Panel::number(
            "Errors",
            "Releases, kinds and namespaces that the last pass could not read",
            [query("max(helm_drift_scan_errors)", "errors")],
        )
        .red_from(1.0),
        Panel::number(
            "Orphans",
            "Objects with the marks of a release that does not declare them",
            [query("max(helm_drift_orphans)", "orphans")],
        ),
        Panel::number(
            "Duration",
            "Of the last pass",
            [query("max(helm_drift_scan_duration_seconds)", "duration")],
        )
        .unit("s"),
        Panel::number(
            "API calls",
            "Of the last pass",
            [query("max(helm_drift_scan_calls)", "calls")],
        ),
        Panel::graph(
            "Duration, errors and failures of passes",
            "A failure is a scan that read nothing",
            [
                query("max(helm_drift_scan_duration_seconds)", "duration (s)"),
                query("max(helm_drift_scan_errors)", "errors"),
                query(
                    "sum(increase(helm_guard_drift_scan_failures_total[1h]))",
                    "failures in an hour",
                ),
            ],
        ),
    ]
}
