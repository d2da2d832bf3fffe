//! The queue of changes, and their announcements. `tests/e2e/break_glass` shows the whole way on a real
//! API server.

use helm_guard_core::api::policy::alerts::AlertKind;
use rstest::rstest;
use serde_json::json;

use super::*;
use crate::{
    record::{alerts::Alerts, audit::AuditLog, events, metrics::Metrics, tests::NoSecrets},
    releases,
    webhook::testing::api::{FakeApiStore, api},
};

pub(super) fn change(name: &str, version: &str, state: &str, since: &str) -> EmergencyChange {
    let change = json!({
        "apiVersion": "helm-guard.dev/v1alpha1", "kind": "EmergencyChange",
        "metadata": {"name": name, "namespace": "shop", "resourceVersion": version},
        "spec": {
            "user": "ada", "at": "2026-11-21T03:00:00Z", "requestUid": "u-1",
            "operation": "Update", "ticket": "INC-1",
            "object": {"apiVersion": "apps/v1", "kind": "Deployment", "namespace": "shop",
                "name": "web"},
            "release": {"name": "myapp", "namespace": "shop", "chart": "myapp-1.0.0", "revision": 3},
            "reconcileBy": "2026-11-22T03:00:00Z",
        },
        "status": {"state": state, "message": "because", "since": since},
    });
    serde_json::from_value(change).unwrap()
}

const SINCE: &str = "2026-11-21T03:00:00Z";

#[test]
fn a_resolved_change_is_not_looked_at_and_the_longest_due_comes_first() {
    let now = Instant::now();
    let mut queue = ChangeQueue::default();
    let later = now + Duration::from_secs(1);
    queue.put(change("b", "1", "Open", SINCE), later);
    queue.put(change("a", "2", "Pending", SINCE), now);
    queue.put(change("c", "3", "Absorbed", SINCE), now);
    let due = |queue: &ChangeQueue, at| -> Vec<String> {
        queue.due(at, 10).iter().map(ToString::to_string).collect()
    };
    assert_eq!(due(&queue, now), ["shop/a"]);
    assert_eq!(due(&queue, later), ["shop/a", "shop/b"]);
    assert_eq!(queue.due(later, 1).len(), 1);
    queue.schedule(&ChangeKey::of(&change("a", "", "Open", SINCE)), later);
    assert!(due(&queue, now).is_empty());
    queue.all_due();
    assert_eq!(due(&queue, now).len(), 2);
    let counts = queue.by_state();
    let expected = [
        (ChangeState::Pending, 1),
        (ChangeState::Open, 1),
        (ChangeState::Absorbed, 1),
    ];
    assert_eq!(counts, expected.into());
}

#[test]
fn the_echo_of_an_own_write_does_not_bring_the_next_look_forward() {
    let now = Instant::now();
    let mut queue = ChangeQueue::default();
    let later = now + Duration::from_secs(9);
    queue.put(change("a", "2", "Open", SINCE), later);
    queue.take(watcher::Event::Apply(change("a", "2", "Open", SINCE)), now);
    assert!(queue.due(now, 10).is_empty());
    queue.take(watcher::Event::Apply(change("a", "3", "Open", SINCE)), now);
    assert_eq!(queue.due(now, 10).len(), 1);
}

#[test]
fn a_change_missing_from_a_new_list_is_gone() {
    let now = Instant::now();
    let mut queue = ChangeQueue::default();
    queue.put(change("a", "1", "Open", SINCE), now);
    queue.put(change("b", "2", "Open", SINCE), now);
    assert!(!queue.is_complete());
    queue.take(watcher::Event::Init, now);
    queue.take(
        watcher::Event::InitApply(change("b", "2", "Open", SINCE)),
        now,
    );
    queue.take(watcher::Event::InitDone, now);
    assert!(queue.is_complete());
    let names: Vec<String> = queue.due(now, 10).iter().map(ToString::to_string).collect();
    assert_eq!(names, ["shop/b"]);
    queue.take(watcher::Event::Delete(change("b", "4", "Open", SINCE)), now);
    assert!(queue.due(now, 10).is_empty());
}

#[test]
fn only_changes_resolved_long_ago_are_removed() {
    let now: Timestamp = "2026-12-22T03:00:01Z".parse().unwrap();
    let instant = Instant::now();
    let mut queue = ChangeQueue::default();
    queue.put(change("old", "1", "Absorbed", SINCE), instant);
    queue.put(change("open", "2", "Overdue", SINCE), instant);
    queue.put(change("new", "3", "Void", "2026-12-20T03:00:00Z"), instant);
    let old: Vec<String> = queue
        .settled_before(now, RETENTION)
        .into_iter()
        .map(|change| ChangeKey::of(change).to_string())
        .collect();
    assert_eq!(old, ["shop/old"]);
}

