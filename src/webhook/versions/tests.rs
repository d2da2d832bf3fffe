use std::time::Duration;

use rstest::rstest;
use tokio::time::Instant;

use super::{
    follow::{DiscoveryIntervals, Following, Leaving, follow},
    *,
};
use crate::{
    cluster::{Crds, served::ServedKind},
    releases::{Config, Releases},
    webhook::testing::api::api,
};

const HPA: &str = "HorizontalPodAutoscaler";

fn version_entry(version: &str) -> VersionEntry {
    VersionEntry {
        group: "autoscaling".to_owned(),
        version: version.to_owned(),
        plural: "horizontalpodautoscalers".to_owned(),
    }
}

fn with(versions: &[&str]) -> Needed {
    Needed {
        version_entries: versions
            .iter()
            .map(|v| (version_entry(v), HPA.into()))
            .collect(),
        unclaimed: UnclaimedEntries::Remove,
    }
}

fn versions(conversions: &Conversions) -> Vec<String> {
    let active = conversions.active().load_full();
    let versions = active.versions("autoscaling", HPA);
    versions.iter().map(ToString::to_string).collect()
}

#[rstest]
#[case::the_other_version("autoscaling", HPA, "v1", &["v1", "v2"], true)]
#[case::the_preferred_version("autoscaling", HPA, "v2", &["v1", "v2"], true)]
#[case::no_longer_served("autoscaling", HPA, "v2beta2", &["v1", "v2"], false)]
#[case::the_only_version("autoscaling", HPA, "v2", &["v2"], false)]
#[case::another_kind("autoscaling", "Other", "v1", &["v1", "v2"], false)]
#[case::another_group("apps", HPA, "v1", &["v1", "v2"], false)]
fn a_declared_version_is_needed_if_the_kind_is_served_in_another_one(
    #[case] group: &str,
    #[case] kind: &str,
    #[case] version: &str,
    #[case] served: &[&str],
    #[case] expected: bool,
) {
    let declared = DeclaredKind {
        group: group.to_owned(),
        kind: kind.to_owned(),
        version: version.to_owned(),
    };
    let hpa = ServedKind {
        plural: "horizontalpodautoscalers".to_owned(),
        versions: served.iter().map(|&version| version.to_owned()).collect(),
    };
    let served = Served {
        kinds: BTreeMap::from([(("autoscaling".to_owned(), HPA.to_owned()), hpa)]),
        unknown: BTreeSet::new(),
    };
    let found = needed(&BTreeSet::from([declared]), &served);
    let expected = expected.then(|| (version_entry(version), HPA.into()));
    assert_eq!(found, expected.into_iter().collect());
}

#[test]
fn a_version_is_active_from_its_registration_until_it_is_not_needed() {
    let conversions = Conversions::default();
    let first = with(&["v1"]);
    conversions.need(first.clone());
    assert_eq!(versions(&conversions), [""; 0], "not registered yet");
    conversions.in_place(&first);
    assert_eq!(versions(&conversions), ["v1"]);
    let both = with(&["v1", "v2"]);
    conversions.need(both.clone());
    assert_eq!(
        versions(&conversions),
        ["v1"],
        "the second is not registered yet"
    );
    conversions.in_place(&both);
    assert_eq!(versions(&conversions), ["v1", "v2"]);
    conversions.need(with(&["v2"]));
    assert_eq!(versions(&conversions), ["v2"], "the first is about to go");
    conversions.in_place(&both);
    assert_eq!(
        versions(&conversions),
        ["v2"],
        "a late message changes nothing"
    );
}

#[tokio::test]
async fn each_change_is_announced_once() {
    let conversions = Conversions::default();
    conversions.need(with(&["v1"]));
    conversions.changed().await;
    let before = conversions.needed();
    conversions.need(with(&["v1"]));
    assert!(Arc::ptr_eq(&before, &conversions.needed()));
    let notified = tokio::time::timeout(Duration::ZERO, conversions.changed()).await;
    assert!(notified.is_err());
}

#[test]
fn a_version_that_is_not_declared_any_more_stays_for_a_while() {
    let mut leaving = Leaving::default();
    let (start, second) = (Instant::now(), Duration::from_secs(1));
    let mut keep = |versions: &[&str], at: u32| -> Vec<String> {
        let kept = leaving.with_recent(
            with(versions).version_entries,
            start + second * at,
            second * 30,
        );
        kept.into_keys()
            .map(|version_entry| version_entry.version)
            .collect()
    };
    assert_eq!(keep(&["v1", "v2"], 0), ["v1", "v2"]);
    assert_eq!(keep(&["v2"], 10), ["v1", "v2"], "just left");
    assert_eq!(keep(&["v2"], 39), ["v1", "v2"]);
    assert_eq!(keep(&["v1", "v2"], 39), ["v1", "v2"], "installed again");
    assert_eq!(keep(&["v2"], 50), ["v1", "v2"], "the time starts again");
    assert_eq!(keep(&["v2"], 80), ["v2"]);
}

/// Releases that the index does not know yet may declare the version.
#[tokio::test(start_paused = true)]
async fn an_incomplete_index_removes_no_version() {
    let (client, store) = api();
    let conversions = Arc::new(Conversions::default());
    conversions.need(with(&["v1"]));
    conversions.in_place(&with(&["v1"]));
    let (releases, _worker) = Releases::new(client.clone(), &Config::default());
    assert!(!releases.readiness().ready);
    let following = follow(Following {
        client: client.clone(),
        releases,
        crds: Arc::new(Crds::new(client)),
        conversions: Arc::clone(&conversions),
        pace: DiscoveryIntervals::default(),
    });
    let hour = Duration::from_secs(3600);
    assert!(tokio::time::timeout(hour, following).await.is_err());
    assert_eq!(versions(&conversions), ["v1"]);
    assert_eq!(store.lock().requests, [""; 0], "discovery has to wait too");
}
