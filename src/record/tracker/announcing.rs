//! Alerts about emergency changes, sent at least once.
//!
//! A change lists the alerts that its sinks have accepted. A missing alert is sent, and noted when a sink has
//! accepted it. If the process ends in between, the next leader sends it again, with the same key, so that a
//! sink that deduplicates by key shows it once.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use helm_guard_core::api::{
    EmergencyChange,
    policy::alerts::{AlertKind, AlertRate},
};
use jiff::Timestamp;

use super::{ChangeKey, ChangeQueue, ROUND, Tracker, change::state};
use crate::record::alerts::{
    Alert, Delivery, Receipt,
    summary::{ChangeSummary, Trace},
};

/// How long to wait before an alert that no sink accepted is sent again: the retries of the sinks are over by
/// then.
const AGAIN: Duration = Duration::from_secs(600);

/// Alerts that are being sent.
#[derive(Default)]
pub(super) struct Announcements {
    /// About one change.
    alone: HashMap<(ChangeKey, AlertKind), (Receipt, Instant)>,
    /// About several changes of an identity; kept until the window in which they were sent is over.
    together: HashMap<(String, AlertKind), GroupAlert>,
}

/// An alert about several changes.
struct GroupAlert {
    receipt: Receipt,
    at: Instant,
    /// The changes in which it is not noted yet.
    changes: Vec<ChangeKey>,
}

impl Tracker {
    /// Sends the missing alerts, and notes those that were accepted.
    pub(super) async fn announce(
        &self,
        queue: &mut ChangeQueue,
        announcements: &mut Announcements,
    ) {
        let now = Timestamp::now();
        let rate = self.recorder.alerts.break_glass_rate();
        let missing_alerts = queue.missing_alerts(rate, now);
        self.announce_alone(queue, announcements, missing_alerts.alone)
            .await;
        for ((user, kind), keys) in missing_alerts.together {
            let what = (user, kind);
            if announcements.may_begin(&what, rate) {
                let mut summary = ChangeSummary::of(&what.0);
                for change in keys.iter().filter_map(|key| queue.get(key)) {
                    summary.add(&change.spec, Trace::Record(state(change)));
                }
                let alert = summary.alert(kind, rate, now);
                announcements.begin(what, self.raise(alert), keys);
            }
        }
        self.note_group(queue, announcements).await;
        announcements.forget(queue, rate);
    }

    async fn announce_alone(
        &self,
        queue: &mut ChangeQueue,
        announcements: &mut Announcements,
        missing_alerts: Vec<(ChangeKey, AlertKind)>,
    ) {
        let under_way = &mut announcements.alone;
        let mut begun = 0;
        for what in missing_alerts {
            let (key, kind) = &what;
            let Some((receipt, at)) = under_way.get(&what) else {
                // The rest waits for the next tick, and never for a sink that hangs.
                if let Some(change) = queue.get(key).filter(|_| begun < ROUND) {
                    begun += 1;
                    let receipt = self.raise(alert(change, *kind));
                    under_way.insert(what, (receipt, Instant::now()));
                }
                continue;
            };
            match receipt.delivery() {
                Delivery::Lost if at.elapsed() >= AGAIN => {
                    under_way.remove(&what);
                }
                Delivery::Waiting | Delivery::Lost => {}
                Delivery::Told => {
                    if self.note(queue, key, *kind).await {
                        under_way.remove(&what);
                    }
                }
            }
        }
    }

    /// Notes an alert about several changes in each of them.
    async fn note_group(&self, queue: &mut ChangeQueue, announcements: &mut Announcements) {
        let mut round = 0;
        for ((_, kind), summary) in &mut announcements.together {
            if summary.receipt.delivery() != Delivery::Told {
                continue;
            }
            let mut left = Vec::new();
            for key in std::mem::take(&mut summary.changes) {
                let is_due = round < ROUND;
                round += usize::from(is_due);
                if !is_due || !self.note(queue, &key, *kind).await {
                    left.push(key);
                }
            }
            summary.changes = left;
        }
    }

    /// Notes an accepted alert in a change. Returns whether that is done.
    async fn note(&self, queue: &mut ChangeQueue, key: &ChangeKey, kind: AlertKind) -> bool {
        let Some(change) = queue.get(key) else {
            return true;
        };
        let mut told = change.clone();
        let announced = &mut told.status.get_or_insert_default().announced;
        if announced.contains(&kind) {
            return true;
        }
        announced.push(kind);
        match self.replace(told).await {
            Ok(written) => {
                queue.announced(written);
                true
            }
            // Another writer was faster, or it is gone: the watch reports it, and it is noted then.
            Err(failure) if matches!(failure.code, Some(404 | 409)) => false,
            Err(failure) => {
                tracing::warn!(change = %key, error = %failure, "failed to note a sent alert in the emergency change");
                false
            }
        }
    }

    fn raise(&self, alert: Alert) -> Receipt {
        self.recorder.alerts.raise_with_receipt(alert)
    }
}

impl Announcements {
    /// Whether a new group alert of this identity may be sent: the last one is accepted and its window is
    /// over.
    fn may_begin(&self, what: &(String, AlertKind), rate: AlertRate) -> bool {
        self.together
            .get(what)
            .is_none_or(|last| last.is_over(rate))
    }

    fn begin(&mut self, what: (String, AlertKind), receipt: Receipt, changes: Vec<ChangeKey>) {
        let told = GroupAlert {
            receipt,
            at: Instant::now(),
            changes,
        };
        self.together.insert(what, told);
    }

    /// Forgets what is done, and sends again what no sink has accepted.
    fn forget(&mut self, queue: &ChangeQueue, rate: AlertRate) {
        self.alone.retain(|(key, _), _| queue.get(key).is_some());
        self.together.retain(|_, told| {
            let is_lost = told.receipt.delivery() == Delivery::Lost && told.at.elapsed() >= AGAIN;
            !is_lost && !told.is_over(rate)
        });
    }
}

impl GroupAlert {
    fn is_over(&self, rate: AlertRate) -> bool {
        self.changes.is_empty() && self.at.elapsed() >= rate.within.get().unsigned_abs()
    }
}

/// The alert about a change.
fn alert(change: &EmergencyChange, kind: AlertKind) -> Alert {
    let status = change.status.clone().unwrap_or_default();
    let (spec, now) = (&change.spec, Timestamp::now());
    match kind {
        AlertKind::Overdue => Alert::overdue(spec, now),
        AlertKind::Settled => Alert::settled(spec, status.state, status.revision, now),
        _ => Alert::break_glass(spec),
    }
}
