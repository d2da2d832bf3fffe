//! Which changes get an alert of their own, and which share one with others of their identity.
//!
//! Within a window, only a limited number of changes of an identity are alerted one by one
//! (`spec.alerts.breakGlass`). The others share alerts: that they happened, that they are overdue, that all
//! are resolved. The grouping follows from the records alone, so that every leader computes the same.

use std::collections::{BTreeMap, HashMap, HashSet};

use helm_guard_core::api::{
    ChangeState, EmergencyChange,
    policy::alerts::{AlertKind, AlertRate},
};
use jiff::{SignedDuration, Timestamp};

use super::change::{ChangeKey, state};

/// A change that was resolved longer ago and never announced dates from before announcements were noted.
const OLD: SignedDuration = SignedDuration::from_hours(2);

/// The alerts that the sinks have not accepted yet.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct MissingAlerts {
    /// About one change.
    pub(crate) alone: Vec<(ChangeKey, AlertKind)>,
    /// About several changes of an identity.
    pub(crate) together: BTreeMap<(String, AlertKind), Vec<ChangeKey>>,
}

/// The next alert about a change.
pub(super) fn next(change: &EmergencyChange, now: Timestamp) -> Option<AlertKind> {
    let status = change.status.clone().unwrap_or_default();
    let since = status.since.as_ref().unwrap_or(&change.spec.at).0;
    let is_old = now.duration_since(since) > OLD;
    if status.state.is_resolved() && status.announced.is_empty() && is_old {
        return None;
    }
    let is_due = |kind: AlertKind| match kind {
        AlertKind::BreakGlass => true,
        AlertKind::Overdue => status.state == ChangeState::Overdue,
        AlertKind::Settled => status.state.is_resolved(),
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

type Dated<'c> = (Timestamp, &'c ChangeKey, &'c EmergencyChange);

/// Groups the missing alerts of these changes.
pub(super) fn missing_alerts<'c>(
    changes: impl Iterator<Item = (&'c ChangeKey, &'c EmergencyChange)> + Clone,
    rate: AlertRate,
    now: Timestamp,
) -> MissingAlerts {
    let next = changes.clone().filter_map(|(key, change)| {
        next(change, now).map(|kind| (key, change.spec.user.as_str(), kind))
    });
    let next: Vec<(&ChangeKey, &str, AlertKind)> = next.collect();
    if next.is_empty() {
        return MissingAlerts::default();
    }
    let users: HashSet<&str> = next.iter().map(|(_, user, _)| *user).collect();
    let mut by_user: HashMap<&str, Vec<Dated<'_>>> = HashMap::new();
    for (key, change) in changes.filter(|(_, change)| users.contains(&*change.spec.user)) {
        let of_user = by_user.entry(&change.spec.user).or_default();
        of_user.push((change.spec.at.0, key, change));
    }
    let mut beyond: HashSet<&ChangeKey> = HashSet::new();
    let mut unsettled: HashSet<&str> = HashSet::new();
    for (user, of_user) in &mut by_user {
        of_user.sort_by_key(|(at, key, _)| (*at, *key));
        for (_, key, change) in beyond_rate(of_user, rate) {
            beyond.insert(key);
            if !state(change).is_resolved() {
                unsettled.insert(user);
            }
        }
    }
    let mut missing_alerts = MissingAlerts::default();
    for (key, user, kind) in next {
        if !beyond.contains(key) {
            missing_alerts.alone.push((key.clone(), kind));
        } else if kind != AlertKind::Settled || !unsettled.contains(user) {
            let together = missing_alerts
                .together
                .entry((user.to_owned(), kind))
                .or_default();
            together.push(key.clone());
        }
    }
    missing_alerts
}

/// The changes beyond the number that is alerted one by one in a window.
fn beyond_rate<'s, 'c>(
    sorted: &'s [Dated<'c>],
    rate: AlertRate,
) -> impl Iterator<Item = &'s Dated<'c>> {
    let above = usize::try_from(rate.above).unwrap_or(usize::MAX);
    let before = sorted.iter();
    let pairs = before.zip(sorted.iter().skip(above));
    pairs.filter_map(move |((before, ..), dated)| {
        (dated.0.duration_since(*before) < rate.within.get()).then_some(dated)
    })
}

#[cfg(test)]
mod tests {
    use helm_guard_core::api::Span;
    use jiff::SignedDuration;
    use rstest::rstest;

    use super::*;
    use crate::record::tracker::tests::change;

    const RATE: AlertRate = AlertRate {
        above: 2,
        within: Span::seconds(60),
    };

    const AT: &str = "2026-11-21T03:00:00Z";

    /// Changes of an identity at these seconds, in these states.
    fn changes(user: &str, made: &[(i64, &str)]) -> Vec<(ChangeKey, EmergencyChange)> {
        let made = made.iter().map(|(second, state)| {
            let at: Timestamp = AT.parse().unwrap();
            let at = at + SignedDuration::from_secs(*second);
            let name = format!("{user}-{second:03}");
            let mut change = change(&name, "1", state, &at.to_string());
            change.spec.user = user.to_owned();
            change.spec.at.0 = at;
            (ChangeKey::of(&change), change)
        });
        made.collect()
    }

