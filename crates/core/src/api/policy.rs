//! `GuardPolicy`: enforcement modes, exemptions, break-glass and alerts.
//!
//! | part | says |
//! |---|---|
//! | [`overrides`] | enforcement modes, and how undeclared fields are treated |
//! | [`ignore`] | fields that anyone may change, in the formats of Flux and Argo CD |
//! | [`exemptions`] | identities that may change some declared fields |
//! | [`records`] | protection of release records, and who may deploy |
//! | [`breakglass`] | break-glass identities, grants and records |
//! | [`alerts`] | where alerts are sent |

#![allow(
    unreachable_pub,
    reason = "the derive for custom resources makes public items that nobody can name"
)]

pub mod alerts;
pub mod breakglass;
pub mod exemptions;
pub mod ignore;
pub mod overrides;
pub mod records;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::{
    alerts::Alerts,
    breakglass::BreakGlass,
    exemptions::{Exemption, PresetChoice},
    ignore::IgnoreRule,
    overrides::{Override, Undeclared},
    records::Records,
};
use crate::api::{Mode, Span};

/// Enforcement modes, exemptions, break-glass and alerts of the guard.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "helm-guard.dev",
    version = "v1alpha1",
    kind = "GuardPolicy",
    plural = "guardpolicies",
    singular = "guardpolicy",
    shortname = "hgp",
    category = "helm-guard",
    status = "GuardPolicyStatus",
    derive = "PartialEq",
    derive = "Default",
    printcolumn = r#"{"name":"Mode","type":"string","jsonPath":".spec.mode"}"#,
    printcolumn = r#"{"name":"Suspended","type":"boolean","jsonPath":".spec.suspend"}"#,
    printcolumn = r#"{"name":"In force","type":"boolean","jsonPath":".status.inForce"}"#,
    printcolumn = r#"{"name":"Error","type":"string","jsonPath":".status.error"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    validation = Rule::new("self.metadata.name == 'default'").message("a GuardPolicy must be named default")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GuardPolicySpec {
    /// Default enforcement mode; overrides take precedence.
    #[serde(default)]
    pub mode: Mode,
    /// The kill switch: while true, every request is allowed without evaluation and the webhook is not
    /// registered. It takes effect even if the rest of the policy is invalid, and also on guards that read
    /// their policy from a file.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
    /// Why the guard is suspended; shown in readiness, alerts and the audit log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub suspend_reason: Option<String>,
    /// How changes to undeclared fields are treated.
    #[serde(default)]
    pub undeclared: Undeclared,
    /// Other modes for parts of the cluster; the most specific one applies.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128))]
    pub overrides: Vec<Override>,
    /// Fields that anyone may change.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub ignore: Vec<IgnoreRule>,
    /// Identities that may change some declared fields.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub exemptions: Vec<Exemption>,
    /// Which built-in exemptions are in force.
    #[serde(default)]
    pub presets: PresetChoice,
    /// Whether annotations in a chart may loosen the rules for its objects.
    #[serde(default)]
    pub chart_annotations: ChartAnnotations,
    /// Protection of release records, namespaces and CRDs.
    #[serde(default)]
    pub records: Records,
    /// How long an uninstall may delete declared objects. A failed uninstall stays in progress forever;
    /// after this time, deletes are denied again. Unlimited by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uninstalling_max_age: Option<Span>,
    /// Break-glass identities and rules.
    #[serde(default)]
    pub break_glass: BreakGlass,
    /// Alert sinks.
    #[serde(default)]
    pub alerts: Alerts,
    /// Page with instructions for emergencies; shown in denials.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        rename = "runbookURL"
    )]
    #[schemars(length(max = 2048), regex(pattern = "^https?://"))]
    pub runbook_url: Option<String>,
}

/// Whether annotations of a release's *manifest* count: `helm-guard.dev/mode: Warn|Audit` and
/// `helm-guard.dev/ignore: <JSON pointers, separated by commas>`. Annotations that only the live object
/// has never count, because anyone who may annotate objects could use them to disable the guard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ChartAnnotations {
    /// Annotations have no effect.
    #[default]
    Ignore,
    /// Annotations may loosen the rules for their own object.
    Honor,
}

/// The guard's view of the policy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GuardPolicyStatus {
    /// Last generation that the guard has read.
    #[serde(default)]
    pub observed_generation: i64,
    /// Whether that generation is in force. If not, the last valid one is.
    #[serde(default)]
    pub in_force: bool,
    /// Why the policy is invalid; empty if it is valid.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub error: String,
    /// Time of the last status change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
}
