//! Records decisions: metrics, audit lines, the forecast, events, alerts.
//!
//! Invariants
//! - A dry-run request is only counted.
//! - Recording never changes an answer, and delays it by at most the time of an audit line: events and alerts
//!   go through bounded queues; if one is full, they are dropped and counted.
//! - This module sees no objects, only verdicts and changes, whose values are already redacted.
//!
//! Start at [`Recorder::record`].

pub mod audit;
pub mod changes;
pub mod events;
pub mod forecast;
pub mod metrics;
pub(crate) mod own_secrets;
pub mod tokens;
pub(crate) mod tracker;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

pub use helm_guard_alerts::{self as alerts, emergency_alerts};
use helm_guard_core::{
    api::{
        ChangeState, EmergencyChangeSpec,
        reported::{ReportedObject, ReportedRelease},
    },
    breakglass::RedactedPatch,
    guard::{Decided, Decision, Operation, Reason},
    policy::alerts::AlertSettings,
};
use jiff::Timestamp;

use self::{
    alerts::{Alert, Alerts, Tampering, summary::Trace},
    audit::{AuditError, AuditLog, Pending},
    changes::{PersistError, Persisted},
    emergency_alerts::EmergencyAlerts,
    events::{Events, Note},
    forecast::Collector,
    metrics::Metrics,
};

/// The outputs of the recorder.
#[derive(Debug)]
pub struct Recorder {
    /// What `/metrics` shows.
    pub(crate) metrics: Metrics,
    /// One line for each decision that matters.
    pub(crate) audit: AuditLog,
    /// Kubernetes events.
    pub(crate) events: Events,
    /// The sinks of the policy.
    pub alerts: Alerts,
    /// Emergency changes that this replica alerts about itself.
    pub(crate) emergency_alerts: EmergencyAlerts,
    /// What mode Deny would deny.
    pub(crate) forecast: Arc<Collector>,
    /// Whether a replica leads: the leader alerts about the emergency changes in the cluster, once and across
    /// restarts ([`tracker`]). Without a leader, each replica alerts about its own.
    pub(crate) is_led: Arc<AtomicBool>,
}

/// What is recorded about a break-glass change in addition to the decision.
#[derive(Debug)]
pub struct Emergency {
    /// The change to the object.
    pub change: RedactedPatch,
    /// The `spec` of its `EmergencyChange`.
    pub record: EmergencyChangeSpec,
    /// The stored record, or why it was not stored.
    pub kept: Result<Persisted, PersistError>,
    /// The event about it.
    pub(crate) note: Note,
}

impl Recorder {
    /// Logs, once, that emergency changes cannot be stored because the cluster does not have the kind: a
    /// property of the installation.
    pub(crate) fn not_installed() {
        static LOGGED: std::sync::Once = std::sync::Once::new();
        LOGGED.call_once(|| {
            tracing::warn!(
                "EmergencyChange is not installed: emergency changes are only in the audit log and in events"
            );
        });
    }

    /// Records an alert about the guard itself, in the audit log and to the sinks.
    pub async fn notice(&self, alert: Alert) {
        self.line(&alert).await;
        self.alerts.raise(alert);
    }

    /// Applies the sinks of another policy, after notifying the sinks of the previous one.
    pub(crate) async fn replace_sinks(&self, settings: &AlertSettings, notices: Vec<Alert>) {
        for alert in &notices {
            self.line(alert).await;
        }
        self.alerts.replace(settings, notices);
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
            tracing::error!(%error, "failed to write audit line to its sink");
        }
    }

    /// Records a decision that took `took` to reach. Waits until its audit line is written, within a time
    /// limit, so that a change that passes in an emergency is recorded before it is answered.
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
            self.alerts.denied(&request.user_info.username, || {
                ReportedObject::of(request, decided.object)
            });
        }
        if matches!(
            decided.verdict.reason,
            Reason::RecordTampered | Reason::RecordDeleted
        ) {
            self.alerts.raise(tampering(decided, now));
        }
        if let Some(emergency) = emergency {
            self.metrics.persisted(emergency.kept.is_ok());
            if decided.decision == Decision::BreakGlass {
                self.metrics.break_glass_used(request.operation);
                self.announce(emergency);
            }
        }
        self.written(&request.uid, line).await;
    }

    /// Alerts about an emergency change, unless the request was a retry.
    fn announce(&self, emergency: &Emergency) {
        if matches!(emergency.kept, Ok(Persisted::Known(_))) {
            return;
        }
        if emergency.kept.is_err() || !self.is_led.load(Ordering::Acquire) {
            let trace = match &emergency.kept {
                Ok(_) => Trace::Record(ChangeState::Pending),
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

    /// Sends the grouped alerts whose window is over.
    pub(crate) fn send_grouped_alerts(&self) {
        let rate = self.alerts.break_glass_rate();
        self.raise_again(self.emergency_alerts.due(rate, Timestamp::now()));
    }

    /// Sends all waiting alerts, and stops the sinks.
    pub async fn close(&self) {
        let rate = self.alerts.break_glass_rate();
        self.raise_again(self.emergency_alerts.rest(rate, Timestamp::now()));
        self.alerts.close().await;
    }

    /// Raises an alert that has a rate of its own, without deduplication.
    fn raise_again(&self, alerts: impl IntoIterator<Item = Alert>) {
        for alert in alerts {
            self.alerts.raise_with_receipt(alert);
        }
    }

    /// Records any request of an emergency identity: only its audit line.
    pub(crate) async fn record_shift(
        &self,
        decided: &Decided<'_>,
        grants: &[String],
        took: Duration,
    ) {
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
            tracing::error!(%error, uid, "failed to write audit line to its sink");
        }
    }
}

/// Raised whether it was denied or not: an attempt to rewrite Helm's records deserves attention.
fn tampering(decided: &Decided<'_>, at: Timestamp) -> Alert {
    let finding = decided.verdict.findings.first();
    let release = finding.map(ReportedRelease::from);
    Alert::records_tampered(&Tampering {
        user: &decided.request.user_info.username,
        operation: match decided.request.operation {
            Operation::Delete => "Delete",
            _ => "Update",
        },
        object: &ReportedObject::of(decided.request, decided.object),
        release: release.as_ref(),
        decision: decided.decision,
        at,
    })
}

#[cfg(test)]
mod tests;
