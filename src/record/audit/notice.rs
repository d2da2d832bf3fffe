//! Audit lines about the guard itself: that its policy became less strict, that it was switched off.

use helm_guard_core::api::API_VERSION;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::{AuditError, AuditLog, Pending};
use crate::record::alerts::Alert;

/// A line about the guard itself.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AuditNotice<'a> {
    api_version: &'static str,
    kind: &'static str,
    /// When it happened.
    #[schemars(with = "String")]
    timestamp: Timestamp,
    /// As in the other log lines.
    level: &'static str,
    /// `audit`, which tells it from the other log lines.
    target: &'static str,
    /// In words.
    message: &'a str,
    /// The process that wrote it.
    process: &'a str,
    /// Its number in that process, from 1.
    sequence: u64,
    /// The kind of alert: `PolicyLoosened`, `Suspended` and so on.
    event: &'static str,
    /// `firing` or `resolved`.
    status: &'static str,
    /// Alerts about the same thing have the same key.
    key: &'a str,
    /// What changed, in words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    changes: Vec<&'a str>,
}

impl AuditLog {
    /// Queues the audit line of an alert about the guard itself.
    ///
    /// # Errors
    /// When the line cannot be encoded.
    pub(crate) fn queue_notice(&self, alert: &Alert) -> Result<Pending, AuditError> {
        self.push(&AuditNotice {
            api_version: API_VERSION,
            kind: "AuditNotice",
            timestamp: alert.at,
            level: "WARN",
            target: "audit",
            message: &alert.summary,
            process: &self.process,
            sequence: self.next_sequence(),
            event: alert.kind.as_str(),
            status: alert.status.as_str(),
            key: &alert.key,
            changes: alert.changes().collect(),
        })
    }
}
