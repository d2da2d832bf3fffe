//! Watches the guard itself, and tells people what it cannot do: it has not been ready for some time, its audit
//! lines are not where they belong, its registration was changed or deleted.
//!
//! Start at [`Conditions::weigh`], which is pure; the rest looks and tells.

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

/// How often it looks.
const LOOK: Duration = Duration::from_secs(2);

/// How long a start, or an API server that is away, may keep a guard unready.
const UNREADY: Duration = Duration::from_secs(120);

/// How long audit lines must be where they belong until that counts as repaired.
const REPAIRED: Duration = Duration::from_secs(60);

/// How long replicas may take to follow a policy or a certificate, one after the other.
const SETTLED: Duration = Duration::from_secs(15);

/// How often what goes on is said again: sinks forget, and an alert stands for an hour.
const SAY_AGAIN: Duration = Duration::from_secs(1800);

/// Looks at the guard, and tells.
pub(super) struct Watchdog {
    health: Health,
    recorder: Arc<Recorder>,
    conditions: Conditions,
}

impl Watchdog {
    /// `process` is the name of this one among its replicas.
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
        let mut looks = tokio::time::interval(LOOK);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            let seen = self.look();
            let alerts = self
                .conditions
                .weigh(&seen, Instant::now(), Timestamp::now());
            for alert in alerts {
                self.recorder.notice(alert).await;
            }
        }
    }

    fn look(&self) -> WatchedCondition {
        // A process that ends is not ready, and no reason to tell anybody.
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

/// What a look shows.
#[derive(Clone, Debug, Default)]
struct WatchedCondition {
    /// What the guard waits for.
    missing: Vec<String>,
    is_stalled: bool,
    /// Audit lines that were not where they belong, since the start.
    audit_errors: u64,
    /// What others did to the registration.
    registration: Vec<String>,
}

/// What goes on.
#[derive(Debug)]
struct Conditions {
    process: String,
    ready: Condition,
    audit: Condition,
    audit_errors: u64,
}

impl Conditions {
    fn weigh(&mut self, seen: &WatchedCondition, now: Instant, at: Timestamp) -> Vec<Alert> {
        let mut alerts = Vec::new();
        for what in &seen.registration {
            let summary = format!("somebody else touched the webhook's registration: {what}");
            // The second of two attempts is another matter than the first.
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
        match self.ready.weigh(!seen.missing.is_empty(), now) {
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
        match self.audit.weigh(has_failed, now) {
            Some(Turn::Begins) => {
                let summary = format!(
                    "audit lines of replica {process} are not where they belong; they are on standard \
                     error, if anywhere"
                );
                alerts.push(own(AlertKind::AuditFailing, &summary));
            }
            Some(Turn::Ends) => {
                let summary = format!("the audit log of replica {process} takes lines again");
                alerts.push(own(AlertKind::AuditFailing, &summary).resolved());
            }
            None => {}
        }
        alerts
    }
}

/// Something that is told when it has lasted, and when it is over.
#[derive(Debug)]
struct Condition {
    begins_after: Duration,
    ends_after: Duration,
    /// Since when it is so without a break.
    since: Option<Instant>,
    /// When it was so last.
    last: Option<Instant>,
    /// When it was said last.
    said: Option<Instant>,
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
            said: None,
        }
    }

    /// What there is to say now.
    fn weigh(&mut self, is_so: bool, now: Instant) -> Option<Turn> {
        if is_so {
            self.last = Some(now);
            let since = *self.since.get_or_insert(now);
            let has_lasted = now.duration_since(since) >= self.begins_after;
            let is_news = self
                .said
                .is_none_or(|said| now.duration_since(said) >= SAY_AGAIN);
            if has_lasted && is_news {
                self.said = Some(now);
                return Some(Turn::Begins);
            }
            return None;
        }
        self.since = None;
        let is_over = self
            .last
            .is_none_or(|last| now.duration_since(last) >= self.ends_after);
        (is_over && self.said.take().is_some()).then_some(Turn::Ends)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::alerts::alert::Status;

    fn conditions() -> Conditions {
        Conditions {
            process: "guard-0".to_owned(),
            ready: Condition::new(UNREADY, Duration::ZERO),
            audit: Condition::new(Duration::ZERO, REPAIRED),
            audit_errors: 0,
        }
    }

    /// What is said at each of these seconds.
    fn said(looks: &[(u64, WatchedCondition)]) -> Vec<(u64, AlertKind, Status)> {
        let (mut conditions, start) = (conditions(), Instant::now());
        let mut said = Vec::new();
        for (second, seen) in looks {
            let now = start + Duration::from_secs(*second);
            let alerts = conditions.weigh(seen, now, Timestamp::UNIX_EPOCH);
            said.extend(
                alerts
                    .iter()
                    .map(|alert| (*second, alert.kind, alert.status)),
            );
        }
        said
    }

    fn unready() -> WatchedCondition {
        WatchedCondition {
            missing: vec!["index: no list yet".to_owned()],
            ..WatchedCondition::default()
        }
    }

    #[test]
    fn a_guard_that_is_not_ready_for_long_is_told_and_told_again_and_taken_back() {
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
            said(&looks),
            [
                (120, AlertKind::NotReady, Status::Firing),
                (1920, AlertKind::NotReady, Status::Firing),
                (1922, AlertKind::NotReady, Status::Resolved),
            ]
        );
    }

    #[test]
    fn a_guard_that_is_ready_now_and_then_begins_anew() {
        let looks = [
            (0, unready()),
            (100, WatchedCondition::default()),
            (130, unready()),
            (200, unready()),
        ];
        assert_eq!(said(&looks), []);
    }

    #[test]
    fn audit_lines_that_go_astray_are_told_until_they_arrive_for_some_time() {
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
            said(&looks),
            [
                (2, AlertKind::AuditFailing, Status::Firing),
                (90, AlertKind::AuditFailing, Status::Resolved),
            ]
        );
    }

    #[test]
    fn what_others_do_to_the_registration_is_told() {
        let seen = WatchedCondition {
            registration: vec![
                "deleted; it was created again".to_owned(),
                "changed: the rules; it was corrected".to_owned(),
            ],
            ..WatchedCondition::default()
        };
        let alerts = conditions().weigh(&seen, Instant::now(), Timestamp::UNIX_EPOCH);
        let summaries: Vec<&str> = alerts.iter().map(|alert| &*alert.summary).collect();
        assert_eq!(
            summaries,
            [
                "somebody else touched the webhook's registration: deleted; it was created again",
                "somebody else touched the webhook's registration: changed: the rules; it was corrected",
            ]
        );
    }
}
