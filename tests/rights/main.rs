//! The rights of `deploy/`, to the verb: a guard with its own account does everything that it can do on a real
//! API server, whose audit log shows which rights it used.
//!
//! Start at [`every_request_is_granted_and_every_right_is_needed`].

mod duties;
mod rights;
mod without;

use testbed::{charts, scene};

use std::sync::{Mutex, Once};

use rights::{Right, granted, requests};

/// One guard at a time: the registration applies to the whole cluster.
static TURN: Mutex<()> = Mutex::new(());

/// Rights that a short run cannot exercise, and why they are needed.
const NOT_SEEN: [(&str, &str, &str); 3] = [
    (
        "breakglassgrants",
        "delete",
        "grants that ended 30 days ago are removed",
    ),
    (
        "emergencychanges",
        "delete",
        "changes that were settled 30 days ago are removed",
    ),
    (
        "emergencychanges",
        "get",
        "two changes of one object whose names collide are distinguished",
    ),
];

/// The roles that grant rights for every kind that a release may declare, and their verbs.
const BY_KIND: [(&str, &[&str]); 2] = [
    ("helm-guard-live", &["get"]),
    ("helm-guard-scan", &["list", "watch"]),
];

/// Kinds that the releases of these tests declare.
const DECLARED: [&str; 3] = ["deployments", "configmaps", "widgets"];

#[test]
fn every_request_is_granted_and_every_right_is_needed() {
    first();
}

/// Before any other guard runs: existing objects are not created again, so the right to create them would not
/// be used.
fn first() {
    static FIRST: Once = Once::new();
    FIRST.call_once(compare);
}

fn compare() {
    let _turn = TURN
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    duties::install();
    duties::behind_a_service();
    duties::on_duty();

    let requests = requests();
    let refused: Vec<_> = requests
        .iter()
        .filter(|request| request.is_refused)
        .collect();
    assert!(refused.is_empty(), "requests without a right: {refused:#?}");

    // Which kinds are read depends on the emergency changes, and on what releases declare.
    let (by_kind, others): (Vec<Right>, Vec<Right>) = granted()
        .into_iter()
        .partition(|right| BY_KIND.iter().any(|(role, _)| right.role == *role));
    let is_used = |right: &Right| requests.iter().any(|request| right.covers(request));
    for (role, verbs) in BY_KIND {
        let of_role = || by_kind.iter().filter(|right| right.role == role);
        assert!(
            of_role().all(|right| verbs.contains(&&*right.verb)),
            "{by_kind:#?}"
        );
        for (kind, verb) in DECLARED
            .iter()
            .flat_map(|kind| verbs.iter().map(move |verb| (kind, verb)))
        {
            let mut rights =
                of_role().filter(|right| right.resource == *kind && right.verb == *verb);
            assert!(rights.any(is_used), "{role}: no {verb} of {kind}");
        }
    }
    let is_explained = |right: &Right| {
        NOT_SEEN
            .iter()
            .any(|(resource, verb, _)| right.resource == *resource && right.verb == *verb)
    };
    let needless: Vec<_> = others
        .iter()
        .filter(|right| !is_used(right) && !is_explained(right))
        .collect();
    assert!(
        needless.is_empty(),
        "rights without a request: {needless:#?}"
    );
    for (resource, verb, why) in NOT_SEEN {
        let is_there = others
            .iter()
            .any(|right| right.resource == resource && right.verb == verb);
        assert!(is_there, "{verb} {resource} is not granted any more: {why}");
    }
}
