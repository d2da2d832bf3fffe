//! `BreakGlassGrant`: temporary break-glass for some identities and some objects.
//!
//! The spec is immutable, except for `revoked`. Approvals are in the status, so that RBAC can separate
//! who may request from who may approve.

#![allow(
    unreachable_pub,
    reason = "the derive for custom resources makes public items that nobody can name"
)]

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ObjectScope, Subjects};

/// Allows some identities to make out-of-band changes until it expires.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "helm-guard.dev",
    version = "v1alpha1",
    kind = "BreakGlassGrant",
    plural = "breakglassgrants",
    shortname = "bgg",
    category = "helm-guard",
    status = "BreakGlassGrantStatus",
    derive = "PartialEq",
    printcolumn = r#"{"name":"Requested by","type":"string","jsonPath":".spec.requestedBy"}"#,
    printcolumn = r#"{"name":"Ticket","type":"string","jsonPath":".spec.ticket"}"#,
    printcolumn = r#"{"name":"Expires","type":"string","jsonPath":".spec.expiresAt"}"#,
    printcolumn = r#"{"name":"Revoked","type":"boolean","jsonPath":".spec.revoked"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".spec.reason","priority":1}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    validation = Rule::new("self.metadata.name.size() <= 63").message("a grant's name has at most 63 characters")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new(
        "self.subjects == oldSelf.subjects && self.scope == oldSelf.scope && self.reason == oldSelf.reason && self.ticket == oldSelf.ticket && self.requestedBy == oldSelf.requestedBy && self.expiresAt == oldSelf.expiresAt"
    ).message("a grant is immutable: revoke it and create a new one"),
    validation = Rule::new("self.revoked || !oldSelf.revoked").message("a revocation is final: create a new grant")
)]
pub struct BreakGlassGrantSpec {
    /// Identities that the grant is for. They must be break-glass identities of the policy.
    pub subjects: Subjects,
    /// Objects that the grant covers.
    #[serde(default)]
    pub scope: ObjectScope,
    /// Why the grant is needed.
    #[serde(default)]
    #[schemars(length(max = 1024))]
    pub reason: String,
    /// Incident or change ticket.
    #[serde(default)]
    #[schemars(length(max = 253))]
    pub ticket: String,
    /// The user who creates the grant.
    #[schemars(length(min = 1, max = 253))]
    pub requested_by: String,
    /// When the grant expires.
    pub expires_at: Time,
    /// Whether the grant was revoked. This is final.
    #[serde(default)]
    pub revoked: bool,
}

/// Approvals of a grant.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BreakGlassGrantStatus {
    /// The approvals so far.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub approvals: Vec<Approval>,
}

/// The consent of a second person to a grant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Approval {
    /// The user who approves. Users can only approve in their own name.
    #[schemars(length(min = 1, max = 253))]
    pub approved_by: String,
    /// Time of the approval.
    pub at: Time,
}

impl BreakGlassGrant {
    /// Creation time, by the API server's clock.
    pub(crate) fn made_at(&self) -> Option<Timestamp> {
        self.metadata.creation_timestamp.as_ref().map(|time| time.0)
    }
}
