//! Alert sinks.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::Span;

/// Alert sinks and rates.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Alerts {
    /// Where alerts are sent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub sinks: Vec<Sink>,
    /// Sends an alert when the rate of denials exceeds this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub denials: Option<AlertRate>,
    /// Emergency changes of one identity beyond this rate are summarized in one alert. Default: 20 within
    /// 10m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub break_glass: Option<AlertRate>,
    /// Age of drift that raises a `DriftOver` alert. Default: 4h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift_over: Option<Span>,
}

/// A rate: more than `above` within `within`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AlertRate {
    /// Threshold: the rate is exceeded by more than this many.
    #[schemars(range(min = 1))]
    pub above: u32,
    /// Time window.
    pub within: Span,
}

/// One receiver of alerts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Sink {
    /// Name in logs and metrics.
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    )]
    pub name: String,
    /// Alerts to send to this sink; all by default.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub events: Vec<AlertKind>,
    /// Protocol of the sink.
    #[serde(rename = "type")]
    pub sink_type: SinkType,
    /// The URL, if it contains no secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048), regex(pattern = "^https?://"))]
    pub url: Option<String>,
    /// Key of a Secret in the guard's namespace that holds the URL.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "urlFrom")]
    pub(crate) url_from: Option<SecretKey>,
    /// `pagerduty`: key of a Secret that holds the routing key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) routing_key_from: Option<SecretKey>,
    /// Headers with values from Secrets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) headers_from: BTreeMap<String, SecretKey>,
    /// Headers of each request, by name, with values that are not secret.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// `http`: template of the body, with `{{name}}` for a value as JSON text (`"summary": {{summary}}`).
    /// Default: the whole alert as JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 65536))]
    pub body: Option<String>,
    /// CA certificates (PEM) to trust in addition to those of the system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 65536))]
    pub ca_bundle: Option<String>,
}

/// Protocol of a sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SinkType {
    /// Incoming webhook of Slack or a compatible service (Mattermost, Rocket.Chat).
    Slack,
    /// `PagerDuty` Events v2.
    PagerDuty,
    /// Alertmanager's API v2.
    Alertmanager,
    /// POST with a custom body.
    Http,
}

/// Event that an alert reports.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum AlertKind {
    /// A break-glass identity made a change.
    BreakGlass,
    /// A change was neither added to the chart nor reverted in time.
    Overdue,
    /// A change was resolved. Use this to close tickets.
    Settled,
    /// The rate of denials exceeds the policy's threshold.
    Denials,
    /// Release records were changed or deleted by hand.
    RecordsTampered,
    /// The policy in force became less strict.
    PolicyLoosened,
    /// An alert sink was removed or changed.
    SinksChanged,
    /// The policy object is gone; the last valid one stays in force for a while.
    PolicyMissing,
    /// The kill switch is on: nothing is evaluated.
    Suspended,
    /// The webhook registration was changed or deleted.
    RegistrationChanged,
    /// A replica has not been ready for some time.
    NotReady,
    /// Audit lines cannot be written to their file.
    AuditFailing,
    /// A release has drift.
    Drift,
    /// A release has had drift for longer than `driftOver`.
    DriftOver,
}

impl AlertKind {
    /// The name in documents, metrics and alerts.
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
            Self::Drift => "Drift",
            Self::DriftOver => "DriftOver",
        }
    }
}

/// A key of a Secret in the guard's own namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretKey {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Key in the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}
