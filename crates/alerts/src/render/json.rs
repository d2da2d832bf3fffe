//! The entire alert as JSON, for generic HTTP sinks.

use helm_guard_core::policy::alerts::template::{AlertHeader, Placeholder};
use serde_json::{Map, Value};

use crate::alert::Alert;

/// One object: the core fields, and `details`.
pub(super) fn body(alert: &Alert) -> Value {
    let mut body: Map<String, Value> = AlertHeader::ALL
        .iter()
        .map(|header| {
            let value = alert.value(Placeholder::Header(*header));
            (header.as_str().to_owned(), value.into())
        })
        .collect();
    let details: Map<String, Value> = alert
        .details()
        .map(|(detail, value)| (detail.as_str().to_owned(), value.into()))
        .collect();
    body.insert("details".to_owned(), details.into());
    Value::Object(body)
}
