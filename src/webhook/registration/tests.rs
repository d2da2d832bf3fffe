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

#[rstest]
#[case::foreign_label("/metadata/labels/team", json!("ops"))]
#[case::foreign_annotation("/metadata/annotations/seen", json!("by a controller"))]
#[case::server_fields("/metadata/generation", json!(7))]
#[case::exclusion_by_a_platform(
    "/webhooks/0/namespaceSelector/matchExpressions",
    json!([{"key": "control-plane", "operator": "NotIn", "values": ["true"]}])
)]
fn what_others_add_is_no_difference(#[case] path: &str, #[case] value: Value) {
    let live = typed(changed(json(&by_service()), path, value));
    let wanted = configuration(&by_service(), &BTreeSet::new());
    let (wanted, _) = foreign::with_tolerated(&live, wanted, &ForeignRequirements::default());
    assert_eq!(drift::difference(&live, &wanted), None);
}

#[rstest]
#[case::failure_policy("/webhooks/0/failurePolicy", json!("Fail"), "the rules")]
#[case::operations("/webhooks/0/rules/0/operations", json!(["UPDATE"]), "the rules")]
#[case::selector("/webhooks/0/objectSelector/matchLabels", json!({}), "the rules")]
#[case::a_condition("/webhooks/0/matchConditions/0/expression", json!("false"), "the rules")]
#[case::a_condition_of_scale(
    "/webhooks/1/matchConditions",
    json!([{"name": "never", "expression": "false"}]),
    "the rules"
)]
#[case::ca("/webhooks/1/clientConfig/caBundle", json!("T1RIRVI="), "the CA bundle")]
#[case::address("/webhooks/1/clientConfig/service/name", json!("other"), "the address")]
#[case::namespaces_that_an_older_guard_left_out(
    "/webhooks/0/namespaceSelector/matchExpressions",
    json!([{"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["kube-system"]}]),
    "the namespace selector"
)]
#[case::every_namespace_is_left_out(
    "/webhooks/0/namespaceSelector/matchExpressions",
    json!([{"key": "nowhere", "operator": "Exists"}]),
    "the namespace selector"
)]
#[case::every_namespace_by_a_known_key(
    "/webhooks/1/namespaceSelector/matchExpressions",
    json!([{"key": "control-plane", "operator": "Exists"}]),
    "the namespace selector"
)]
#[case::some_namespaces_are_left_out(
    "/webhooks/0/namespaceSelector/matchExpressions",
    json!([{"key": "team", "operator": "NotIn", "values": ["shop"]}]),
    "the namespace selector"
)]
#[case::namespace_labels(
    "/webhooks/0/namespaceSelector/matchLabels",
    json!({"no": "namespace"}),
    "the namespace selector"
)]
#[case::renamed("/webhooks/0/name", json!("a.b.c"), "the names of the webhooks")]
#[case::one_only("/webhooks", json!([]), "the number of webhooks")]
#[case::our_label("/metadata/labels", json!({}), "labels and annotations")]
#[tokio::test]
async fn what_was_altered_is_put_right(
    #[case] path: &str,
    #[case] value: Value,
    #[case] what: &'static str,
) {
    let (client, store) = api();
    store.lock().put(changed(json(&by_service()), path, value));
    assert_eq!(
        look(&client, &by_service()).await.unwrap().written,
        Written::Replaced(what)
    );
    assert_eq!(
        look(&client, &by_service()).await.unwrap().written,
        Written::Unchanged
    );
}

#[tokio::test]
async fn what_is_put_right_keeps_what_others_added() {
    let (client, store) = api();
    let exclusion = json!({"key": "control-plane", "operator": "NotIn", "values": ["true"]});
    let mut live = json(&by_service());
    for (path, value) in [
        ("/metadata/labels/team", json!("ops")),
        (
            "/webhooks/0/namespaceSelector/matchExpressions",
            json!([exclusion]),
        ),
        ("/webhooks/0/failurePolicy", json!("Fail")),
    ] {
        live = changed(live, path, value);
    }
    store.lock().put(live);
    let ensured = look(&client, &by_service()).await.unwrap();
    let expected = "objects.helm-guard.dev only covers namespaces where control-plane NotIn (true)";
    assert_eq!(ensured.foreign, [expected]);
    let live = store.lock().object.clone().unwrap();
    assert_eq!(live.pointer("/metadata/labels/team"), Some(&json!("ops")));
    let added = live.pointer("/webhooks/0/namespaceSelector/matchExpressions/0");
    assert_eq!(added, Some(&exclusion));
    assert_eq!(
        live.pointer("/webhooks/0/failurePolicy"),
        Some(&json!("Ignore"))
    );
}

fn with_mandate(mandate: Mandate) -> Registration {
    Registration {
        mandate,
        ..by_service()
    }
}

/// A difference that is not an address: calls still come.
fn with_another_policy() -> Value {
    changed(
        json(&by_service()),
        "/webhooks/0/failurePolicy",
        json!("Fail"),
    )
}

