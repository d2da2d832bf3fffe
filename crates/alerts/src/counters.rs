//! Metrics about the delivery of alerts.

use helm_guard_core::api::policy::alerts::AlertKind;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

/// The outcome of an alert for one sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AlertOutcome {
    /// The sink accepted it.
    Sent,
    /// The sink rejected it, or did not accept it in time.
    Failed,
    /// The queue was full, or the sink was removed from the policy.
    Dropped,
    /// It was sent a moment ago.
    Deduplicated,
}

impl AlertOutcome {
    fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Failed => "failed",
            Self::Dropped => "dropped",
            Self::Deduplicated => "deduplicated",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AlertLabels {
    sink: String,
    kind: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SinkLabel {
    sink: String,
}

/// The counters; clones count together.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    alerts: Family<AlertLabels, Counter>,
    queued: Family<SinkLabel, Gauge>,
}

impl Counters {
    /// Registers the metrics.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "helm_guard_alerts",
            "Alerts, by sink and outcome",
            self.alerts.clone(),
        );
        registry.register(
            "helm_guard_alerts_queued",
            "Alerts queued for a sink",
            self.queued.clone(),
        );
    }

    /// Counts an alert that has come to its end at a sink.
    pub fn count(&self, sink: &str, kind: AlertKind, outcome: AlertOutcome) {
        let labels = labels(sink, kind, outcome);
        self.alerts.get_or_create(&labels).inc();
    }

    /// The current value of a counter.
    pub fn counted(&self, sink: &str, kind: AlertKind, outcome: AlertOutcome) -> u64 {
        let labels = labels(sink, kind, outcome);
        self.alerts.get(&labels).map_or(0, |counter| counter.get())
    }

    /// The alerts that wait for a sink, including the one being sent.
    pub fn queued(&self, sink: &str) -> Gauge {
        let label = SinkLabel {
            sink: sink.to_owned(),
        };
        self.queued.get_or_create(&label).clone()
    }
}

fn labels(sink: &str, kind: AlertKind, outcome: AlertOutcome) -> AlertLabels {
    AlertLabels {
        sink: sink.to_owned(),
        kind: kind.as_str(),
        outcome: outcome.as_str(),
    }
}
