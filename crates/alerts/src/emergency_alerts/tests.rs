//! Alerts about an identity that makes change after change.

use helm_guard_core::{api::Span, policy::alerts::template::AlertDetail};
use jiff::SignedDuration;

use super::*;
use crate::alert::tests::{at, change};

const RATE: AlertRate = AlertRate {
    above: 3,
    within: Span::seconds(60),
};

fn by(user: &str, second: i64, patch: &str) -> EmergencyChangeSpec {
    let mut change = change();
    change.user = user.to_owned();
    change.at.0 = at(second);
    change.request_uid = format!("{user}-{second}");
    change.patch = Some(patch.to_owned());
    change
}

/// The number of changes in each alert, for changes at these seconds.
fn alert_sizes(
    alerts: &EmergencyAlerts,
    seconds: impl IntoIterator<Item = i64>,
) -> Vec<(i64, String)> {
    let mut alert_sizes = Vec::new();
    for second in seconds {
        let changed = alerts.changed(
            &by("ada", second, &second.to_string()),
            Trace::AuditLog,
            RATE,
        );
        for alert in changed.into_iter().chain(alerts.due(RATE, at(second))) {
            let count = alert.detail(AlertDetail::Count).unwrap_or("one");
            alert_sizes.push((second, count.to_owned()));
        }
    }
    alert_sizes
}

#[test]
fn changes_up_to_the_rate_are_alerted_one_by_one_and_the_others_grouped_per_window() {
    let alerts = EmergencyAlerts::default();
    let expected = [
        (0, "one"),
        (1, "one"),
        (2, "one"),
        (3, "1"),
        (63, "60"),
        (123, "60"),
    ];
    let expected = expected.map(|(second, count)| (second, count.to_owned()));
    assert_eq!(alert_sizes(&alerts, 0..=130), expected);
    let due = alerts.due(RATE, at(183));
    assert_eq!(due[0].detail(AlertDetail::Count), Some("7"));
    assert!(alerts.rest(RATE, at(184)).is_empty());
}

#[test]
fn waiting_groups_are_sent_when_the_process_ends() {
    let alerts = EmergencyAlerts::default();
    alert_sizes(&alerts, 0..10);
    let rest = alerts.rest(RATE, at(10));
    assert_eq!(rest.len(), 1);
    assert_eq!(rest[0].detail(AlertDetail::Count), Some("6"));
}

#[test]
fn changes_below_the_rate_are_alerted_one_by_one() {
    let alerts = EmergencyAlerts::default();
    let alert_sizes = alert_sizes(&alerts, (0..600).step_by(20));
    assert!(
        alert_sizes.iter().all(|(_, count)| count == "one"),
        "{alert_sizes:?}"
    );
    assert_eq!(alert_sizes.len(), 30);
}

#[test]
fn identities_are_counted_separately() {
    let alerts = EmergencyAlerts::default();
    alert_sizes(&alerts, 0..30);
    let other = alerts.changed(&by("bob", 31, "x"), Trace::AuditLog, RATE);
    assert_eq!(other, Some(Alert::break_glass(&by("bob", 31, "x"))));
}

#[test]
fn a_retried_change_is_alerted_once() {
    let alerts = EmergencyAlerts::default();
    let retried = |second| alerts.changed(&by("ada", second, "x"), Trace::AuditLog, RATE);
    assert!(retried(0).is_some());
    assert!(retried(1).is_none());
    assert!(retried(30).is_none());
    assert!(retried(31).is_some());
    assert!(alerts.rest(RATE, at(32)).is_empty());
}

#[test]
fn a_thousand_identities_are_counted_and_idle_ones_are_dropped() {
    let alerts = EmergencyAlerts::default();
    let change = |user: usize, second| {
        let change = by(&format!("user-{user}"), second, "x");
        alerts.changed(&change, Trace::AuditLog, RATE)
    };
    for user in 0..IDENTITIES + 5 {
        assert!(change(user, 0).is_some());
    }
    assert_eq!(alerts.0.lock().len(), IDENTITIES);
    let later = SignedDuration::from_mins(2).as_secs();
    assert!(change(IDENTITIES + 9, later).is_some());
    assert_eq!(alerts.0.lock().len(), 1);
}
