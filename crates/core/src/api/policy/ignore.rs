//! Fields that anyone may change: Flux's `driftDetection.ignore` and Argo CD's `ignoreDifferences` in
//! one format, so that existing rules can be imported (`helm-guard policy import`).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::ObjectScope;

/// Fields that anyone may change. At least one of the lists must not be empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IgnoreRule {
    /// Name in logs, metrics and audit annotations; its position (`ignore[3]`) by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub name: Option<String>,
    /// JSON pointers (RFC 6901), `*` for any one step, or paths as denials show them
    /// (`.spec.template.spec.containers[name=web].image`); an empty one is the whole object. Everything
    /// below is ignored too. A number is an index into the list in the release's manifest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 1024)))]
    pub paths: Vec<String>,
    /// The same, under Argo CD's name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 1024)))]
    pub json_pointers: Vec<String>,
    /// jq expressions that select fields, such as `.spec.template.spec.containers[].image`. They run on
    /// the release's manifest, not on the live object, which anyone could change to match.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 1024)))]
    pub jq_path_expressions: Vec<String>,
    /// Field managers whose fields are ignored. Clients choose their field manager, so this trusts everyone
    /// who may write the object and knows the name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 128)))]
    pub managed_fields_managers: Vec<String>,
    /// Objects that the rule applies to; all by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<IgnoreTarget>,
    /// Namespaces and releases that the rule applies to; all by default.
    #[serde(default)]
    pub scope: ObjectScope,
}

/// Selects objects like Flux's `target`. As in Flux, names are anchored regular expressions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IgnoreTarget {
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
    /// Label selector, as for `kubectl -l`. It matches labels in the release's manifest, not those of the
    /// live object, which anyone could add.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub label_selector: Option<String>,
    /// Annotation selector, in the same format.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub annotation_selector: Option<String>,
}
