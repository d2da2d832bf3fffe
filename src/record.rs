//! What stays of a decision: metrics, audit lines, the forecast, events, alerts.
//!
//! Invariants
//! - A dry-run request leaves a count here, and nothing else.
//! - Recording never changes an answer, and delays one by the time of an audit line at most: events and
//!   alerts go through bounded queues, and what does not fit is dropped and counted.
//! - Nothing here sees an object; only verdicts and changes, whose values are redacted already.
//!
//! Start at [`Recorder::record`].

pub mod audit;
pub mod changes;
pub mod events;
pub mod forecast;
pub mod metrics;
pub mod own_secrets;
pub mod tokens;
pub mod tracker;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

pub use helm_guard_alerts::{self as alerts, emergency_alerts};
use helm_guard_core::{
    api::{EmergencyChangeSpec, State},
    breakglass::RedactedPatch,
    guard::{Decided, Decision, Operation, Reason},
    policy::alerts::Plan,
};
use jiff::Timestamp;

use self::{
    alerts::{Alert, Alerts, Tampering, summary::Trace},
    audit::{AuditError, AuditLog, Pending},
    changes::{Persisted, Unkept},
    emergency_alerts::EmergencyAlerts,
    events::{Events, Note},
    forecast::Gathered,
    metrics::Metrics,
};

/// All that decisions are recorded with.
#[derive(Debug)]
pub struct Recorder {
    /// Counters.
    pub metrics: Metrics,
    /// Lines.
    pub audit: AuditLog,
    /// Kubernetes events.
    pub events: Events,
    /// What people are told.
    pub alerts: Alerts,
    /// Emergency changes that this replica tells of.
    pub emergency_alerts: EmergencyAlerts,
    /// What would be refused in mode Deny.
    pub forecast: Arc<Gathered>,
    /// Whether a replica leads: it tells of emergency changes that are kept in the cluster, once and
    /// across restarts ([`tracker`]). Else each replica tells of its own.
    pub is_led: Arc<AtomicBool>,
}

/// What is recorded of a break-glass change beside the decision.
#[derive(Debug)]
pub struct Emergency {
    /// What it did to the object.
    pub change: RedactedPatch,
    /// The record of it.
    pub record: EmergencyChangeSpec,
    /// The record in the cluster, or why there is none.
    pub kept: Result<Persisted, Unkept>,
    /// What is announced of it.
    pub note: Note,
}

impl Recorder {
    /// Emergency changes cannot be kept, since the cluster does not know the kind: said once, for it
    /// is how the guard was installed.
    pub fn not_installed(&self) {
        static SAID: std::sync::Once = std::sync::Once::new();
        SAID.call_once(|| {
            tracing::warn!(
                "EmergencyChange is not installed: emergencies are in the audit log and events alone"
            );
        });
    }

    /// Records what the guard says of itself, in the audit log and to the sinks.
    pub async fn notice(&self, alert: Alert) {
        self.line(&alert).await;
        self.alerts.raise(alert);
    }

    /// Puts the sinks of another policy in force, after those of the one before were told.
    pub async fn replace_sinks(&self, plan: &Plan, notices: Vec<Alert>) {
        for alert in &notices {
            self.line(alert).await;
        }
        self.alerts.replace(plan, notices);
    }

    async fn line(&self, alert: &Alert) {
        tracing::warn!(
            event = alert.kind.as_str(),
            status = alert.status.as_str(),
            "{}",
            alert.summary
        );
        let written = match self.audit.queue_notice(alert) {
            Ok(line) => line.written().await,
            Err(error) => Err(error),
        };
        if let Err(error) = written {
            self.metrics.audit_failed();
            tracing::error!(%error, "an audit line is not where it belongs");
        }
    }

