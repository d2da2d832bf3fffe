//! The entire alert as JSON, for generic HTTP sinks: in the words of audit lines and emergency changes.

use helm_guard_core::{
    api::{
        API_VERSION,
        reported::{ReportedField, ReportedObject, ReportedRelease},
    },
    policy::alerts::template::AlertDetail,
};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::alert::{Alert, Severity};

/// An alert as it is posted. What an alert does not have is absent.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Alert")]
pub struct AlertDocument<'a> {
    api_version: &'static str,
    kind: &'static str,
    /// What happened: `BreakGlass`, `Overdue` and so on.
    event: &'static str,
    /// `firing` or `resolved`.
    status: &'static str,
    /// `critical`, `warning` or `info`.
    severity: &'static str,
    /// Alerts about the same thing have the same key.
    key: &'a str,
    /// One sentence.
    summary: &'a str,
    /// When the alert was raised.
    at: String,
    /// When the event started.
    since: String,
    /// The user, after impersonation.
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    /// ID of the user's token, as in the API server's audit log.
    #[serde(skip_serializing_if = "Option::is_none")]
    credential_id: Option<&'a str>,
    /// What was answered, if the alert is about a request.
    #[serde(skip_serializing_if = "Option::is_none")]
    verdict: Option<&'a str>,
    /// The grant that covered the change.
    #[serde(skip_serializing_if = "Option::is_none")]
    grant: Option<&'a str>,
    /// The grant's ticket.
    #[serde(skip_serializing_if = "Option::is_none")]
    ticket: Option<&'a str>,
    /// The grant's reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    /// `Update`, `Delete` or `Scale`.
    #[serde(skip_serializing_if = "Option::is_none")]
    operation: Option<&'a str>,
    /// The object that the request changes or deletes.
    #[serde(skip_serializing_if = "Option::is_none")]
    object: Option<&'a ReportedObject>,
    /// The release that declares it.
    #[serde(skip_serializing_if = "Option::is_none")]
    release: Option<&'a ReportedRelease>,
    /// The declared fields that changed.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    fields: &'a [ReportedField],
    /// What changed, in words: of a policy, or several emergency changes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    changes: Vec<&'a str>,
    /// The whole change as a JSON patch (RFC 6902).
    #[serde(skip_serializing_if = "Option::is_none")]
    patch: Option<Value>,
    /// Deadline for adding the change to the chart or reverting it.
    #[serde(skip_serializing_if = "Option::is_none")]
    reconcile_by: Option<&'a str>,
    /// The state of the change.
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'a str>,
    /// How many emergency changes the alert covers.
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
    /// The threshold of denials, or of emergency changes of one identity.
    #[serde(skip_serializing_if = "Option::is_none")]
    above: Option<u64>,
    /// The window of the threshold.
    #[serde(skip_serializing_if = "Option::is_none")]
    within: Option<&'a str>,
    /// `spec.runbookURL` of the policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    runbook: Option<&'a str>,
}

impl<'a> AlertDocument<'a> {
    /// What every sink without a template gets, as JSON.
    pub fn of(alert: &'a Alert) -> Self {
        let text = |detail| alert.detail(detail);
        let number = |detail| text(detail)?.parse().ok();
        Self {
            api_version: API_VERSION,
            kind: "Alert",
            event: alert.kind.as_str(),
            status: alert.status.as_str(),
            severity: Severity::of(alert.kind).as_str(),
            key: &alert.key,
            summary: &alert.summary,
            at: alert.at.to_string(),
            since: alert.since.to_string(),
            user: text(AlertDetail::User),
            credential_id: text(AlertDetail::CredentialId),
            verdict: text(AlertDetail::Verdict),
            grant: text(AlertDetail::Grant),
            ticket: text(AlertDetail::Ticket),
            reason: text(AlertDetail::Reason),
            operation: text(AlertDetail::Operation),
            object: alert.subject.object.as_ref(),
            release: alert.subject.release.as_ref(),
            fields: &alert.subject.fields,
            changes: alert.changes().collect(),
            // One that was cut is left out.
            patch: text(AlertDetail::Patch).and_then(|patch| serde_json::from_str(patch).ok()),
            reconcile_by: text(AlertDetail::ReconcileBy),
            state: text(AlertDetail::State),
            count: number(AlertDetail::Count),
            above: number(AlertDetail::Above),
            within: text(AlertDetail::Within),
            runbook: text(AlertDetail::Runbook),
        }
    }
}

pub(super) fn body(alert: &Alert) -> String {
    // Nothing in it can fail to be encoded.
    serde_json::to_string(&AlertDocument::of(alert)).unwrap_or_default()
}
