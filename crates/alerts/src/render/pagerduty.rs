//! `PagerDuty`'s Events v2 (<https://developer.pagerduty.com/docs/send-alert-event>).

use helm_guard_core::policy::alerts::template::AlertDetail;
use serde_json::{Map, Value, json};

use crate::alert::{Alert, AlertStatus, Severity};

/// An event may have 512 kB; the rest is for the other fields.
const EVENT_BYTES: usize = 500 * 1024;

/// What is left out of an event that is too long, the least important first. The record of the change has all
/// of it.
const DISPENSABLE: [AlertDetail; 3] =
    [AlertDetail::Patch, AlertDetail::Fields, AlertDetail::Reason];

pub(super) fn body(alert: &Alert, routing_key: &str) -> String {
    let mut event = event(alert, routing_key);
    for detail in DISPENSABLE {
        let text = event.to_string();
        if text.len() <= EVENT_BYTES {
            return text;
        }
        if let Some(Value::Object(details)) = event.pointer_mut("/payload/custom_details") {
            details.remove(detail.as_str());
        }
    }
    event.to_string()
}

fn event(alert: &Alert, routing_key: &str) -> Value {
    let action = match alert.status {
        AlertStatus::Firing => "trigger",
        AlertStatus::Resolved => "resolve",
    };
    let details: Map<String, Value> = alert
        .details()
        .map(|(detail, value)| (detail.as_str().to_owned(), Value::from(value)))
        .collect();
    let mut event = json!({
        "routing_key": routing_key,
        "event_action": action,
        "dedup_key": alert.key,
        "client": "helm-guard",
        "payload": {
            "summary": alert.summary,
            "source": "helm-guard",
            "severity": Severity::of(alert.kind).as_str(),
            "timestamp": alert.at.to_string(),
            "component": alert.detail(AlertDetail::Object).unwrap_or_default(),
            "group": alert.detail(AlertDetail::Namespace).unwrap_or_default(),
            "class": alert.kind.as_str(),
            "custom_details": details,
        },
    });
    if let (Some(url), Some(event)) = (alert.detail(AlertDetail::Runbook), event.as_object_mut()) {
        event.insert(
            "links".to_owned(),
            json!([{"href": url, "text": "runbook"}]),
        );
    }
    event
}
