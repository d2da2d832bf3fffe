//! Protection of release records, namespaces and CRDs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::{Mode, ObjectScope, Subjects};

/// Protection of release records, namespaces and CRDs. Each can be switched off.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Records {
    /// For deletes and edits of release records by hand. Default: the policy's mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<RecordMode>,
    /// For deletes of Namespaces that hold deployed releases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<RecordMode>,
    /// For deletes of CRDs whose instances are declared by releases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub definitions: Option<RecordMode>,
    /// Identities that may write release records; by default, anyone whom RBAC allows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub deployers: Vec<Deployers>,
    /// Namespaces whose release records may claim objects anywhere, such as the `storageNamespace` of Flux.
    /// Other records only claim objects of their own namespace, and objects whose ownership annotations
    /// name their release. Anyone who may write Secrets in a trusted namespace can protect, and so lock, any
    /// object.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub(crate) trusted_namespaces: Vec<String>,
    /// Mode for records written by other identities. Default: the policy's mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployers_mode: Option<Mode>,
}

/// Identities that may deploy releases.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Deployers {
    /// The identities.
    pub subjects: Subjects,
    /// Namespaces or releases that they may deploy; all by default.
    #[serde(default)]
    pub scope: ObjectScope,
}

/// How violations are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum RecordMode {
    /// Denied.
    Deny,
    /// Allowed with a warning.
    Warn,
    /// Allowed and recorded.
    Audit,
    /// Not evaluated.
    Off,
}
