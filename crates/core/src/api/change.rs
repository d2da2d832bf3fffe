//! `EmergencyChange`: one change that passed because somebody broke the glass, until it is in the
//! chart or gone.
//!
//! The guard writes the spec before it lets the change pass, and the tracker settles it in the status.
//! Values of Secrets are marks ([`crate::compare::redact`]), never values.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::policy::alerts::AlertKind;

/// A change that passed in an emergency.
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
    printcolumn = r#"{"name":"Reconcile by","type":"string","jsonPath":".spec.reconcileBy"}"#
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("self == oldSelf").message("what happened cannot be changed"))]
pub struct EmergencyChangeSpec {
    /// The user, after impersonation.
    pub user: String,
    /// The user's groups, at most 32 of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// The token that the user came with, as the API server's audit log names it. None for one who was
    /// impersonated or came with a certificate: a webhook is not told by whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential_id: Option<String>,
    /// When the API server asked.
    pub at: Time,
    /// The uid of the admission request; of a change that is retried, that of the first request.
    pub request_uid: String,
    /// The grant that covered it, if one was needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<String>,
    /// The grant's ticket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
    /// The grant's reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What was done.
    pub operation: ChangeOperation,
    /// To what.
    pub object: ChangedObject,
    /// Whose it is. One record a release that objected; this is the first, the others are in the
    /// fields' messages.
    pub release: ChangedRelease,
    /// What changed of what the release declares; empty for a delete.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<ChangedField>,
    /// The whole change, RFC 6902, as JSON text; absent for a delete and where it is too long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patch: Option<String>,
    /// By when it must be in the chart or gone.
    pub reconcile_by: Time,
}

/// What was done to the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ChangeOperation {
    /// It was changed.
    Update,
    /// It was deleted.
    Delete,
    /// Its replicas were changed.
    Scale,
}

/// The object that was changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChangedObject {
    /// Group and version, as in a manifest: `apps/v1`.
    pub api_version: String,
    /// Kind.
    pub kind: String,
    /// Namespace; empty for a cluster-scoped object.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Its uid before the change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// Its resourceVersion before the change: a change that never came to be left it as it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_version: Option<String>,
}

/// The release that declares the object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChangedRelease {
    /// Name.
    pub name: String,
    /// Its own namespace.
    pub namespace: String,
    /// `name-version` of its chart.
    pub chart: String,
    /// Its newest revision at that time: a later one settles the change.
    pub revision: u32,
    /// Helm applies it server-side: an upgrade or a rollback to another value than the changed one stops
    /// with a conflict, unless `--force-conflicts` is given.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub server_side_apply: bool,
}

/// One declared field that changed. Values are JSON text, marks for those of a Secret, and absent
/// where there is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChangedField {
    /// Where, in Kubernetes' own style.
    pub path: String,
    /// What the release declares.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub declared: Option<String>,
    /// What it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old: Option<String>,
    /// What it became.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new: Option<String>,
}

/// How far a change has come.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EmergencyChangeStatus {
    /// Where it stands.
    #[serde(default)]
    pub state: State,
    /// Why, in a sentence.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Since when it is in this state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// The revision that settled it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u32>,
    /// Of what the alert sinks have been told: what is not here is told by the replica that leads, also
    /// after a restart.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub announced: Vec<AlertKind>,
}

/// Where a change stands.
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
pub enum State {
    /// It passed the guard, and nobody has seen it in the cluster yet.
    #[default]
    Pending,
    /// It is in the cluster and not in the chart.
    Open,
    /// `reconcileBy` has passed, and it still is.
    Overdue,
    /// A later revision declares what it did.
    Absorbed,
    /// The cluster is as it was declared again.
    Reverted,
    /// Something else was done to the same fields since.
    Superseded,
    /// It never came to be: another webhook refused it, or the request failed later.
    Void,
}

impl State {
    /// All of them, in the order of a change's life.
    pub const ALL: [Self; 7] = [
        Self::Pending,
        Self::Open,
        Self::Overdue,
        Self::Absorbed,
        Self::Reverted,
        Self::Superseded,
        Self::Void,
    ];

    /// Whether nothing more will happen to it.
    pub fn is_settled(self) -> bool {
        matches!(
            self,
            Self::Absorbed | Self::Reverted | Self::Superseded | Self::Void
        )
    }

    /// The word in documents, metrics and tables.
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
