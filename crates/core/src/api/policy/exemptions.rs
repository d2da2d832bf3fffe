//! Who may do what nobody else may.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::{GroupKind, Scope, Subjects};

/// Leave for some identities to change some paths of some kinds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Exemption {
    /// Its name in logs, metrics and audit annotations.
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    )]
    pub name: String,
    /// Who.
    pub subjects: Subjects,
    /// Objects of these kinds; at least one, so that no exemption is wider than it was meant.
    #[schemars(length(min = 1, max = 64))]
    pub kinds: Vec<GroupKind>,
    /// May change these paths and what is below them: JSON pointers, `*` for any one step.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 1024)))]
    pub paths: Vec<String>,
    /// May do these too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 2))]
    pub operations: Vec<ExemptOperation>,
    /// Where; everywhere unless given.
    #[serde(default)]
    pub scope: Scope,
}

/// What an exemption may allow beside paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ExemptOperation {
    /// Delete the object.
    Delete,
    /// Change its replicas through the scale subresource.
    Scale,
}

/// Which of the named exemptions that come with the guard are in force (`helm-guard policy presets`
/// lists them).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PresetChoice {
    /// These, which are off by themselves.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub enable: Vec<PresetUse>,
    /// Not these, which are on by themselves.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 63)))]
    pub disable: Vec<String>,
    /// Whether an autoscaler that no release declares may set declared replicas.
    #[serde(default)]
    pub undeclared_autoscalers: UndeclaredAutoscalers,
}

/// What happens when an autoscaler that no release declares scales an object whose replicas a release
/// declares: whoever may create autoscalers sets the number of replicas with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum UndeclaredAutoscalers {
    /// It passes as `undeclared-autoscaler`: an event on the object, a metric, a row of the forecast.
    #[default]
    Allow,
    /// It is a violation like any other, in the mode in force for the object.
    Deny,
}

/// A preset that is switched on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PresetUse {
    /// Its name.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// Who it is for, where its own default is not where the controller runs here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subjects: Option<Subjects>,
    /// Kinds, where the preset leaves them open.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub kinds: Vec<GroupKind>,
}
