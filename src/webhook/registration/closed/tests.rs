//! Which entry is asked about which write.

use std::collections::BTreeMap;

use rstest::rstest;

use super::*;
use crate::webhook::{
    endpoint::Endpoint,
    paths::{PathKey, Route},
    registration::{
        configuration, drift,
        emergencies::Watched,
        foreign::{ForeignRequirements, Handling, with_tolerated},
        version_entries::VersionEntry,
    },
    tls::Pair,
};

fn registration(label: Option<&str>) -> Registration {
    let pair = Pair {
        chain: String::new(),
        key: "a key".to_owned(),
        ca_bundle: None,
    };
    let endpoint = Endpoint::from_service("guard/helm-guard").unwrap();
    let named = Watched {
        users: BTreeSet::from(["ada".to_owned()]),
        ..Watched::default()
    };
    Registration {
        watched: named,
        fail_closed: label.map(|label| {
            FailClosed::new(label, Some("guard"), &ToleratedLabels::default()).unwrap()
        }),
        ..Registration::new(endpoint, PathKey::of(&pair))
    }
}

fn entries(label: Option<&str>) -> Vec<ValidatingWebhook> {
    let version_entry = VersionEntry {
        group: "autoscaling".to_owned(),
        version: "v1".to_owned(),
        plural: "horizontalpodautoscalers".to_owned(),
    };
    let whole = configuration(&registration(label), &BTreeSet::from([version_entry]));
    whole.webhooks.unwrap()
}

fn holds(requirement: &LabelSelectorRequirement, labels: &BTreeMap<&str, &str>) -> bool {
    let found = labels.get(&*requirement.key);
    let values = requirement.values.as_deref().unwrap_or_default();
    let is_one = found.is_some_and(|found| values.iter().any(|value| value == found));
    match &*requirement.operator {
        "In" => is_one,
        "NotIn" => !is_one,
        "Exists" => found.is_some(),
        "DoesNotExist" => found.is_none(),
        other => panic!("{other}"),
    }
}

/// The failure policies of the entries made from this one that the API server asks about a write in a
/// namespace; of a cluster-scoped object where there is none, of the Namespace itself where `itself`.
fn asked(
    all: &[ValidatingWebhook],
    name: &str,
    (namespace, label): (Option<&str>, Option<&str>),
    itself: bool,
) -> Vec<String> {
    let mut labels = BTreeMap::new();
    if let Some(namespace) = namespace {
        labels.insert(NAMESPACE_NAME, namespace);
    }
    labels.extend(label.map(|value| ("team.example.com/closed", value)));
    let is_asked = |entry: &&ValidatingWebhook| {
        let selector = entry.namespace_selector.clone().unwrap();
        let selects = namespace.is_none()
            || selector
                .match_expressions
                .iter()
                .flatten()
                .all(|one| holds(one, &labels));
        let is_namespaced = namespace.is_some() && !itself;
        let scope = entry.rules.as_ref().unwrap()[0].scope.clone().unwrap();
        let in_scope = scope == "*" || is_namespaced;
        let conditions = entry.match_conditions.iter().flatten();
        let mut open = conditions.filter(|one| one.name == "where-nothing-fails-closed");
        let is_left = open.next().is_none_or(|one| {
            itself || namespace.is_some_and(|name| one.expression.contains(&format!("'{name}'")))
        });
        original(&entry.name).0 == name && selects && in_scope && is_left
    };
    let asked = all.iter().filter(is_asked);
    asked
        .map(|entry| entry.failure_policy.clone().unwrap())
        .collect()
}

