//! Fields that anyone may change: Flux's `driftDetection.ignore` and Argo CD's `ignoreDifferences` in
//! one shape, so that rules people already have can be carried over (`helm-guard policy import`).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::Scope;

/// Fields of some objects that anyone may change. At least one of the lists must say something.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IgnoreRule {
    /// Its name in logs, metrics and audit annotations; its place (`ignore[3]`) unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub name: Option<String>,
    /// JSON pointers (RFC 6901), `*` for any one step, or paths as denials show them
    /// (`.spec.template.spec.containers[name=web].image`); an empty one is the whole object. Everything
    /// below is ignored too. A number counts the items of a list as the release's manifest has them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 1024)))]
    pub paths: Vec<String>,
    /// The same under Argo CD's name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 1024)))]
    pub json_pointers: Vec<String>,
    /// jq expressions that select fields, such as `.spec.template.spec.containers[].image`. They are run
    /// on the release's manifest, not on the live object, which anyone could shape.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 1024)))]
    pub jq_path_expressions: Vec<String>,
    /// Field managers whose fields are ignored. A field manager is the client's to choose: this trusts
    /// everyone who may write the object and knows the name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 128)))]
    pub managed_fields_managers: Vec<String>,
    /// Of which objects; of all unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    /// Of the objects of which releases, and where; everywhere unless given.
    #[serde(default)]
    pub scope: Scope,
}

/// Some objects, as Flux's `target` says it. Names match as anchored regular expressions there, and
/// here too.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Target {
    /// API group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub group: Option<String>,
    /// API version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub version: Option<String>,
    /// Kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub kind: Option<String>,
    /// Name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub name: Option<String>,
    /// Namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub namespace: Option<String>,
    /// Labels, as `kubectl -l` takes them. Those of the release's manifest count, not those of the live
    /// object, which anyone could add.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub label_selector: Option<String>,
    /// Annotations, in the same way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub annotation_selector: Option<String>,
}