    /// The alerts about `changes`: names, in order.
    fn alerts(
        changes: &[(ChangeKey, EmergencyChange)],
    ) -> (Vec<String>, Vec<(String, Vec<String>)>) {
        let now: Timestamp = AT.parse().unwrap();
        let pairs = changes.iter().map(|(key, change)| (key, change));
        let missing_alerts = missing_alerts(pairs, RATE, now + SignedDuration::from_mins(5));
        let name = |key: &ChangeKey| key.to_string().replace("shop/", "");
        let alone = missing_alerts.alone.iter();
        let together = missing_alerts.together.iter().map(|((user, kind), keys)| {
            let what = format!("{user} {}", kind.as_str());
            (what, keys.iter().map(name).collect())
        });
        (
            alone
                .map(|(key, kind)| format!("{} {}", name(key), kind.as_str()))
                .collect(),
            together.collect(),
        )
    }

    fn announced(changes: &mut [(ChangeKey, EmergencyChange)], kind: AlertKind) {
        for (_, change) in changes {
            let status = change.status.get_or_insert_default();
            status.announced.push(kind);
        }
    }

    #[test]
    fn changes_beyond_the_rate_share_an_alert_per_identity() {
        let mut all = changes(
            "ada",
            &[(0, "Open"), (10, "Open"), (20, "Open"), (59, "Pending")],
        );
        all.extend(changes("bob", &[(0, "Open"), (1, "Open"), (61, "Open")]));
        let (alone, together) = alerts(&all);
        let expected = ["ada-000", "ada-010", "bob-000", "bob-001", "bob-061"];
        assert_eq!(alone, expected.map(|name| format!("{name} BreakGlass")));
        let ada = ["ada-020".to_owned(), "ada-059".to_owned()].to_vec();
        assert_eq!(together, [("ada BreakGlass".to_owned(), ada)]);
    }

    #[test]
    fn the_order_in_which_records_are_listed_makes_no_difference() {
        let mut all = changes("ada", &[(0, "Open"), (10, "Open"), (20, "Open")]);
        let (_, expected) = alerts(&all);
        all.reverse();
        assert_eq!(alerts(&all).1, expected);
    }

    #[test]
    fn a_noted_alert_is_not_sent_again_and_still_counts() {
        let mut all = changes("ada", &[(0, "Open"), (10, "Open"), (20, "Open")]);
        announced(&mut all[..2], AlertKind::BreakGlass);
        let (alone, together) = alerts(&all);
        assert!(alone.is_empty(), "{alone:?}");
        assert_eq!(together.len(), 1);
        announced(&mut all[2..], AlertKind::BreakGlass);
        assert_eq!(alerts(&all), (Vec::new(), Vec::new()));
    }

    #[test]
    fn the_resolution_of_several_is_alerted_when_all_are_resolved() {
        let made = [(0, "Open"), (1, "Open"), (2, "Reverted"), (3, "Open")];
        let mut all = changes("ada", &made);
        announced(&mut all, AlertKind::BreakGlass);
        assert_eq!(alerts(&all), (Vec::new(), Vec::new()));
        all[3].1.status.as_mut().unwrap().state = helm_guard_core::api::ChangeState::Absorbed;
        let ended = ["ada-002".to_owned(), "ada-003".to_owned()].to_vec();
        assert_eq!(alerts(&all).1, [("ada Settled".to_owned(), ended)]);
    }

    #[test]
    fn overdue_changes_share_an_alert() {
        let mut all = changes("ada", &[(0, "Overdue"), (1, "Overdue"), (2, "Overdue")]);
        announced(&mut all, AlertKind::BreakGlass);
        let (alone, together) = alerts(&all);
        assert_eq!(alone.len(), 2);
        assert_eq!(together[0].0, "ada Overdue");
    }

    const SINCE: &str = "2026-11-21T03:00:00Z";

    #[rstest]
    #[case::new("Pending", &[], 0, Some(AlertKind::BreakGlass))]
    #[case::alerts("Open", &[AlertKind::BreakGlass], 0, None)]
    #[case::overdue("Overdue", &[AlertKind::BreakGlass], 0, Some(AlertKind::Overdue))]
    #[case::overdue_before_anybody_was_told("Overdue", &[], 48, Some(AlertKind::BreakGlass))]
    #[case::overdue_and_told("Overdue", &[AlertKind::BreakGlass, AlertKind::Overdue], 48, None)]
    #[case::settled("Absorbed", &[AlertKind::BreakGlass], 48, Some(AlertKind::Settled))]
    #[case::settled_before_anybody_was_told("Reverted", &[], 1, Some(AlertKind::BreakGlass))]
    #[case::settled_before_this_was_noted("Reverted", &[], 3, None)]
    #[case::over("Void", &[AlertKind::BreakGlass, AlertKind::Settled], 0, None)]
    fn an_alert_that_is_not_noted_is_sent(
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
