//! Entries for further versions of a kind.

use super::*;

#[test]
fn an_entry_for_one_version_is_called_for_what_was_converted_to_it_alone() {
    let registration = Registration {
        version_entries: removing([hpa("v1")]),
        ..by_url()
    };
    let entry = versions_of(&json(&registration)).remove(0);
    insta::assert_snapshot!("version", serde_json::to_string_pretty(&entry).unwrap());
}

#[tokio::test]
async fn versions_come_and_go_and_survive_a_guard_that_does_not_know_yet() {
    let (client, store) = api();
    let with = |version_entries: VersionEntries| Registration {
        version_entries,
        ..by_service()
    };
    let names = || -> Vec<String> {
        let live = store.lock().object.clone().unwrap();
        let name = |entry: &Value| entry["name"].as_str().unwrap().to_owned();
        versions_of(&live).iter().map(name).collect()
    };
    let v1 = "horizontalpodautoscalers.v1.autoscaling.versions.helm-guard.dev";
    let v2 = "horizontalpodautoscalers.v2.autoscaling.versions.helm-guard.dev";
    let replaced = Written::Replaced(VERSIONS);
    let keeping = |version_entries: &[VersionEntry]| VersionEntries {
        wanted: version_entries.iter().cloned().collect(),
        unclaimed: UnclaimedEntries::Keep,
    };
    let steps = [
        (removing([]), Written::Created, vec![]),
        (removing([hpa("v1")]), replaced, vec![v1]),
        (removing([hpa("v1")]), Written::Unchanged, vec![v1]),
        (keeping(&[]), Written::Unchanged, vec![v1]),
        (keeping(&[hpa("v2")]), replaced, vec![v1, v2]),
        (removing([hpa("v2")]), replaced, vec![v2]),
        (removing([hpa("v1")]), replaced, vec![v1]),
        (removing([]), replaced, vec![]),
    ];
    for (step, (version_entries, written, expected)) in steps.into_iter().enumerate() {
        assert_eq!(
            look(&client, &with(version_entries)).await.unwrap().written,
            written,
            "{step}"
        );
        assert_eq!(names(), expected, "{step}");
    }
}

#[tokio::test]
async fn a_version_that_is_kept_still_learns_of_a_new_address() {
    let (client, store) = api();
    let first = Registration {
        version_entries: removing([hpa("v1")]),
        ..by_url()
    };
    look(&client, &first).await.unwrap();
    let second = Registration {
        version_entries: VersionEntries::default(),
        ..by_service()
    };
    look(&client, &second).await.unwrap();
    let live = store.lock().object.clone().unwrap();
    let path = &versions_of(&live)[0]["clientConfig"]["service"]["path"];
    assert_eq!(
        *path,
        paths().path(
            Route::Version,
            "horizontalpodautoscalers.v1.autoscaling.versions.helm-guard.dev"
        )
    );
    assert_eq!(
        unregister(&client, &second).await.unwrap(),
        Unregistered::Deleted
    );
}

#[test]
fn a_name_that_the_api_server_would_refuse_is_not_asked_for() {
    let version_entry = VersionEntry {
        group: format!("{}.example.com", "g".repeat(200)),
        ..hpa("v1")
    };
    assert_eq!(version_entry.entry_name(), None);
    let registration = Registration {
        version_entries: removing([version_entry]),
        ..by_url()
    };
    assert_eq!(versions_of(&json(&registration)), Vec::<Value>::new());
}

/// The entries for one version.
fn versions_of(configuration: &Value) -> Vec<Value> {
    let mut entries = configuration["webhooks"].as_array().unwrap().clone();
    entries.retain(|entry| {
        let name = entry["name"].as_str().unwrap();
        name.ends_with(".versions.helm-guard.dev")
    });
    entries
}
