//! The registration as it is written.

mod altered;
mod versions;

use kube::Client;
use rstest::rstest;
use serde_json::{Value, json};

use super::{emergencies::Watched, version_entries::UnclaimedEntries, *};
use crate::webhook::{
    paths::Paths, registration::installation::OtherInstallations, testing::api::api, tls::Pair,
};

fn paths() -> PathKey {
    PathKey::of(&Pair {
        chain: String::new(),
        key: "a key".to_owned(),
        ca_bundle: None,
    })
}

pub(super) fn by_service() -> Registration {
    let endpoint = Endpoint::from_service("helm-guard/helm-guard").unwrap();
    Registration {
        ca_bundle: Some("PEM".to_owned()),
        version_entries: removing([]),
        ..Registration::new(endpoint, paths())
    }
}

/// As a process does that has just started.
pub(super) async fn look(
    client: &Client,
    registration: &Registration,
) -> Result<Ensured, RegistrationError> {
    let (paths, others) = (Paths::new(), OtherInstallations::default());
    let memory = Memory {
        paths: &paths,
        others: &others,
    };
    ensure(client, registration, memory).await
}

fn removing(version_entries: impl IntoIterator<Item = VersionEntry>) -> VersionEntries {
    VersionEntries {
        wanted: version_entries.into_iter().collect(),
        unclaimed: UnclaimedEntries::Remove,
    }
}

fn hpa(version: &str) -> VersionEntry {
    VersionEntry {
        group: "autoscaling".to_owned(),
        version: version.to_owned(),
        plural: "horizontalpodautoscalers".to_owned(),
    }
}

pub(super) fn by_url() -> Registration {
    let endpoint = Endpoint::from_url("https://127.0.0.1:8443").unwrap();
    Registration {
        ca_bundle: Some("PEM".to_owned()),
        version_entries: removing([]),
        ..Registration::new(endpoint, paths())
    }
}

pub(super) fn json(registration: &Registration) -> Value {
    serde_json::to_value(configuration(
        registration,
        &registration.version_entries.wanted,
    ))
    .unwrap()
}

fn typed(value: Value) -> ValidatingWebhookConfiguration {
    serde_json::from_value(value).unwrap()
}

/// Sets what a JSON pointer names; `-` at its end appends.
pub(super) fn changed(mut object: Value, path: &str, value: Value) -> Value {
    let (parent, last) = path.rsplit_once('/').unwrap();
    let parent = object.pointer_mut(parent).unwrap();
    match parent {
        Value::Array(items) if last == "-" => items.push(value),
        Value::Array(items) => items[last.parse::<usize>().unwrap()] = value,
        _ => parent[last] = value,
    }
    object
}

#[rstest]
#[case::service("service", by_service())]
#[case::url("url", by_url())]
fn the_configuration_is_what_it_was(#[case] name: &str, #[case] registration: Registration) {
    let text = serde_json::to_string_pretty(&json(&registration)).unwrap();
    let version = format!("\"{WRITTEN_BY}\": \"{VERSION}\"");
    assert!(text.contains(&version));
    let text = text.replace(&version, &format!("\"{WRITTEN_BY}\": \"(the version)\""));
    insta::assert_snapshot!(name, text);
}

/// Objects with the label are seen whatever a condition says, and a failing condition would skip the
/// webhook without a word: each condition asks for a field before it reads it.
#[test]
fn no_condition_reads_a_field_that_it_has_not_asked_for() {
    let registration = Registration {
        version_entries: removing([hpa("v1")]),
        ..by_url()
    };
    let live = json(&registration);
    let mut read = 0;
    for entry in live["webhooks"].as_array().unwrap() {
        for condition in entry["matchConditions"].as_array().into_iter().flatten() {
            let text = condition["expression"].as_str().unwrap();
            for field in ["labels", "annotations", "finalizers", "ownerReferences"] {
                for object in ["object", "oldObject"] {
                    let path = format!("{object}.metadata.{field}");
                    if !text.contains(&path) {
                        continue;
                    }
                    read += 1;
                    for asked in [
                        format!("{object} != null"),
                        format!("has({object}.metadata)"),
                        format!("has({path})"),
                    ] {
                        let found = text.find(&asked).unwrap();
                        assert!(found <= text.find(&path).unwrap(), "{asked} in {text}");
                    }
                }
            }
        }
    }
    assert!(read > 10);
}

fn watching(users: &[&str], groups: &[&str]) -> Registration {
    let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    Registration {
        watched: Watched {
            users: owned(users),
            groups: owned(groups),
        },
        ..by_url()
    }
}

fn emergencies_of(configuration: &Value) -> Vec<&Value> {
    let entries = configuration["webhooks"].as_array().unwrap().iter();
    entries
        .filter(|entry| entry["name"] == "emergencies.helm-guard.dev")
        .collect()
}

#[test]
fn all_that_an_emergency_identity_does_is_sent_and_nothing_is_where_there_is_none() {
    assert!(emergencies_of(&json(&by_url())).is_empty());
    let configuration = json(&watching(
        &["system:serviceaccount:bg:ops", "o'hara"],
        &["on-call"],
    ));
    let entries = emergencies_of(&configuration);
    insta::assert_snapshot!(
        "emergencies",
        serde_json::to_string_pretty(entries[0]).unwrap()
    );
}

/// Nothing that the guard registers may stop a write while it is away.
#[test]
fn every_entry_fails_open() {
    let configuration = json(&watching(&["ada"], &[]));
    for entry in configuration["webhooks"].as_array().unwrap() {
        assert_eq!(entry["failurePolicy"], "Ignore", "{}", entry["name"]);
    }
}

#[tokio::test]
async fn the_entry_for_emergencies_follows_the_policy() {
    let (client, store) = api();
    let names = || {
        let live = store.lock().object.clone().unwrap();
        emergencies_of(&live).len()
    };
    look(&client, &by_url()).await.unwrap();
    assert_eq!(names(), 0);
    look(&client, &watching(&["ada"], &[])).await.unwrap();
    assert_eq!(names(), 1);
    let written = look(&client, &watching(&["ada", "bob"], &[])).await;
    assert!(matches!(written.unwrap().written, Written::Replaced(_)));
    let done = unregister(&client, &watching(&["ada"], &[])).await.unwrap();
    assert_eq!(done, Unregistered::Deleted);
    look(&client, &watching(&["ada"], &[])).await.unwrap();
    look(&client, &by_url()).await.unwrap();
    assert_eq!(names(), 0);
}