#[rstest]
#[case::value("team.example.com/closed=yes")]
#[case::any_value("team.example.com/closed")]
#[case::one_of("team.example.com/closed in (yes, sure)")]
fn each_write_is_in_exactly_one_entry_and_closed_only_where_the_label_is(#[case] label: &str) {
    let all = entries(Some(label));
    let version_entry = "horizontalpodautoscalers.v1.autoscaling.versions.helm-guard.dev";
    for name in [
        OBJECTS_WEBHOOK,
        UNLABELED_WEBHOOK,
        SCALE_WEBHOOK,
        SUBRESOURCES_WEBHOOK,
        RECORDS_WEBHOOK,
        version_entry,
    ] {
        for (namespace, label, itself, expected) in [
            (Some("shop"), Some("yes"), false, "Fail"),
            (Some("shop"), None, false, "Ignore"),
            (Some("kube-system"), Some("yes"), false, "Ignore"),
            (Some("kube-system"), None, false, "Ignore"),
            (Some("kube-node-lease"), Some("yes"), false, "Ignore"),
            (Some("guard"), Some("yes"), false, "Ignore"),
            (Some("guard"), None, false, "Ignore"),
            (Some("shop"), Some("yes"), true, "Ignore"),
            (Some("shop"), None, true, "Ignore"),
            (None, None, false, "Ignore"),
        ] {
            let found = asked(&all, name, (namespace, label), itself);
            assert_eq!(found, [expected], "{name} {namespace:?} {label:?} {itself}");
        }
    }
}

#[test]
fn what_may_not_hang_on_the_guard_never_fails_closed() {
    let closed = entries(Some("a=b"))
        .into_iter()
        .filter(|entry| entry.failure_policy.as_deref() == Some("Fail"));
    let mut names: Vec<String> = closed.map(|entry| entry.name).collect();
    names.sort();
    assert_eq!(
        names,
        [
            "fail-closed.horizontalpodautoscalers.v1.autoscaling.versions.helm-guard.dev",
            "fail-closed.objects.helm-guard.dev",
            "fail-closed.records.helm-guard.dev",
            "fail-closed.scale.helm-guard.dev",
            "fail-closed.subresources.helm-guard.dev",
            "fail-closed.unlabeled.helm-guard.dev",
        ]
    );
    let all_open = entries(None);
    assert!(
        all_open
            .iter()
            .all(|entry| entry.failure_policy.as_deref() == Some("Ignore"))
    );
}

#[test]
fn each_entry_has_a_path_of_its_own_and_is_known_by_it() {
    let all = entries(Some("a=b"));
    let paths: BTreeSet<String> = all
        .iter()
        .map(|entry| entry.client_config.service.clone().unwrap().path.unwrap())
        .collect();
    assert_eq!(paths.len(), all.len());
    for entry in &all {
        let is_closed = entry.failure_policy.as_deref() == Some("Fail");
        let path = entry.client_config.service.clone().unwrap().path.unwrap();
        assert_eq!(path.starts_with("/closed-"), is_closed, "{path}");
        let expected = registration(None).paths.path(route_of(entry), &entry.name);
        assert_eq!(path, expected);
    }
    assert_ne!(Route::Validate.closed(), Route::Validate);
}

/// It would look like an exclusion that somebody added.
#[rstest]
fn the_label_of_before_is_no_exclusion_that_stays(
    #[values(None, Some("other"))] next: Option<&str>,
    #[values(Handling::Correct, Handling::Report)] handling: Handling,
) {
    let foreign = ForeignRequirements {
        handling,
        ..ForeignRequirements::default()
    };
    let written = |label: Option<&str>| {
        let registration = Registration {
            foreign: foreign.clone(),
            ..registration(label)
        };
        configuration(&registration, &BTreeSet::new())
    };
    let (live, wanted) = (written(Some("a in (b,c)")), written(next));
    let (kept, found) = with_tolerated(&live, wanted.clone(), &foreign);
    assert_eq!(found, Vec::<String>::new());
    assert!(drift::difference(&live, &kept).is_some());
    let next = drift::merged(live, kept.clone(), None);
    assert_eq!(next.webhooks, wanted.webhooks);
    assert_eq!(drift::difference(&next, &kept), None);
    assert_eq!(next.metadata.annotations, wanted.metadata.annotations);
}

#[rstest]
#[case::empty("")]
#[case::absence("!a")]
#[case::not("a!=b")]
#[case::two("a,b=c")]
#[case::key("a/b/c")]
#[case::no_name("a/")]
#[case::value("a=b c")]
#[case::of_a_platform("control-plane=true")]
#[case::long_value("a=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")]
#[case::end("a=b-")]
fn what_is_no_single_label_is_refused(#[case] label: &str) {
    assert!(
        FailClosed::new(label, None, &ToleratedLabels::default()).is_err(),
        "{label}"
    );
}
