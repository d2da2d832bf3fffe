//! `EmergencyChange`: one change that was allowed by break-glass, tracked until it is in the chart or
//! reverted.
//!
//! The guard writes the spec before it allows the change; the tracker resolves it in the status.
//! Values of Secrets are redacted ([`crate::compare::redact`]).

#![allow(
    unreachable_pub,
    reason = "the derive for custom resources makes public items that nobody can name"
)]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    policy::alerts::AlertKind,
    reported::{ReportedField, ReportedObject, ReportedRelease},
};

/// A change that was allowed by break-glass.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "helm-guard.dev",
    version = "v1alpha1",
    kind = "EmergencyChange",
    plural = "emergencychanges",
    shortname = "emc",
    category = "helm-guard",
    namespaced,
    status = "EmergencyChangeStatus",
    derive = "PartialEq",
    printcolumn = r#"{"name":"State","type":"string","jsonPath":".status.state"}"#,
    printcolumn = r#"{"name":"Release","type":"string","jsonPath":".spec.release.name"}"#,
    printcolumn = r#"{"name":"Kind","type":"string","jsonPath":".spec.object.kind"}"#,
    printcolumn = r#"{"name":"Object","type":"string","jsonPath":".spec.object.name"}"#,
    printcolumn = r#"{"name":"By","type":"string","jsonPath":".spec.user"}"#,
    printcolumn = r#"{"name":"Ticket","type":"string","jsonPath":".spec.ticket","priority":1}"#,
    printcolumn = r#"{"name":"Reconcile by","type":"string","jsonPath":".spec.reconcileBy"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("self == oldSelf").message("the spec of an EmergencyChange is immutable"))]
pub struct EmergencyChangeSpec {
    /// The user, after impersonation.
    pub user: String,
    /// The user's groups, at most 32 of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// ID of the user's token, as in the API server's audit log. Absent for impersonated users and client
    /// certificates: the API server does not send it to webhooks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential_id: Option<String>,
    /// Time of the admission request.
    pub at: Time,
    /// UID of the admission request; for a retried change, of the first request.
    pub request_uid: String,
    /// The grant that covered the change, if one was needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<String>,
    /// The grant's ticket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
    /// The grant's reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What the request did to the object.
    pub operation: ChangeOperation,
    /// The changed object.
    pub object: ReportedObject,
    /// The release that declares the object. If several releases do, this is the first; messages name the
    /// others.
    pub release: ReportedRelease,
    /// Declared fields that changed; empty for a delete.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<ReportedField>,
    /// The whole change as a JSON patch (RFC 6902); absent for a delete, and if it is too long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patch: Option<String>,
    /// Deadline for adding the change to the chart or reverting it.
    pub reconcile_by: Time,
}

/// What was done to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ChangeOperation {
    /// It was changed.
    Update,
    /// It was deleted.
    Delete,
    /// Its replicas were changed.
    Scale,
}

/// Progress of a change.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EmergencyChangeStatus {
    /// How far the change is from its end.
    #[serde(default)]
    pub state: ChangeState,
    /// Explanation of the state.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Time of the last state change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// The revision that resolved the change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u32>,
    /// Alerts that were already sent. The leader sends the missing ones, also after a restart.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub announced: Vec<AlertKind>,
}

/// State of a change.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    JsonSchema,
)]
pub enum ChangeState {
    /// The guard allowed it; it is not yet seen in the cluster.
    #[default]
    Pending,
    /// It is in the cluster but not in the chart.
    Open,
    /// It is still open after `reconcileBy`.
    Overdue,
    /// A later revision declares the change.
    Absorbed,
    /// The object matches the chart again.
    Reverted,
    /// The same fields were changed again since.
    Superseded,
    /// It was never stored: another webhook denied it, or the request failed later.
    Void,
}

impl ChangeState {
    /// All states, in order of a change's life.
    pub const ALL: [Self; 7] = [
        Self::Pending,
        Self::Open,
        Self::Overdue,
        Self::Absorbed,
        Self::Reverted,
        Self::Superseded,
        Self::Void,
    ];

    /// Whether the state is final.
    pub fn is_resolved(self) -> bool {
        matches!(
            self,
            Self::Absorbed | Self::Reverted | Self::Superseded | Self::Void
        )
    }

    /// The name in documents, metrics and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Open => "Open",
            Self::Overdue => "Overdue",
            Self::Absorbed => "Absorbed",
            Self::Reverted => "Reverted",
            Self::Superseded => "Superseded",
            Self::Void => "Void",
        }
    }
}
