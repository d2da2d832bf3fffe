//! The whole alert as JSON, for sinks that need no form of their own.

use helm_guard_core::policy::alerts::template::{Head, Name};
use serde_json::{Map, Value};

use crate::alert::Alert;

/// One object: the head, and `details` with what there is.
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
