//! The guard: whether it answers, what it decides, and what it reports.

use crate::panel::{Panel, query};

pub fn availability() -> Vec<Panel> {
    vec![
        Panel::number(
            "Replicas",
            "Ready and wanted, from kube-state-metrics",
            [
                query(
                    r#"kube_deployment_status_replicas_ready{namespace="helm-guard", deployment="helm-guard"}"#,
                    "ready",
                ),
                query(
                    r#"kube_deployment_spec_replicas{namespace="helm-guard", deployment="helm-guard"}"#,
                    "wanted",
                ),
            ],
        ),
        Panel::number(
            "Registered",
            "1 if every replica finds the webhook's registration as wanted",
            [query("min(helm_guard_registered)", "registered")],
        )
        .red_below(1.0),
        Panel::number(
            "Suspended",
            "1 if the kill switch is on: every change is allowed",
            [query("max(helm_guard_suspended)", "suspended")],
        )
        .red_from(1.0),
        Panel::number(
            "Certificate expires in",
            "The certificate that expires first",
            [query(
                "min(helm_guard_certificate_not_after_timestamp_seconds) - time()",
                "certificate",
            )],
        )
        .unit("s")
        .red_below(14.0 * 86_400.0),
        Panel::graph(
            "Writes allowed without evaluation (fail-open)",
            "Counted by the API server: no replica answered in time",
            [query(
                r#"sum by (name) (
                     increase(apiserver_admission_webhook_fail_open_count{name=~".*helm-guard.dev"}[$__rate_interval]))"#,
                "{{name}}",
            )],
        ),
        Panel::graph(
            "Latency of a review",
            "In the guard, and as the API server sees it",
            [
                query(
                    "histogram_quantile(0.5, sum by (le) (
                       rate(helm_guard_request_duration_seconds_bucket[$__rate_interval])))",
                    "guard p50",
                ),
                query(
                    "histogram_quantile(0.99, sum by (le) (
                       rate(helm_guard_request_duration_seconds_bucket[$__rate_interval])))",
                    "guard p99",
                ),
                query(
                    r#"histogram_quantile(0.99, sum by (le) (
                         rate(apiserver_admission_webhook_admission_duration_seconds_bucket{
                           name=~".*helm-guard.dev"}[$__rate_interval])))"#,
                    "API server p99",
                ),
            ],
        )
        .unit("s"),
    ]
}

pub fn decisions() -> Vec<Panel> {
    vec![
        Panel::graph(
            "Out-of-band changes by mode",
            "Denied, warned about or only recorded, without dry runs",
            [query(
                r#"sum by (mode, verdict) (rate(helm_guard_decisions_total{
                     verdict=~"denied|warned|audited|break-glass", dry_run="false"}[$__rate_interval]))"#,
                "{{mode}}: {{verdict}}",
            )],
        )
        .unit("reqps")
        .stacked(),
        Panel::graph(
            "Indeterminate verdicts by reason",
            "Allowed with a warning, because the guard could not evaluate them; denied where a namespace fails closed",
            [query(
                r#"sum by (verdict, reason) (increase(helm_guard_decisions_total{
                     verdict=~"indeterminate|fail-closed", dry_run="false"}[$__rate_interval]))"#,
                "{{verdict}}: {{reason}}",
            )],
        )
        .stacked(),
    ]
}

pub fn emergencies() -> Vec<Panel> {
    vec![
        Panel::number(
            "Open emergency changes",
            "Neither reverted nor in a release yet",
            [query(
                r#"max(helm_guard_emergency_changes{state="Open"})"#,
                "open",
            )],
        )
        .orange_from(1.0),
        Panel::number(
            "Overdue emergency changes",
            "Not resolved in time",
            [query(
                r#"max(helm_guard_emergency_changes{state="Overdue"})"#,
                "overdue",
            )],
        )
        .red_from(1.0),
        Panel::number(
            "Alerts in queues",
            "Alerts that wait for a sink",
            [query("sum(helm_guard_alerts_queued)", "queued")],
        )
        .orange_from(10.0),
        Panel::graph(
            "Alerts by sink and outcome",
            "What happened to the alerts that the guard sends itself",
            [query(
                "sum by (sink, outcome) (increase(helm_guard_alerts_total[$__rate_interval]))",
                "{{sink}}: {{outcome}}",
            )],
        )
        .stacked(),
    ]
}
