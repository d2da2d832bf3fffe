//! The book of changes, and what is told. The whole way is shown on a real API server
//! (`tests/break_glass`).

use helm_guard_core::api::policy::alerts::AlertKind;
use serde_json::json;

use super::*;

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
fn what_is_settled_is_not_looked_at_and_the_longest_due_comes_first() {
    let now = Instant::now();
    let mut book = Book::default();
    let later = now + Duration::from_secs(1);
    book.put(change("b", "1", "Open", SINCE), later);
    book.put(change("a", "2", "Pending", SINCE), now);
    book.put(change("c", "3", "Absorbed", SINCE), now);
    let due = |book: &Book, at| -> Vec<String> {
        book.due(at, 10).iter().map(ToString::to_string).collect()
    };
    assert_eq!(due(&book, now), ["shop/a"]);
    assert_eq!(due(&book, later), ["shop/a", "shop/b"]);
    assert_eq!(book.due(later, 1).len(), 1);
    book.look_again(&Key::of(&change("a", "", "Open", SINCE)), later);
    assert!(due(&book, now).is_empty());
    book.all_due();
    assert_eq!(due(&book, now).len(), 2);
    let counts = book.by_state();
    let expected = [(State::Pending, 1), (State::Open, 1), (State::Absorbed, 1)];
    assert_eq!(counts, expected.into());
}

#[test]
fn the_echo_of_ones_own_write_is_no_news() {
    let now = Instant::now();
    let mut book = Book::default();
    let later = now + Duration::from_secs(9);
    book.put(change("a", "2", "Open", SINCE), later);
    book.take(watcher::Event::Apply(change("a", "2", "Open", SINCE)), now);
    assert!(book.due(now, 10).is_empty());
    book.take(watcher::Event::Apply(change("a", "3", "Open", SINCE)), now);
    assert_eq!(book.due(now, 10).len(), 1);
}

#[test]
fn what_a_new_list_does_not_name_is_gone() {
    let now = Instant::now();
    let mut book = Book::default();
    book.put(change("a", "1", "Open", SINCE), now);
    book.put(change("b", "2", "Open", SINCE), now);
    assert!(!book.is_complete());
    book.take(watcher::Event::Init, now);
    book.take(
        watcher::Event::InitApply(change("b", "2", "Open", SINCE)),
        now,
    );
    book.take(watcher::Event::InitDone, now);
    assert!(book.is_complete());
    let names: Vec<String> = book.due(now, 10).iter().map(ToString::to_string).collect();
    assert_eq!(names, ["shop/b"]);
    book.take(watcher::Event::Delete(change("b", "4", "Open", SINCE)), now);
    assert!(book.due(now, 10).is_empty());
}

#[test]
fn only_what_has_long_been_settled_is_removed() {
    let now: Timestamp = "2026-12-22T03:00:01Z".parse().unwrap();
    let instant = Instant::now();
    let mut book = Book::default();
    book.put(change("old", "1", "Absorbed", SINCE), instant);
    book.put(change("open", "2", "Overdue", SINCE), instant);
    book.put(change("new", "3", "Void", "2026-12-20T03:00:00Z"), instant);
    let old: Vec<String> = book
        .settled_before(now, RETENTION)
        .into_iter()
        .map(|change| Key::of(change).to_string())
        .collect();
    assert_eq!(old, ["shop/old"]);
}

#[test]
fn the_oldest_of_what_never_came_to_be_is_removed_once_it_was_told() {
    let now: Timestamp = "2026-11-21T04:00:00Z".parse().unwrap();
    let mut book = Book::default();
    for (number, state) in ["Void", "Open", "Void", "Void", "Void"].iter().enumerate() {
        let mut change = change(&format!("c-{number}"), "1", state, SINCE);
        change.spec.at.0 = now - SignedDuration::from_mins(50 - i64::try_from(number).unwrap());
        if number > 0 {
            let told = [AlertKind::BreakGlass, AlertKind::Settled];
            change.status.as_mut().unwrap().announced = told.to_vec();
        }
        book.put(change, Instant::now());
    }
    let surplus = |most| -> Vec<String> {
        let surplus = book.surplus_void(most, now).into_iter();
        surplus.map(|change| Key::of(change).to_string()).collect()
    };
    assert!(surplus(4).is_empty());
    assert_eq!(surplus(2), ["shop/c-2", "shop/c-3"]);
    // The first one was told to nobody yet.
    assert_eq!(surplus(0), ["shop/c-2", "shop/c-3", "shop/c-4"]);
}

#[test]
fn what_is_told_names_the_change_and_whose_it_is() {
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
