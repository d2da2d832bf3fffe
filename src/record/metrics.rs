//! Metrics in the Prometheus text format.
//!
//! What the webhook counts is in [`Metrics`]. The state of other modules (index, certificates, registration)
//! is read at each scrape as [`reading::Reading`]s, so that they do not depend on this module.
//!
//! Labels are bounded: no user, no object name. Units are base units.

pub(crate) mod reading;

use std::{collections::BTreeMap, time::Duration};

use helm_guard_core::{
    api::ChangeState,
    guard::{Decided, Operation},
};
use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Metric, Registry, Unit},
};

use self::reading::{AtScrape, Reading};

/// From the time of a request that needs no evaluation up to the timeout of the webhook.
const LATENCY_SECONDS: [f64; 16] = [
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
    1.0, 2.0, 3.0,
];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DecisionLabels {
    dry_run: &'static str,
    operation: &'static str,
    mode: &'static str,
    verdict: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OperationLabel {
    operation: &'static str,
}

/// What the webhook counts.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    decisions: Family<DecisionLabels, Counter>,
    exemptions: Family<ExemptionLabel, Counter>,
    rejected: Family<KindLabel, Counter>,
    break_glass: Family<OperationLabel, Counter>,
    changes: Family<PersistedLabel, Counter>,
    followed: Family<StateLabel, Gauge>,
    settled: Family<StateLabel, Counter>,
    audit_errors: Counter,
    panics: Counter,
    duration: Histogram,
    in_flight: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PersistedLabel {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabel {
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ExemptionLabel {
    exemption: String,
}

/// Counts a request as in flight until it is dropped, also when the request is cancelled.
#[derive(Debug)]
pub(crate) struct InFlight(Gauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Registers a metric that starts at zero.
fn register<M: Metric + Clone + Default>(registry: &mut Registry, name: &str, help: &str) -> M {
    let metric = M::default();
    registry.register(name, help, metric.clone());
    metric
}

fn duration(registry: &mut Registry) -> Histogram {
    let duration = Histogram::new(LATENCY_SECONDS);
    registry.register_with_unit(
        "helm_guard_request_duration",
        "Time from the last byte of a review to its answer",
        Unit::Seconds,
        duration.clone(),
    );
    duration
}

impl Metrics {
    /// A registry with all metrics; `readings` is called at every scrape.
    pub(crate) fn new(readings: impl Fn() -> Vec<Reading> + Send + Sync + 'static) -> Self {
        let mut registry = Registry::default();
        let mut metrics = Self {
            decisions: register(
                &mut registry,
                "helm_guard_decisions",
                "Answers, by decision and reason",
            ),
            exemptions: register(
                &mut registry,
                "helm_guard_exemptions",
                "Requests allowed by a named exemption",
            ),
            rejected: register(
                &mut registry,
                "helm_guard_rejected_envelopes",
                "Requests rejected with an HTTP error because the body is not a valid AdmissionReview",
            ),
            break_glass: register(
                &mut registry,
                "helm_guard_break_glass",
                "Violations allowed for a break-glass identity",
            ),
            changes: register(
                &mut registry,
                "helm_guard_emergency_changes_recorded",
                "Emergency changes recorded, by whether the record could be stored in the cluster",
            ),
            followed: register(
                &mut registry,
                "helm_guard_emergency_changes",
                "Emergency changes in the cluster, by state; reported by the leader only",
            ),
            settled: register(
                &mut registry,
                "helm_guard_emergency_changes_settled",
                "Emergency changes resolved by this process, by final state",
            ),
            audit_errors: register(
                &mut registry,
                "helm_guard_audit_errors",
                "Audit lines that could not be written to their sink",
            ),
            panics: register(
                &mut registry,
                "helm_guard_panics",
                "Requests that panicked (HTTP 500)",
            ),
            duration: duration(&mut registry),
            in_flight: register(
                &mut registry,
                "helm_guard_requests_in_flight",
                "Reviews in flight",
            ),
            registry,
        };
        let at_scrape = AtScrape(readings);
        metrics.registry.register_collector(Box::new(at_scrape));
        metrics
    }

    /// The registry, for the counters of other modules.
    pub(crate) fn registry_mut(&mut self) -> &mut Registry {
        &mut self.registry
    }

    /// The text of `/metrics`.
    pub(crate) fn encode(&self) -> Result<String, std::fmt::Error> {
        let mut body = String::new();
        text::encode(&mut body, &self.registry)?;
        Ok(body)
    }

    /// Counts a request as in flight until the return value is dropped.
    pub(crate) fn enter(&self) -> InFlight {
        self.in_flight.inc();
        InFlight(self.in_flight.clone())
    }

    /// Counts an answer. Dry-run requests are left out by the caller.
    pub(crate) fn decided(&self, decided: &Decided<'_>) {
        let reason = decided.verdict.reason;
        self.decisions
            .get_or_create(&DecisionLabels {
                dry_run: if decided.request.dry_run {
                    "true"
                } else {
                    "false"
                },
                operation: decided.request.operation.as_str(),
                mode: decided.mode.as_str(),
                verdict: decided.decision.as_str(),
                reason: reason.as_str(),
            })
            .inc();
        if let Some(exemption) = &decided.verdict.exemption
            && !decided.request.dry_run
        {
            self.exemptions
                .get_or_create(&ExemptionLabel {
                    exemption: exemption.to_string(),
                })
                .inc();
        }
    }

    /// Counts a change that passed for a break-glass identity.
    pub(crate) fn break_glass_used(&self, operation: Operation) {
        let operation = operation.as_str();
        self.break_glass
            .get_or_create(&OperationLabel { operation })
            .inc();
    }

    /// Counts the record of an emergency change, by whether it was stored.
    pub(crate) fn persisted(&self, is_kept: bool) {
        let outcome = if is_kept { "kept" } else { "failed" };
        self.changes
            .get_or_create(&PersistedLabel { outcome })
            .inc();
    }

    /// Shows the number of emergency changes in each state; none on a replica that does not lead.
    pub(crate) fn emergency_changes(&self, counts: Option<&BTreeMap<ChangeState, u64>>) {
        let Some(counts) = counts else {
            self.followed.clear();
            return;
        };
        for state in ChangeState::ALL {
            let count = counts.get(&state).copied().unwrap_or_default();
            let label = StateLabel {
                state: state.as_str(),
            };
            self.followed
                .get_or_create(&label)
                .set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    /// Counts an emergency change that was resolved.
    pub(crate) fn settled(&self, state: ChangeState) {
        let label = StateLabel {
            state: state.as_str(),
        };
        self.settled.get_or_create(&label).inc();
    }

    /// Counts a body that is not a valid review.
    pub(crate) fn rejected(&self, kind: &'static str) {
        self.rejected.get_or_create(&KindLabel { kind }).inc();
    }

    /// Counts an audit line that could not be written.
    pub(crate) fn audit_failed(&self) {
        self.audit_errors.inc();
    }

    /// Audit lines that could not be written so far.
    pub(crate) fn audit_failures(&self) -> u64 {
        self.audit_errors.get()
    }

    /// Counts a request that panicked.
    pub(crate) fn panicked(&self) {
        self.panics.inc();
    }

    /// Records the time that an answer took.
    pub(crate) fn took(&self, duration: Duration) {
        self.duration.observe(duration.as_secs_f64());
    }
}

#[cfg(test)]
pub(crate) mod tests;
