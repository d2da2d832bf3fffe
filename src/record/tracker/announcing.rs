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
    EmergencyChange, State,
    policy::alerts::{AlertKind, AlertRate},
};
use jiff::{SignedDuration, Timestamp};

use super::{Book, Key, ROUND, Tracker, book::state};
use crate::record::alerts::{
    Alert, Delivery, Receipt,
    summary::{ChangeSummary, Trace},
};

/// Before what no sink has taken is told again: the sinks' own tries are over then.
const AGAIN: Duration = Duration::from_secs(600);

/// A change that was settled longer ago, and of which nobody was told, is from before this was noted.
const OLD: SignedDuration = SignedDuration::from_hours(2);

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

/// What the sinks are to be told next.
pub(super) fn next(change: &EmergencyChange, now: Timestamp) -> Option<AlertKind> {
    let status = change.status.clone().unwrap_or_default();
    let since = status.since.as_ref().unwrap_or(&change.spec.at).0;
    let is_old = now.duration_since(since) > OLD;
    if status.state.is_settled() && status.announced.is_empty() && is_old {
        return None;
    }
    let is_due = |kind: AlertKind| match kind {
        AlertKind::BreakGlass => true,
        AlertKind::Overdue => status.state == State::Overdue,
        AlertKind::Settled => status.state.is_settled(),
        _ => false,
    };
    [
        AlertKind::BreakGlass,
        AlertKind::Overdue,
        AlertKind::Settled,
    ]
    .into_iter()
    .find(|kind| is_due(*kind) && !status.announced.contains(kind))
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

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::record::tracker::tests::change;

    const SINCE: &str = "2026-11-21T03:00:00Z";

    #[rstest]
    #[case::new("Pending", &[], 0, Some(AlertKind::BreakGlass))]
    #[case::told("Open", &[AlertKind::BreakGlass], 0, None)]
    #[case::overdue("Overdue", &[AlertKind::BreakGlass], 0, Some(AlertKind::Overdue))]
    #[case::overdue_before_anybody_was_told("Overdue", &[], 48, Some(AlertKind::BreakGlass))]
    #[case::overdue_and_told("Overdue", &[AlertKind::BreakGlass, AlertKind::Overdue], 48, None)]
    #[case::settled("Absorbed", &[AlertKind::BreakGlass], 48, Some(AlertKind::Settled))]
    #[case::settled_before_anybody_was_told("Reverted", &[], 1, Some(AlertKind::BreakGlass))]
    #[case::settled_before_this_was_noted("Reverted", &[], 3, None)]
    #[case::over("Void", &[AlertKind::BreakGlass, AlertKind::Settled], 0, None)]
    fn what_is_not_noted_is_told(
        #[case] state: &str,
        #[case] announced: &[AlertKind],
        #[case] hours: i64,
        #[case] expected: Option<AlertKind>,
    ) {
        let mut change = change("a", "1", state, SINCE);
        change.status.as_mut().unwrap().announced = announced.to_vec();
        let since: Timestamp = SINCE.parse().unwrap();
        let now = since + SignedDuration::from_hours(hours);
        assert_eq!(next(&change, now), expected);
    }
}
