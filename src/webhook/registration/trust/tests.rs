use std::time::SystemTime;

use rstest::rstest;

use super::*;
use crate::webhook::{
    certificates::issue,
    endpoint::Endpoint,
    paths::PathKey,
    registration::{Registration, configuration},
    tls::Pair,
};

const MINUTE: Duration = Duration::from_secs(60);

fn now() -> SystemTime {
    SystemTime::now()
}

/// A CA that signed one certificate.
fn ca() -> String {
    let endpoint = Endpoint::from_service("ops/guard").unwrap();
    issue(&endpoint, None, now()).unwrap().ca_bundle.unwrap()
}

/// What is registered with this bundle.
fn live(bundle: &str, others: Option<String>) -> Configuration {
    let pair = Pair {
        chain: String::new(),
        key: "a key".to_owned(),
        ca_bundle: None,
    };
    let endpoint = Endpoint::from_service("ops/guard").unwrap();
    let registration = Registration {
        ca_bundle: Some(bundle.to_owned()),
        ..Registration::new(endpoint, PathKey::of(&pair))
    };
    let mut live = configuration(&registration, &registration.version_entries.at(None));
    if let Some(others) = others {
        let annotations = live.metadata.annotations.get_or_insert_default();
        annotations.insert(OTHER_CAS.to_owned(), others);
    }
    live
}

fn number(bundle: Option<&String>) -> usize {
    bundle.map_or(0, |bundle| certificates(bundle).len())
}

#[test]
fn two_replicas_with_different_certificates_trust_each_other() {
    let (first, second) = (ca(), ca());
    let leader = united(Some(&first), &live(&first, None), now());
    assert_eq!(leader.bundle.as_deref(), Some(&*first));
    assert_eq!(leader.others, None, "its own CA needs no announcement");

    let there = live(&first, None);
    let added = announcement(Some(&second), &there, now()).unwrap();
    assert_eq!(added.bundle.as_deref(), Some(&*(first.clone() + &second)));
    let there = live(added.bundle.as_ref().unwrap(), added.others);
    assert_eq!(
        announcement(Some(&second), &there, now()),
        None,
        "once is enough"
    );

    let leader = united(Some(&first), &there, now());
    assert_eq!(leader.bundle, Some(first + &second), "the leader leaves it");
}

#[rstest]
#[case::announced_lately(59 * MINUTE, 2)]
#[case::announced_long_ago(61 * MINUTE, 1)]
fn a_ca_stays_for_an_hour_after_it_was_announced(#[case] age: Duration, #[case] left: usize) {
    let (own, other) = (ca(), ca());
    let added = announcement(Some(&other), &live(&own, None), now()).unwrap();
    let there = live(added.bundle.as_ref().unwrap(), added.others);
    let trust = united(Some(&own), &there, now() + age);
    assert_eq!(number(trust.bundle.as_ref()), left);
    assert_eq!(trust.has_expired, left == 1);
}

#[test]
fn a_replica_announces_its_ca_again_while_it_serves() {
    let (own, other) = (ca(), ca());
    let added = announcement(Some(&other), &live(&own, None), now()).unwrap();
    let there = live(added.bundle.as_ref().unwrap(), added.others);
    let later = now() + 21 * MINUTE;
    let again = announcement(Some(&other), &there, later).unwrap();
    assert_eq!(again.bundle, added.bundle);
    let there = live(again.bundle.as_ref().unwrap(), again.others);
    let trust = united(Some(&own), &there, now() + 70 * MINUTE);
    assert_eq!(number(trust.bundle.as_ref()), 2);
}

#[test]
fn a_ca_that_somebody_else_added_is_not_trusted_for_good() {
    let (own, foreign) = (ca(), ca());
    let there = live(&(own.clone() + &foreign), None);
    let trust = united(Some(&own), &there, now());
    assert_eq!(number(trust.bundle.as_ref()), 2);
    let there = live(trust.bundle.as_ref().unwrap(), trust.others);
    let trust = united(Some(&own), &there, now() + 2 * KEPT_FOR);
    assert_eq!(trust.bundle, Some(own));
}

#[test]
fn a_ca_with_a_time_to_come_is_not_trusted_for_good() {
    let (own, foreign) = (ca(), ca());
    let print = fingerprint(&certificates(&foreign)[0]);
    let others = Some(format!("{print}=99999999999"));
    let there = live(&(own.clone() + &foreign), others);
    assert_eq!(united(Some(&own), &there, now()).bundle, Some(own));
}

#[test]
fn the_leader_finds_the_announcements_of_others_as_it_would_write_them() {
    let own = ca();
    let mut there = live(&own, None);
    for _ in 0..3 {
        let added = announcement(Some(&ca()), &there, now()).unwrap();
        there = live(added.bundle.as_ref().unwrap(), added.others);
    }
    assert_eq!(united(Some(&own), &there, now()), Trust::as_it_is(&there));
}

#[rstest]
#[case::not_pem("nonsense")]
#[case::not_a_certificate("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")]
#[case::empty("")]
fn what_is_no_certificate_is_dropped(#[case] text: &str) {
    let own = ca();
    let trust = united(Some(&own), &live(text, None), now());
    assert_eq!(trust.bundle, Some(own));
}

#[test]
fn an_expired_ca_is_dropped() {
    let (own, old) = (ca(), ca());
    let there = live(&(own.clone() + &old), None);
    let later = now() + Duration::from_secs(11 * 365 * 24 * 60 * 60);
    assert_eq!(united(Some(&own), &there, later).bundle, Some(own));
}

#[test]
fn a_bundle_does_not_grow_with_every_restart() {
    let mut bundle = ca();
    for _ in 0..20 {
        let own = ca();
        bundle = united(Some(&own), &live(&bundle, None), now())
            .bundle
            .unwrap();
        assert!(bundle.starts_with(&own));
    }
    assert_eq!(number(Some(&bundle)), MAX_CAS);
}

#[rstest]
#[case::damaged("what = is = this  =7 ab=x")]
#[case::long(&"a=1 ".repeat(10_000))]
fn a_damaged_annotation_is_replaced(#[case] text: &str) {
    let (own, other) = (ca(), ca());
    let there = live(&(own.clone() + &other), Some(text.to_owned()));
    let trust = united(Some(&own), &there, now());
    assert_eq!(number(trust.bundle.as_ref()), 2);
    assert!(trust.others.unwrap().len() < 64);
}
