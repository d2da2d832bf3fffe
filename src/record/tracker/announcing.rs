//! Alerts of emergency changes, told at least once.
//!
//! A change notes what the sinks were told of it. What is not noted is told, and noted when a sink has taken
//! it; a process that ends in between leaves it to the next leader, which tells it again. The same alert has
//! the same key, so a sink that knows alerts by their keys shows one.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use helm_guard_core::api::{EmergencyChange, State, policy::alerts::AlertKind};
use jiff::{SignedDuration, Timestamp};

use super::{Book, Key, Tracker};
use crate::record::alerts::{Delivery, Receipt};

/// Before what no sink has taken is told again: the sinks' own tries are over then.
const AGAIN: Duration = Duration::from_secs(600);

/// A change that was settled longer ago, and of which nobody was told, is from before this was noted.
const OLD: SignedDuration = SignedDuration::from_hours(2);

/// Alerts that are under way.
#[derive(Default)]
pub(super) struct Announcements(HashMap<(Key, AlertKind), (Receipt, Instant)>);

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
        let under_way = &mut announcements.0;
        let mut begun = 0;
        for (key, kind) in book.unannounced(now) {
            let Some(change) = book.get(&key) else {
                continue;
            };
            let what = (key.clone(), kind);
            let Some((receipt, at)) = under_way.get(&what) else {
                // The others wait for the next tick, and never for a sink that hangs.
                if begun < super::ROUND {
                    begun += 1;
                    let receipt = (self.announce)(change, kind);
                    under_way.insert(what, (receipt, Instant::now()));
                }
                continue;
            };
            match receipt.delivery() {
                Delivery::Waiting => {}
                Delivery::Lost if at.elapsed() < AGAIN => {}
                Delivery::Lost => {
                    under_way.remove(&what);
                }
                Delivery::Told => {
                    let mut told = change.clone();
                    let status = told.status.get_or_insert_default();
                    status.announced.push(kind);
                    match self.replace(told).await {
                        Ok(written) => {
                            under_way.remove(&what);
                            book.announced(written);
                        }
                        // Somebody else wrote, or it is gone: the watch tells, and it is noted then.
                        Err(failure) if matches!(failure.code, Some(404 | 409)) => {}
                        Err(failure) => {
                            tracing::warn!(change = %key, error = %failure, "failed to note an alert that was sent");
                        }
                    }
                }
            }
        }
        under_way.retain(|(key, _), _| book.get(key).is_some());
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
