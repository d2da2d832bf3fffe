//! Watches the guard itself and sends alerts: it has not been ready for some time, audit lines cannot be
//! written, or its registration was changed or deleted.
//!
//! Start at [`Conditions::evaluate`], which is pure.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use helm_guard_core::api::policy::alerts::AlertKind;
use jiff::Timestamp;

use super::health::Health;
use crate::{
    record::{Recorder, alerts::Alert},
    webhook::admin,
};

/// How often the conditions are evaluated.
const POLL_INTERVAL: Duration = Duration::from_secs(2);

/// How long a guard may be unready, because of a start or an unavailable API server.
const UNREADY: Duration = Duration::from_secs(120);

/// How long audit lines must be written without errors to count as repaired.
const REPAIRED: Duration = Duration::from_secs(60);

/// How long replicas may take to pick up a policy or a certificate.
const SETTLED: Duration = Duration::from_secs(15);

/// How often a firing alert is repeated, because an alert expires after an hour.
const REPEAT_INTERVAL: Duration = Duration::from_secs(1800);

/// Evaluates the conditions of the guard and sends alerts.
pub(super) struct Watchdog {
    health: Health,
    recorder: Arc<Recorder>,
    conditions: Conditions,
}

impl Watchdog {
    /// `process` is the name of this replica.
    pub(super) fn new(health: Health, recorder: Arc<Recorder>, process: String) -> Self {
        let conditions = Conditions {
            process,
            ready: Condition::new(UNREADY, Duration::ZERO),
            audit: Condition::new(Duration::ZERO, REPAIRED),
            audit_errors: 0,
        };
        Self {
            health,
            recorder,
            conditions,
        }
    }

    /// Does not return.
    pub(super) async fn run(mut self) {
        let mut ticks = tokio::time::interval(POLL_INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let seen = self.observe();
            let alerts = self
                .conditions
                .evaluate(&seen, Instant::now(), Timestamp::now());
            for alert in alerts {
                self.recorder.notice(alert).await;
            }
        }
    }

    fn observe(&self) -> WatchedCondition {
        // A process that is shutting down is not ready, but this is no reason for an alert.
        let missing = self.health.checks().into_iter().filter_map(|check| {
            let admin::Health::Missing(what) = check.health else {
                return None;
            };
            (check.name != "process").then(|| format!("{}: {what}", check.name))
        });
        let registered = self.health.registered.as_ref();
        WatchedCondition {
            missing: missing.collect(),
            is_stalled: self.health.audit.is_stalled(),
            audit_errors: self.recorder.metrics.audit_failures(),
            registration: registered
                .map(|registered| registered.take_disturbances(SETTLED))
                .unwrap_or_default(),
        }
    }
}

/// One observation.
#[derive(Clone, Debug, Default)]
struct WatchedCondition {
    /// Failed readiness checks.
    missing: Vec<String>,
    is_stalled: bool,
    /// Audit lines that could not be written since the start.
    audit_errors: u64,
    /// Changes of the registration by others.
    registration: Vec<String>,
}

/// The state of all conditions.
#[derive(Debug)]
struct Conditions {
    process: String,
    ready: Condition,
    audit: Condition,
    audit_errors: u64,
}

impl Conditions {
    fn evaluate(&mut self, seen: &WatchedCondition, now: Instant, at: Timestamp) -> Vec<Alert> {
        let mut alerts = Vec::new();
        for what in &seen.registration {
            let summary = format!("the webhook registration was changed by somebody else: {what}");
            // Each change is an alert of its own.
            let key = format!("{}/{what}", at.as_second());
            alerts.push(Alert::of_guard(
                AlertKind::RegistrationChanged,
                &key,
                &summary,
                at,
            ));
        }
        let process = self.process.clone();
        let own = |kind, summary: &str| Alert::of_guard(kind, &process, summary, at);
        match self.ready.evaluate(!seen.missing.is_empty(), now) {
            Some(Turn::Begins) => {
                let what = seen.missing.join("; ");
                let summary = format!("replica {process} has not been ready for some time: {what}");
                alerts.push(own(AlertKind::NotReady, &summary));
            }
            Some(Turn::Ends) => {
                let summary = format!("replica {process} is ready again");
                alerts.push(own(AlertKind::NotReady, &summary).resolved());
            }
            None => {}
        }
        let has_failed = seen.is_stalled || seen.audit_errors > self.audit_errors;
        self.audit_errors = seen.audit_errors;
        match self.audit.evaluate(has_failed, now) {
            Some(Turn::Begins) => {
                let summary = format!(
                    "replica {process} fails to write its audit log; lines go to standard error if \
                     possible"
                );
                alerts.push(own(AlertKind::AuditFailing, &summary));
            }
            Some(Turn::Ends) => {
                let summary = format!("replica {process} writes its audit log again");
                alerts.push(own(AlertKind::AuditFailing, &summary).resolved());
            }
            None => {}
        }
        alerts
    }
}

