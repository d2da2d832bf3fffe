//! The metrics that alerts and dashboard may name: those of docs/metrics.md, and well-known ones of the cluster.

use std::{collections::BTreeMap, fs};

use super::root;

/// Metrics of the API server (its package `admission/metrics`) and of kube-state-metrics.
const CLUSTER: [(&str, &[&str]); 5] = [
    (
        "apiserver_admission_webhook_fail_open_count",
        &["name", "type"],
    ),
    (
        "apiserver_admission_webhook_rejection_count",
        &["name", "type", "operation", "error_type", "rejection_code"],
    ),
    (
        "apiserver_admission_webhook_admission_duration_seconds_bucket",
        &["name", "type", "operation", "rejected", "le"],
    ),
    (
        "kube_deployment_status_replicas_ready",
        &["namespace", "deployment"],
    ),
    (
        "kube_deployment_spec_replicas",
        &["namespace", "deployment"],
    ),
];

/// Labels that Prometheus adds to a scraped series.
pub const OF_THE_TARGET: [&str; 6] = ["instance", "pod", "node", "namespace", "job", "cluster"];

/// Each metric as it is called in a scrape, with its labels.
pub fn known() -> BTreeMap<String, Vec<String>> {
    let mut known: BTreeMap<String, Vec<String>> = CLUSTER
        .iter()
        .map(|(name, labels)| {
            let labels = labels.iter().map(|label| (*label).to_owned()).collect();
            ((*name).to_owned(), labels)
        })
        .collect();
    known.extend(documented());
    known
}

/// The table of docs/metrics.md, which a test generates from the code.
fn documented() -> Vec<(String, Vec<String>)> {
    let text = fs::read_to_string(root().join("docs/metrics.md")).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| `"));
    let metrics: Vec<_> = rows.flat_map(as_scraped).collect();
    assert!(metrics.len() > 40, "{metrics:?}");
    metrics
}

/// The series of a row: `| name | type | labels | meaning |`.
fn as_scraped(row: &str) -> Vec<(String, Vec<String>)> {
    let mut cells = row.split('|').skip(1).map(str::trim);
    let name = cells.next().unwrap().trim_matches('`');
    let kind = cells.next().unwrap();
    let labels: Vec<String> = cells
        .next()
        .unwrap()
        .split(", ")
        .map(|label| label.trim_matches('`').to_owned())
        .filter(|label| !label.is_empty())
        .collect();
    let suffixes: &[&str] = match kind {
        "gauge" => &[""],
        "counter" => &["_total"],
        "info" => &["_info"],
        "histogram" => &["_sum", "_count", "_bucket"],
        other => panic!("{name}: {other}"),
    };
    let series = suffixes.iter().map(|suffix| {
        let mut labels = labels.clone();
        if *suffix == "_bucket" {
            labels.push("le".to_owned());
        }
        (format!("{name}{suffix}"), labels)
    });
    series.collect()
}
