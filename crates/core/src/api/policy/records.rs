//! How Helm's own records, and what releases hang on, are guarded.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::{Mode, Scope, Subjects};

/// What is guarded beside the objects of releases. Each may be switched off.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Records {
    /// Deleting or editing a release record by hand; the policy's own mode unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<RecordMode>,
    /// Deleting a Namespace that holds deployed releases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<RecordMode>,
    /// Deleting a CustomResourceDefinition whose instances releases declare.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub definitions: Option<RecordMode>,
    /// Who may write release records at all; anyone whom RBAC lets unless given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub deployers: Vec<Deployers>,
    /// Namespaces whose release records may claim objects anywhere, such as the `storageNamespace` of Flux.
    /// Elsewhere a record speaks for the objects of its own namespace, and for those whose ownership
    /// annotations name its release. Whoever may write Secrets in one of these guards, or locks, what they
    /// like.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub trusted_namespaces: Vec<String>,
    /// What happens to a record that somebody else writes; the policy's own mode unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployers_mode: Option<Mode>,
}

/// Identities that may deploy, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Deployers {
    /// Who.
    pub subjects: Subjects,
    /// Releases in these namespaces, or these releases; all unless given.
    #[serde(default)]
    pub scope: Scope,
}

/// What happens to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum RecordMode {
    /// Refused.
    Deny,
    /// Passes with a warning.
    Warn,
    /// Passes; only the record knows.
    Audit,
    /// Not looked at.
    Off,
}
