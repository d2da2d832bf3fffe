//! Alerts of emergency changes, told at least once.
//!
//! A change notes what the sinks were told of it. What is not noted is told, and noted when a sink has taken
//! it; a process that ends in between leaves it to the next leader, which tells it again. The same alert has
//! the same key, so a sink that knows alerts by their keys shows one.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use helm_guard_core::api::{
    EmergencyChange,
    policy::alerts::{AlertKind, AlertRate},
};
use jiff::Timestamp;

use super::{Book, Key, ROUND, Tracker, change::state};
use crate::record::alerts::{
    Alert, Delivery, Receipt,
    summary::{ChangeSummary, Trace},
};

/// Before what no sink has taken is told again: the sinks' own tries are over then.
const AGAIN: Duration = Duration::from_secs(600);

/// Alerts that are under way.
#[derive(Default)]
pub(super) struct Announcements {
    /// Of one change.
    alone: HashMap<(Key, AlertKind), (Receipt, Instant)>,
    /// Of many changes of an identity, also while the window is not over in which they were told.
    together: HashMap<(String, AlertKind), Together>,
}

/// An alert of many changes.
struct Together {
    receipt: Receipt,
    at: Instant,
    /// Those in which it is not noted yet.
    changes: Vec<Key>,
}

impl Tracker {
    /// Tells what is not noted, and notes what was told.
    pub(super) async fn announce(&self, book: &mut Book, announcements: &mut Announcements) {
        let now = Timestamp::now();
        let rate = self.recorder.alerts.break_glass_rate();
        let untold = book.untold(rate, now);
        self.announce_alone(book, announcements, untold.alone).await;
        for ((user, kind), keys) in untold.together {
            let what = (user, kind);
            if announcements.may_begin(&what, rate) {
                let mut summary = ChangeSummary::of(&what.0);
                for change in keys.iter().filter_map(|key| book.get(key)) {
                    summary.add(&change.spec, Trace::Record(state(change)));
                }
                let alert = summary.alert(kind, rate, now);
                announcements.begin(what, self.raise(alert), keys);
            }
        }
        self.note_together(book, announcements).await;
        announcements.forget(book, rate);
    }

    async fn announce_alone(
        &self,
        book: &mut Book,
        announcements: &mut Announcements,
        untold: Vec<(Key, AlertKind)>,
    ) {
        let under_way = &mut announcements.alone;
        let mut begun = 0;
        for what in untold {
            let (key, kind) = &what;
            let Some((receipt, at)) = under_way.get(&what) else {
                // The others wait for the next tick, and never for a sink that hangs.
                if let Some(change) = book.get(key).filter(|_| begun < ROUND) {
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
                    if self.note(book, key, *kind).await {
                        under_way.remove(&what);
                    }
                }
            }
        }
    }

    /// Notes in each change what was told of many.
    async fn note_together(&self, book: &mut Book, announcements: &mut Announcements) {
        let mut round = 0;
        for ((_, kind), summary) in &mut announcements.together {
            if summary.receipt.delivery() != Delivery::Told {
                continue;
            }
            let mut left = Vec::new();
            for key in std::mem::take(&mut summary.changes) {
                let is_due = round < ROUND;
                round += usize::from(is_due);
                if !is_due || !self.note(book, &key, *kind).await {
                    left.push(key);
                }
            }
            summary.changes = left;
        }
    }

    /// Notes in a change what the sinks were told of it. Whether that is done with.
    async fn note(&self, book: &mut Book, key: &Key, kind: AlertKind) -> bool {
        let Some(change) = book.get(key) else {
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
                book.announced(written);
                true
            }
            // Somebody else wrote, or it is gone: the watch tells, and it is noted then.
            Err(failure) if matches!(failure.code, Some(404 | 409)) => false,
            Err(failure) => {
                tracing::warn!(change = %key, error = %failure, "failed to note an alert that was sent");
                false
            }
        }
    }

    fn raise(&self, alert: Alert) -> Receipt {
        self.recorder.alerts.raise_with_receipt(alert)
    }
}

impl Announcements {
    /// Whether more changes of this identity may be told together now: the last are told, and a window ago.
    fn may_begin(&self, what: &(String, AlertKind), rate: AlertRate) -> bool {
        self.together
            .get(what)
            .is_none_or(|last| last.is_over(rate))
    }

    fn begin(&mut self, what: (String, AlertKind), receipt: Receipt, changes: Vec<Key>) {
        let told = Together {
            receipt,
            at: Instant::now(),
            changes,
        };
        self.together.insert(what, told);
    }

    /// Forgets what is over, and tells again what no sink has taken.
    fn forget(&mut self, book: &Book, rate: AlertRate) {
        self.alone.retain(|(key, _), _| book.get(key).is_some());
        self.together.retain(|_, told| {
            let is_lost = told.receipt.delivery() == Delivery::Lost && told.at.elapsed() >= AGAIN;
            !is_lost && !told.is_over(rate)
        });
    }
}

impl Together {
    fn is_over(&self, rate: AlertRate) -> bool {
        self.changes.is_empty() && self.at.elapsed() >= rate.within.get().unsigned_abs()
    }
}

/// What people are told of a change.
fn alert(change: &EmergencyChange, kind: AlertKind) -> Alert {
    let status = change.status.clone().unwrap_or_default();
    let (spec, now) = (&change.spec, Timestamp::now());
    match kind {
        AlertKind::Overdue => Alert::overdue(spec, now),
        AlertKind::Settled => Alert::settled(spec, status.state, status.revision, now),
        _ => Alert::broke_glass(spec),
    }
}
