//! Who may break the glass, and what happens to what they do.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::{Scope, Span, Subjects};

/// Emergencies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct BreakGlass {
    /// Who may break the glass, where.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub identities: Vec<EmergencyIdentity>,
    /// Only with a `BreakGlassGrant` that covers the change.
    pub require_grant: bool,
    /// Only with a grant that says why.
    pub require_reason: bool,
    /// Only with a grant that names a ticket.
    pub require_ticket: bool,
    /// Only with a grant that so many people other than the requester have approved.
    #[schemars(range(max = 16))]
    pub approvals: u32,
    /// Who may approve; anyone whom RBAC lets unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approvers: Option<Subjects>,
    /// The longest that a grant may last.
    pub max_duration: Span,
    /// In which time a change must be in the chart or gone.
    pub reconcile_within: Span,
    /// What happens to a change that cannot be recorded before it is answered.
    pub on_record_failure: OnRecordFailure,
    /// The service account that `helm-guard break-glass open` asks a token for, as `NAMESPACE/NAME`.
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

/// Identities, and where they may break the glass.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EmergencyIdentity {
    /// Who.
    pub subjects: Subjects,
    /// For what; for everything unless given.
    #[serde(default)]
    pub scope: Scope,
}

/// What happens to an emergency change that cannot be recorded before it is answered. In both cases the
/// whole record goes to the log and to the audit annotations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum OnRecordFailure {
    /// It passes: at 3 AM the change matters more than the record.
    #[default]
    Allow,
    /// It is refused: nothing passes unrecorded.
    Deny,
}
