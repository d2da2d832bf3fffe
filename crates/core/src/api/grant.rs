//! `BreakGlassGrant`: leave to break the glass, for somebody, for something, for a while.
//!
//! The spec cannot be changed once it is made, but for `revoked`. Approvals are in the status, so that
//! RBAC can give "may ask" and "may approve" to different people.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Scope, Subjects};

/// Leave to break the glass.
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
    validation = Rule::new("self.metadata.name.size() <= 63").message("a grant's name has at most 63 characters")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new(
        "self.subjects == oldSelf.subjects && self.scope == oldSelf.scope && self.reason == oldSelf.reason && self.ticket == oldSelf.ticket && self.requestedBy == oldSelf.requestedBy && self.expiresAt == oldSelf.expiresAt"
    ).message("a grant cannot be changed once it is made; it can be revoked, and a new one made"),
    validation = Rule::new("self.revoked || !oldSelf.revoked").message("a revoked grant stays revoked: make a new one")
)]
pub struct BreakGlassGrantSpec {
    /// Whose violations pass. They must be break-glass identities of the policy.
    pub subjects: Subjects,
    /// For what.
    #[serde(default)]
    pub scope: Scope,
    /// Why.
    #[serde(default)]
    #[schemars(length(max = 1024))]
    pub reason: String,
    /// The incident or change that it belongs to.
    #[serde(default)]
    #[schemars(length(max = 253))]
    pub ticket: String,
    /// The user who asks for it: the one who makes the object, and nobody else.
    #[schemars(length(min = 1, max = 253))]
    pub requested_by: String,
    /// When it ends by itself.
    pub expires_at: Time,
    /// Ended by somebody, for good.
    #[serde(default)]
    pub revoked: bool,
}

/// What others say of a grant.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BreakGlassGrantStatus {
    /// Who approved it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub approvals: Vec<Approval>,
}

/// One approval.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Approval {
    /// The user who approves: the one who writes the entry, and nobody else.
    #[schemars(length(min = 1, max = 253))]
    pub approved_by: String,
    /// When.
    pub at: Time,
}

impl BreakGlassGrant {
    /// When it was made, by the API server's clock.
    pub fn made_at(&self) -> Option<Timestamp> {
        self.metadata.creation_timestamp.as_ref().map(|time| time.0)
    }
}
