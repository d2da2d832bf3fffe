//! Audit lines about the guard itself: that its policy became less strict, that it was switched off.

use helm_guard_core::policy::alerts::template::AlertDetail;
use jiff::Timestamp;
use serde::Serialize;

use super::{AuditError, AuditLog, Pending};
use crate::record::alerts::Alert;

#[derive(Serialize)]
struct Notice<'a> {
    timestamp: Timestamp,
    level: &'static str,
    target: &'static str,
    message: &'a str,
    process: &'a str,
    sequence: u64,
    event: &'static str,
    status: &'static str,
    key: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    changes: Vec<&'a str>,
}

impl AuditLog {
    /// Queues the audit line of an alert about the guard itself.
    ///
    /// # Errors
    /// When the line cannot be encoded.
    pub fn queue_notice(&self, alert: &Alert) -> Result<Pending, AuditError> {
        let changes = alert.detail(AlertDetail::Fields).unwrap_or_default();
        self.push(&Notice {
            timestamp: alert.at,
            level: "WARN",
            target: "audit",
            message: &alert.summary,
            process: &self.process,
            sequence: self.next_sequence(),
            event: alert.kind.as_str(),
            status: alert.status.as_str(),
            key: &alert.key,
            changes: changes.lines().collect(),
        })
    }
}
