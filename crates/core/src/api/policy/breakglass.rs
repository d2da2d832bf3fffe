//! Break-glass identities and rules.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::{ObjectScope, Span, Subjects};

/// Break-glass identities and rules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct BreakGlass {
    /// Identities that may make out-of-band changes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub identities: Vec<EmergencyIdentity>,
    /// Whether a `BreakGlassGrant` must cover the change.
    pub require_grant: bool,
    /// Whether a grant must have a reason.
    pub require_reason: bool,
    /// Whether a grant must have a ticket.
    pub require_ticket: bool,
    /// Number of required approvals, by users other than the requester.
    #[schemars(range(max = 16))]
    pub approvals: u32,
    /// Identities that may approve; by default, anyone whom RBAC allows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approvers: Option<Subjects>,
    /// Maximum lifetime of a grant.
    pub max_duration: Span,
    /// Time to add a change to the chart or revert it.
    pub reconcile_within: Span,
    /// What happens to a change that cannot be recorded before the answer.
    pub on_record_failure: OnRecordFailure,
    /// Service account whose tokens `helm-guard break-glass open` requests, as `NAMESPACE/NAME`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 3, max = 317))]
    pub service_account: Option<String>,
}

impl Default for BreakGlass {
    fn default() -> Self {
        Self {
            identities: Vec::new(),
            require_grant: false,
            require_reason: false,
            require_ticket: false,
            approvals: 0,
            approvers: None,
            max_duration: Span::hours(4),
            reconcile_within: Span::hours(24),
            on_record_failure: OnRecordFailure::default(),
            service_account: None,
        }
    }
}

/// Break-glass identities, and what they may change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EmergencyIdentity {
    /// The identities.
    pub subjects: Subjects,
    /// Objects that they may change; all by default.
    #[serde(default)]
    pub scope: ObjectScope,
}

/// What happens to an emergency change that cannot be recorded before the answer. In both cases the
/// whole record goes to the log and the audit annotations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum OnRecordFailure {
    /// Allow it: at 3 AM the change matters more than the record.
    #[default]
    Allow,
    /// Deny it: no change without a record.
    Deny,
}