    /// Records a decision that took `took` to reach. Waits until its audit line is written, within a
    /// budget, so that a change that passed in an emergency is on record before it is answered.
    pub async fn record(
        &self,
        decided: &Decided<'_>,
        emergency: Option<&Emergency>,
        took: Duration,
    ) {
        let request = decided.request;
        tracing::debug!(
            uid = &*request.uid,
            operation = request.operation.as_str(),
            resource = &*request.resource.resource,
            namespace = &*request.namespace,
            name = &*request.name,
            decision = decided.decision.as_str(),
            reason = decided.verdict.reason.as_str(),
            dry_run = request.dry_run,
            micros = took.as_micros(),
            "decided"
        );
        self.metrics.decided(decided);
        if request.dry_run {
            return;
        }
        self.metrics.took(took);
        let now = Timestamp::now();
        let line = self.audit.queue(decided, emergency, &[], now);
        self.forecast.note(decided, now);
        if decided.decision == Decision::Deny {
            self.alerts
                .denied(&request.user_info.username, || object(decided));
        }
        if matches!(
            decided.verdict.reason,
            Reason::RecordTampered | Reason::RecordDeleted
        ) {
            self.alerts.raise(tampering(decided, now));
        }
        if let Some(emergency) = emergency {
            self.metrics.kept(emergency.kept.is_ok());
            if decided.decision == Decision::BreakGlass {
                self.metrics.broke_glass(request.operation);
                self.announce(emergency);
            }
        }
        self.written(&request.uid, line).await;
    }

    /// Tells of an emergency change, unless it is one that was retried: that was told.
    fn announce(&self, emergency: &Emergency) {
        if matches!(emergency.kept, Ok(Persisted::Known(_))) {
            return;
        }
        if emergency.kept.is_err() || !self.is_led.load(Ordering::Acquire) {
            let trace = match &emergency.kept {
                Ok(_) => Trace::Record(State::Pending),
                Err(_) => Trace::AuditLog,
            };
            let rate = self.alerts.break_glass_rate();
            let alert = self
                .emergency_alerts
                .changed(&emergency.record, trace, rate);
            self.raise_again(alert);
        }
        self.events.announce(emergency.note.clone());
    }

    /// Tells of the emergency changes that waited to be told together, if their window is over.
    pub fn tell_waiting(&self) {
        let rate = self.alerts.break_glass_rate();
        self.raise_again(self.emergency_alerts.due(rate, Timestamp::now()));
    }

    /// Tells of whatever waits, and ends the sinks when they have it.
    pub async fn close(&self) {
        let rate = self.alerts.break_glass_rate();
        self.raise_again(self.emergency_alerts.rest(rate, Timestamp::now()));
        self.alerts.close().await;
    }

    /// Alerts that have a rate of their own, however alike they are.
    fn raise_again(&self, alerts: impl IntoIterator<Item = Alert>) {
        for alert in alerts {
            self.alerts.raise_with_receipt(alert);
        }
    }

    /// Records what an emergency identity does, whatever it is: its audit line and nothing else.
    pub async fn record_shift(&self, decided: &Decided<'_>, grants: &[String], took: Duration) {
        let request = decided.request;
        if request.dry_run {
            return;
        }
        self.metrics.decided(decided);
        self.metrics.took(took);
        let line = self.audit.queue(decided, None, grants, Timestamp::now());
        self.written(&request.uid, line).await;
    }

    async fn written(&self, uid: &str, line: Result<Option<Pending>, AuditError>) {
        let written = match line {
            Ok(Some(line)) => line.written().await,
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = written {
            self.metrics.audit_failed();
            tracing::error!(%error, uid, "an audit line is not where it belongs");
        }
    }
}

/// Whether it was refused or not: who tries to rewrite what Helm knows is somebody to talk to.
fn tampering(decided: &Decided<'_>, at: Timestamp) -> Alert {
    let release = decided.verdict.findings.first().map(|finding| {
        let release = &finding.release;
        (&*release.namespace, &*release.name)
    });
    Alert::records_tampered(&Tampering {
        user: &decided.request.user_info.username,
        operation: match decided.request.operation {
            Operation::Delete => "Delete",
            _ => "Update",
        },
        object: &object(decided),
        release,
        decision: decided.decision,
        at,
    })
}

/// What a request is about, in a few words.
fn object(decided: &Decided<'_>) -> String {
    let request = decided.request;
    let (kind, namespace, name) = match decided.object {
        Some(object) => (object.kind, object.namespace, &*object.name),
        None => (&*request.kind.kind, &*request.namespace, &*request.name),
    };
    if namespace.is_empty() {
        format!("{kind} {name}")
    } else {
        format!("{kind} {namespace}/{name}")
    }
}

#[cfg(test)]
mod tests;
