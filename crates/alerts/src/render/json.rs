//! The entire alert as JSON, for generic HTTP sinks.

use helm_guard_core::policy::alerts::template::{Head, Name};
use serde_json::{Map, Value};

use crate::alert::Alert;

/// One object: the core fields, and `details`.
pub(super) fn body(alert: &Alert) -> Value {
    let mut body: Map<String, Value> = Head::ALL
        .iter()
        .map(|head| {
            let value = alert.value(Name::Head(*head));
            (head.as_str().to_owned(), value.into())
        })
        .collect();
    let details: Map<String, Value> = alert
        .details()
        .map(|(detail, value)| (detail.as_str().to_owned(), value.into()))
        .collect();
    body.insert("details".to_owned(), details.into());
    Value::Object(body)
}
