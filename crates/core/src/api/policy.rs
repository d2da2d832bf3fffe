//! `GuardPolicy`: who may do what, where.
//!
//! | part | says |
//! |---|---|
//! | [`overrides`] | in which mode what is guarded, and how additions count |
//! | [`ignore`] | which fields are nobody's business, in the shapes of Flux and Argo CD |
//! | [`exemptions`] | who may do what nobody else may |
//! | [`records`] | how Helm's own records are guarded, and who may deploy |
//! | [`breakglass`] | who may break the glass, and what happens to it |
//! | [`alerts`] | who hears of it |

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

/// Who may do what, where.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "helm-guard.dev",
    version = "v1alpha1",
    kind = "GuardPolicy",
    plural = "guardpolicies",
    singular = "guardpolicy",
    category = "helm-guard",
    status = "GuardPolicyStatus",
    derive = "PartialEq",
    derive = "Default",
    printcolumn = r#"{"name":"Mode","type":"string","jsonPath":".spec.mode"}"#,
    printcolumn = r#"{"name":"Suspended","type":"boolean","jsonPath":".spec.suspend"}"#,
    printcolumn = r#"{"name":"In force","type":"boolean","jsonPath":".status.inForce"}"#,
    printcolumn = r#"{"name":"Error","type":"string","jsonPath":".status.error"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    validation = Rule::new("self.metadata.name == 'default'").message("there is one GuardPolicy: its name must be default")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GuardPolicySpec {
    /// What happens to a violation where no override says otherwise.
    #[serde(default)]
    pub mode: Mode,
    /// The kill switch: every request is allowed without evaluation, and the webhook is not registered,
    /// until this is false again. It counts as soon as it is written, whatever else is in the policy, and
    /// in the cluster it counts for guards that have their policy in a file too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
    /// Why the guard is suspended: for readiness, alerts and the audit log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub suspend_reason: Option<String>,
    /// What happens to changes to what no release declares.
    #[serde(default)]
    pub undeclared: Undeclared,
    /// Other modes for parts of the cluster; the most specific one counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128))]
    pub overrides: Vec<Override>,
    /// Fields that anyone may change.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub ignore: Vec<IgnoreRule>,
    /// Who may do what nobody else may.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub exemptions: Vec<Exemption>,
    /// Which of the named exemptions that come with the guard are in force.
    #[serde(default)]
    pub presets: PresetChoice,
    /// Whether a chart may loosen the rules for its own objects.
    #[serde(default)]
    pub chart_annotations: ChartAnnotations,
    /// How Helm's own records are guarded.
    #[serde(default)]
    pub records: Records,
    /// For how long an uninstallation may delete what a release declares. One that failed is never over
    /// by itself; deletes are refused again once it began longer ago. No end unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uninstalling_max_age: Option<Span>,
    /// Emergencies.
    #[serde(default)]
    pub break_glass: BreakGlass,
    /// Who hears of what.
    #[serde(default)]
    pub alerts: Alerts,
    /// A page to name in denials: what to do in an emergency.
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
/// has never count, or whoever may annotate could switch the guard off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ChartAnnotations {
    /// They count for nothing.
    #[default]
    Ignore,
    /// They may loosen the rules for the object that bears them.
    Honor,
}

/// What the guard says of the policy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GuardPolicyStatus {
    /// The generation that was read last.
    #[serde(default)]
    pub observed_generation: i64,
    /// Whether that generation is in force. If not, the last good one is.
    #[serde(default)]
    pub in_force: bool,
    /// What is wrong with it; empty unless something is.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub error: String,
    /// Since when this is so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
}
