//! Who hears of what.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::Span;

/// Alerts and tickets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Alerts {
    /// Where they go.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub sinks: Vec<Sink>,
    /// So many denials in so much time are an alert.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub denials: Option<AlertRate>,
    /// More emergency changes of one identity than this are told together, in one alert within that time: 20
    /// within 10m unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub break_glass: Option<AlertRate>,
}

/// A rate that is worth an alert of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AlertRate {
    /// More than so many
    #[schemars(range(min = 1))]
    pub above: u32,
    /// within so much time.
    pub within: Span,
}

/// One place that alerts go to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Sink {
    /// Its name in logs and metrics.
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    )]
    pub name: String,
    /// What it wants to hear of; everything unless given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub events: Vec<AlertKind>,
    /// What speaks there.
    #[serde(rename = "type")]
    pub sink_type: SinkType,
    /// Where: the URL itself, for one that is no secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048), regex(pattern = "^https?://"))]
    pub url: Option<String>,
    /// Where: the key of a Secret in the guard's namespace that holds the URL.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "urlFrom")]
    pub url_from: Option<SecretKey>,
    /// `pagerduty`: the key of a Secret that holds the routing key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routing_key_from: Option<SecretKey>,
    /// Headers whose values are keys of Secrets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers_from: BTreeMap<String, SecretKey>,
    /// Headers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// `http`: the body, with `{{name}}` for a value as JSON text (`"summary": {{summary}}`); the whole
    /// alert as JSON unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 65536))]
    pub body: Option<String>,
    /// CA certificates (PEM) to trust there, beside those of the system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 65536))]
    pub ca_bundle: Option<String>,
}

/// What speaks at a sink's URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SinkType {
    /// An incoming webhook of Slack, or of what takes the same (Mattermost, Rocket.Chat).
    Slack,
    /// `PagerDuty` Events v2.
    PagerDuty,
    /// Alertmanager's API v2.
    Alertmanager,
    /// Any other: a POST with a body of one's own.
    Http,
}

/// What an alert is about.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum AlertKind {
    /// Somebody broke the glass.
    BreakGlass,
    /// A change is neither in the chart nor gone in time.
    Overdue,
    /// A change was settled: what closes a ticket.
    Settled,
    /// More denials than the policy says.
    Denials,
    /// Somebody changed or deleted release records by hand.
    RecordsTampered,
    /// The policy in force has become laxer.
    PolicyLoosened,
    /// An alert sink was removed or changed.
    SinksChanged,
    /// The policy object has vanished; the last good one stays in force for a while.
    PolicyMissing,
    /// The kill switch is on: nothing is evaluated.
    Suspended,
    /// Somebody changed or deleted the webhook's registration.
    RegistrationChanged,
    /// A replica has not been ready for some time.
    NotReady,
    /// Audit lines are not where they belong.
    AuditFailing,
}

impl AlertKind {
    /// The word in documents, metrics and alerts.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BreakGlass => "BreakGlass",
            Self::Overdue => "Overdue",
            Self::Settled => "Settled",
            Self::Denials => "Denials",
            Self::RecordsTampered => "RecordsTampered",
            Self::PolicyLoosened => "PolicyLoosened",
            Self::SinksChanged => "SinksChanged",
            Self::PolicyMissing => "PolicyMissing",
            Self::Suspended => "Suspended",
            Self::RegistrationChanged => "RegistrationChanged",
            Self::NotReady => "NotReady",
            Self::AuditFailing => "AuditFailing",
        }
    }
}

/// A key of a Secret in the guard's own namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretKey {
    /// The Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The key in it.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}
