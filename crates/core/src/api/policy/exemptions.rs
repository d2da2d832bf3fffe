//! Exemptions: identities that may change some declared fields.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::{GroupKind, ObjectScope, Subjects};

/// Allows some identities to change some paths of some kinds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Exemption {
    /// Name in logs, metrics and audit annotations.
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    )]
    pub name: String,
    /// The exempt identities.
    pub subjects: Subjects,
    /// Kinds of objects; at least one, so that no exemption is wider than intended.
    #[schemars(length(min = 1, max = 64))]
    pub kinds: Vec<GroupKind>,
    /// Paths that may change, including everything below: JSON pointers, `*` for any one step.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 1024)))]
    pub paths: Vec<String>,
    /// Additional operations.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 2))]
    pub operations: Vec<ExemptOperation>,
    /// Where the exemption applies; everywhere by default.
    #[serde(default)]
    pub scope: ObjectScope,
}

/// Operations that an exemption may allow in addition to paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ExemptOperation {
    /// Delete the object.
    Delete,
    /// Change its replicas through the scale subresource.
    Scale,
}

/// Which built-in exemptions are in force (`helm-guard policy presets` lists them).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PresetChoice {
    /// Presets to enable that are off by default.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub enable: Vec<PresetUse>,
    /// Presets to disable that are on by default.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 63)))]
    pub disable: Vec<String>,
    /// Whether an autoscaler that no release declares may set declared replicas.
    #[serde(default)]
    pub(crate) undeclared_autoscalers: UndeclaredAutoscalers,
}

/// What happens when an undeclared autoscaler scales an object with declared replicas. With `Allow`,
/// anyone who may create autoscalers can set the number of replicas.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub(crate) enum UndeclaredAutoscalers {
    /// Allow it as `undeclared-autoscaler`, with an event on the object, a metric and a row of the forecast.
    #[default]
    Allow,
    /// Treat it as a violation, in the mode in force for the object.
    Deny,
}

/// A preset that is enabled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PresetUse {
    /// Name of the preset.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// Identities, if the controller does not run under the preset's default account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subjects: Option<Subjects>,
    /// Kinds, if the preset does not define them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub kinds: Vec<GroupKind>,
}