#[test]
fn the_oldest_void_change_is_removed_once_it_was_announced() {
    let now: Timestamp = "2026-11-21T04:00:00Z".parse().unwrap();
    let mut queue = ChangeQueue::default();
    for (number, state) in ["Void", "Open", "Void", "Void", "Void"].iter().enumerate() {
        let mut change = change(&format!("c-{number}"), "1", state, SINCE);
        change.spec.at.0 = now - SignedDuration::from_mins(50 - i64::try_from(number).unwrap());
        if number > 0 {
            let told = [AlertKind::BreakGlass, AlertKind::Settled];
            change.status.as_mut().unwrap().announced = told.to_vec();
        }
        queue.put(change, Instant::now());
    }
    let surplus = |most| -> Vec<String> {
        let surplus = queue.excess_void(most, now).into_iter();
        surplus
            .map(|change| ChangeKey::of(change).to_string())
            .collect()
    };
    assert!(surplus(4).is_empty());
    assert_eq!(surplus(2), ["shop/c-2", "shop/c-3"]);
    // The first one was not announced yet.
    assert_eq!(surplus(0), ["shop/c-2", "shop/c-3", "shop/c-4"]);
}

#[test]
fn the_event_names_the_change_and_its_user() {
    let change = change("web-1a2b", "1", "Overdue", SINCE);
    let note = note(&change, change.status.as_ref().unwrap());
    assert_eq!(note.reason, "EmergencyChangeOverdue");
    assert_eq!(
        note.text,
        "emergency change web-1a2b (INC-1) by ada is Overdue: because"
    );
    assert_eq!(
        (&*note.object.group, &*note.api_version),
        ("apps", "apps/v1")
    );
}

/// What another writer does before the tracker's own write arrives, and when the change is looked at next.
#[rstest]
#[case::it_is_gone(|store: &mut FakeApiStore| store.object = None, SOON)]
#[case::another_writer_was_faster(another_write, SOON)]
#[case::the_api_server_is_down(|store: &mut FakeApiStore| store.refuse = Some(503), LATER)]
#[tokio::test]
async fn a_state_that_was_not_written_is_not_announced(
    #[case] meanwhile: fn(&mut FakeApiStore),
    #[case] next_look: Duration,
) {
    let (client, store) = api();
    let (events, mut announcer) = events::queue();
    let tracker = Tracker {
        releases: releases::Releases::new(client.clone(), &releases::Config::default()).0,
        objects: Arc::new(Objects::new(client.clone())),
        client,
        recorder: Arc::new(Recorder {
            metrics: Metrics::new(Vec::new),
            audit: AuditLog::new("p-1", std::io::sink()),
            events,
            alerts: Alerts::new(
                NoSecrets,
                crate::record::alerts::counters::Counters::default(),
            ),
            emergency_alerts: crate::record::EmergencyAlerts::default(),
            forecast: Arc::default(),
            is_led: Arc::default(),
        }),
        pace: TrackerIntervals {
            pending: SOON,
            open: LATER,
            ..TrackerIntervals::default()
        },
    };
    // It is overdue: the state has to be written although the object cannot be read.
    let open = serde_json::to_value(change("web", "1", "Open", SINCE)).unwrap();
    let stored = serde_json::from_value(store.lock().put(open)).unwrap();
    store.lock().meanwhile = Some(Box::new(meanwhile));
    let mut queue = ChangeQueue::default();
    let key = ChangeKey::of(&stored);
    let before = Instant::now();
    queue.put(stored, before);
    tracker.check(&mut queue, &key).await;
    let asked = store.lock().requests.clone();
    assert!(
        asked.last().is_some_and(|last| last.starts_with("PUT ")),
        "{asked:?}"
    );
    assert!(announcer.queued().is_none());
    let status = queue.get(&key).unwrap().status.clone().unwrap();
    assert_eq!(
        status.state,
        ChangeState::Open,
        "the watch reports what it is now"
    );
    let looks_at = |at: Instant| !queue.due(at, 1).is_empty();
    assert!(!looks_at(before + next_look / 2));
    assert!(looks_at(Instant::now() + next_look));
}

const SOON: Duration = Duration::from_secs(100);
const LATER: Duration = Duration::from_secs(1000);

fn another_write(store: &mut FakeApiStore) {
    let mut newer = store.object.clone().unwrap();
    newer["status"]["message"] = json!("by another leader");
    store.put(newer);
}