/// A condition with an alert when it has lasted, and one when it is resolved.
#[derive(Debug)]
struct Condition {
    begins_after: Duration,
    ends_after: Duration,
    /// Since when it has held without interruption.
    since: Option<Instant>,
    /// When it last held.
    last: Option<Instant>,
    /// When its alert was last sent.
    last_sent: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Begins,
    Ends,
}

impl Condition {
    fn new(begins_after: Duration, ends_after: Duration) -> Self {
        Self {
            begins_after,
            ends_after,
            since: None,
            last: None,
            last_sent: None,
        }
    }

    /// Updates the condition, and returns a change to report.
    fn evaluate(&mut self, is_so: bool, now: Instant) -> Option<Turn> {
        if is_so {
            self.last = Some(now);
            let since = *self.since.get_or_insert(now);
            let has_lasted = now.duration_since(since) >= self.begins_after;
            let is_news = self
                .last_sent
                .is_none_or(|sent| now.duration_since(sent) >= REPEAT_INTERVAL);
            if has_lasted && is_news {
                self.last_sent = Some(now);
                return Some(Turn::Begins);
            }
            return None;
        }
        self.since = None;
        let is_over = self
            .last
            .is_none_or(|last| now.duration_since(last) >= self.ends_after);
        (is_over && self.last_sent.take().is_some()).then_some(Turn::Ends)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::alerts::alert::AlertStatus;

    fn conditions() -> Conditions {
        Conditions {
            process: "guard-0".to_owned(),
            ready: Condition::new(UNREADY, Duration::ZERO),
            audit: Condition::new(Duration::ZERO, REPAIRED),
            audit_errors: 0,
        }
    }

    /// The alerts at each of these seconds.
    fn alerts_of(looks: &[(u64, WatchedCondition)]) -> Vec<(u64, AlertKind, AlertStatus)> {
        let (mut conditions, start) = (conditions(), Instant::now());
        let mut sent = Vec::new();
        for (second, seen) in looks {
            let now = start + Duration::from_secs(*second);
            let alerts = conditions.evaluate(seen, now, Timestamp::UNIX_EPOCH);
            sent.extend(
                alerts
                    .iter()
                    .map(|alert| (*second, alert.kind, alert.status)),
            );
        }
        sent
    }

    fn unready() -> WatchedCondition {
        WatchedCondition {
            missing: vec!["index: no list yet".to_owned()],
            ..WatchedCondition::default()
        }
    }

    #[test]
    fn the_not_ready_alert_is_delayed_repeated_and_resolved() {
        let looks = [
            (0, unready()),
            (119, unready()),
            (120, unready()),
            (600, unready()),
            (1920, unready()),
            (1922, WatchedCondition::default()),
            (1924, WatchedCondition::default()),
        ];
        assert_eq!(
            alerts_of(&looks),
            [
                (120, AlertKind::NotReady, AlertStatus::Firing),
                (1920, AlertKind::NotReady, AlertStatus::Firing),
                (1922, AlertKind::NotReady, AlertStatus::Resolved),
            ]
        );
    }

    #[test]
    fn a_ready_guard_resets_the_delay_of_the_alert() {
        let looks = [
            (0, unready()),
            (100, WatchedCondition::default()),
            (130, unready()),
            (200, unready()),
        ];
        assert_eq!(alerts_of(&looks), []);
    }

    #[test]
    fn the_audit_alert_resolves_after_some_time_without_failures() {
        let failed = |audit_errors| WatchedCondition {
            audit_errors,
            ..WatchedCondition::default()
        };
        let stalled = WatchedCondition {
            is_stalled: true,
            ..failed(1)
        };
        let looks = [
            (0, failed(0)),
            (2, failed(1)),
            (30, stalled),
            (89, failed(1)),
            (90, failed(1)),
        ];
        assert_eq!(
            alerts_of(&looks),
            [
                (2, AlertKind::AuditFailing, AlertStatus::Firing),
                (90, AlertKind::AuditFailing, AlertStatus::Resolved),
            ]
        );
    }

    #[test]
    fn changes_of_the_registration_by_others_are_reported() {
        let seen = WatchedCondition {
            registration: vec![
                "deleted; it was created again".to_owned(),
                "changed: the rules; it was corrected".to_owned(),
            ],
            ..WatchedCondition::default()
        };
        let alerts = conditions().evaluate(&seen, Instant::now(), Timestamp::UNIX_EPOCH);
        let summaries: Vec<&str> = alerts.iter().map(|alert| &*alert.summary).collect();
        assert_eq!(
            summaries,
            [
                "the webhook registration was changed by somebody else: deleted; it was created again",
                "the webhook registration was changed by somebody else: changed: the rules; it was corrected",
            ]
        );
    }
}
