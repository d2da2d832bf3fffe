//! Alertmanager's API v2 (`api/v2/openapi.yaml` of its repository): a list of alerts, each identified by its
//! labels.

use std::collections::BTreeMap;

use helm_guard_core::{
    api::policy::alerts::AlertKind, policy::alerts::template::AlertDetail, text::shortened,
};
use serde_json::{Value, json};

use crate::alert::{Alert, Severity};

/// Annotations go into e-mails and text messages.
const ANNOTATION_CHARS: usize = 2000;

/// Labels that are the same in all alerts of an incident: an alert is resolved by one with the same labels.
const LABELS: [(AlertDetail, &str); 3] = [
    (AlertDetail::Namespace, "namespace"),
    (AlertDetail::Release, "release"),
    (AlertDetail::Object, "object"),
];

pub(super) fn body(alert: &Alert) -> Value {
    // A resolution covers every alert with the same key. Resolving one that never fired has no effect.
    let kinds: &[AlertKind] = match alert.kind {
        AlertKind::Settled => &[AlertKind::BreakGlass, AlertKind::Overdue],
        _ => &[alert.kind],
    };
    kinds.iter().map(|kind| one(alert, *kind)).collect()
}

fn one(alert: &Alert, kind: AlertKind) -> Value {
    let mut labels = BTreeMap::from([
        ("alertname", format!("HelmGuard{}", kind.as_str())),
        ("severity", Severity::of(kind).as_str().to_owned()),
        ("source", "helm-guard".to_owned()),
        ("key", alert.key.clone()),
    ]);
    for (detail, label) in LABELS {
        if let Some(value) = alert
            .detail(detail)
            .filter(|_| names_the_matter(alert.kind))
        {
            labels.insert(label, value.to_owned());
        }
    }
    let mut annotations =
        BTreeMap::from([("summary", shortened(&alert.summary, ANNOTATION_CHARS))]);
    for (detail, value) in alert.details() {
        let name = match detail {
            // Too long for annotations.
            AlertDetail::Patch => continue,
            AlertDetail::Runbook => "runbook_url",
            other => other.as_str(),
        };
        annotations.insert(name, shortened(value, ANNOTATION_CHARS));
    }
    json!({
        "labels": labels,
        "annotations": annotations,
        "startsAt": alert.since.to_string(),
        // Alertmanager rejects an alert that ends before it starts.
        "endsAt": alert.until.max(alert.since).to_string(),
    })
}

/// An alert about denials shows the last one, but covers all of them.
fn names_the_matter(kind: AlertKind) -> bool {
    kind != AlertKind::Denials
}