#[rstest]
#[case::it_leads(Mandate::UnlessNewer, None, Written::Replaced("the rules"))]
#[case::another_leads(Mandate::WhatIsMissing, None, Written::Left("the rules"))]
#[case::a_newer_one_wrote_it(
    Mandate::UnlessNewer,
    Some("99.0.0"),
    Written::Left("labels and annotations")
)]
#[case::a_newer_one_wrote_it_long_ago(
    Mandate::Everything,
    Some("99.0.0"),
    Written::Replaced("labels and annotations")
)]
#[tokio::test]
async fn a_difference_is_corrected_by_the_replica_that_leads(
    #[case] mandate: Mandate,
    #[case] writer: Option<&str>,
    #[case] expected: Written,
) {
    let (client, store) = api();
    let mut live = with_another_policy();
    if let Some(version) = writer {
        live["metadata"]["annotations"][WRITTEN_BY] = json!(version);
    }
    store.lock().put(live.clone());
    let ensured = look(&client, &with_mandate(mandate)).await.unwrap();
    assert_eq!((ensured.written, ensured.missed), (expected, None));
    let policy = |object: &Value| object["webhooks"][0]["failurePolicy"].clone();
    let is_left = matches!(expected, Written::Left(_));
    let now = store.lock().object.clone().unwrap();
    assert_eq!(policy(&now) == policy(&live), is_left);
}

#[tokio::test]
async fn a_replica_that_does_not_lead_creates_what_is_missing() {
    let (client, store) = api();
    let follower = with_mandate(Mandate::WhatIsMissing);
    let ensured = look(&client, &follower).await.unwrap();
    assert_eq!(ensured.written, Written::Created);
    assert!(store.lock().object.is_some());
}

#[tokio::test]
async fn a_replica_that_does_not_lead_says_that_calls_go_elsewhere() {
    let (client, store) = api();
    store.lock().put(json(&by_url()));
    let follower = with_mandate(Mandate::WhatIsMissing);
    let ensured = look(&client, &follower).await.unwrap();
    assert!(matches!(ensured.written, Written::Left(_)));
    let missed = ensured.missed.unwrap();
    assert_eq!(
        missed,
        "another address is registered: another replica is the leader"
    );
    assert_eq!(
        store.lock().object.clone().unwrap()["webhooks"],
        json(&by_url())["webhooks"]
    );
}

fn of_installation(registration: Registration, namespace: &str) -> Registration {
    Registration {
        installation: Some(Installation::new(namespace.to_owned())),
        ..registration
    }
}

#[rstest]
#[case::it_runs(by_url(), Takeover::Never, Written::Left("the address"))]
#[case::the_same_address(
    by_service(),
    Takeover::Never,
    Written::Replaced("labels and annotations")
)]
#[case::it_is_to_be_replaced(
    by_url(),
    Takeover::Forced,
    Written::Replaced("labels and annotations")
)]
#[tokio::test]
async fn the_registration_of_another_installation_is_left_alone(
    #[case] others: Registration,
    #[case] takeover: Takeover,
    #[case] expected: Written,
) {
    let (client, store) = api();
    let theirs = json(&of_installation(others, "ops"));
    store.lock().put(theirs.clone());
    let ours = Registration {
        takeover,
        ..of_installation(by_service(), "guard")
    };
    let ensured = look(&client, &ours).await.unwrap();
    assert_eq!(ensured.written, expected);
    let now = store.lock().object.clone().unwrap();
    let is_left = expected == Written::Left("the address");
    assert_eq!(now["webhooks"] == theirs["webhooks"] && is_left, is_left);
    let names_it = |missed: String| missed.contains("the installation ops/helm-guard");
    assert_eq!(ensured.missed.is_some_and(names_it), is_left);
    assert_eq!(
        ensured.other.is_some(),
        is_left,
        "what calls do not come to is reported"
    );
}

#[tokio::test]
async fn the_kill_switch_removes_only_the_registration_of_its_own_installation() {
    let (client, store) = api();
    let ours = of_installation(by_service(), "guard");
    let others = OtherInstallations::default();
    store.lock().put(json(&of_installation(by_url(), "ops")));
    let removed = remove(&client, &ours, &others).await.unwrap();
    assert_eq!(removed, Unregistered::NotOurs);
    assert!(store.lock().object.is_some());
    store.lock().put(json(&ours));
    let removed = remove(&client, &ours, &others).await.unwrap();
    assert_eq!(removed, Unregistered::Deleted);
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

#[tokio::test]
async fn a_missing_registration_is_created_and_a_lost_race_is_run_again() {
    let (client, store) = api();
    store.lock().meanwhile = Some(Box::new(|store| {
        store.put(json(&by_url()));
    }));
    // Another guard created it first, with another address: the second attempt replaces it.
    let written = look(&client, &by_service()).await.unwrap().written;
    assert_eq!(written, Written::Replaced("the address"));
    store.lock().object = None;
    assert_eq!(
        look(&client, &by_service()).await.unwrap().written,
        Written::Created
    );
}

#[tokio::test]
async fn a_refusal_is_an_error_that_says_what_was_tried() {
    let (client, store) = api();
    store.lock().refuse = Some(403);
    let error = look(&client, &by_service()).await.unwrap_err().to_string();
    assert!(error.starts_with("failed to read the ValidatingWebhookConfiguration helm-guard"));
}

#[rstest]
#[case::ours(Some(by_service()), Unregistered::Deleted)]
#[case::anothers_address(Some(by_url()), Unregistered::NotOurs)]
#[case::anothers_ca(
    Some(Registration { ca_bundle: Some("NEWER".to_owned()), ..by_service() }),
    Unregistered::NotOurs
)]
#[case::none(None, Unregistered::Absent)]
#[tokio::test]
async fn only_our_own_registration_is_removed(
    #[case] live: Option<Registration>,
    #[case] expected: Unregistered,
) {
    let (client, store) = api();
    if let Some(live) = &live {
        store.lock().put(json(live));
    }
    assert_eq!(unregister(&client, &by_service()).await.unwrap(), expected);
    let left = store.lock().object.is_some();
    assert_eq!(left, expected == Unregistered::NotOurs);
}

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
