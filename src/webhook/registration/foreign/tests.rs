//! What stays of what others add, through [`super::super::ensure`] where it is written.

use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::webhook::{
    registration::{
        Registration, Written, drift,
        tests::{by_service, changed, json, look},
    },
    testing::api::api,
};

fn with(tolerated: &[&str], handling: Handling) -> Registration {
    let tolerated = ToleratedLabels::parse(tolerated.iter().copied()).unwrap();
    Registration {
        foreign: ForeignRequirements {
            tolerated,
            handling,
        },
        ..by_service()
    }
}

fn reporting() -> Registration {
    with(&[], Handling::Report)
}

#[rstest]
#[case::any_value(&["a"], "NotIn", &["x"], true)]
#[case::absent(&["a"], "DoesNotExist", &[], true)]
#[case::only_where_it_is(&["a"], "Exists", &[], false)]
#[case::only_one_value(&["a"], "In", &["x"], false)]
#[case::a_listed_value(&["a=x", "a=y"], "NotIn", &["x", "y"], true)]
#[case::the_empty_value(&["a="], "NotIn", &[""], true)]
#[case::another_value_too(&["a=x"], "NotIn", &["x", "y"], false)]
#[case::absent_is_all_values(&["a=x"], "DoesNotExist", &[], false)]
#[case::a_key_stands_for_all_values(&["a=x", "a"], "NotIn", &["y"], true)]
#[case::in_any_order(&["a", "a=x"], "DoesNotExist", &[], true)]
#[case::another_label(&["b"], "NotIn", &["x"], false)]
#[case::nothing_is_tolerated(&[], "NotIn", &["x"], false)]
fn a_requirement_is_tolerated_if_it_excludes_only_listed_labels(
    #[case] labels: &[&str],
    #[case] operator: &str,
    #[case] values: &[&str],
    #[case] expected: bool,
) {
    let requirement = Requirement {
        key: "a".to_owned(),
        operator: operator.to_owned(),
        values: Some(values.iter().map(|&value| value.to_owned()).collect()),
    };
    let tolerated = ToleratedLabels::parse(labels.iter().copied()).unwrap();
    assert_eq!(tolerated.tolerates(&requirement), expected);
}

#[rstest]
#[case::no_key("")]
#[case::no_key_with_a_value("=x")]
#[case::no_label_key("a/b/c")]
#[case::no_label_value("a=x y")]
#[case::not_a_set("a in (b)")]
fn an_invalid_label_is_named(#[case] label: &str) {
    let error = ToleratedLabels::parse(["fine", label]).unwrap_err();
    assert_eq!(error, ToleratedLabelError(label.to_owned()));
}

/// Places where somebody adds a requirement or condition, and how it is reported.
#[rstest]
#[case::namespaces(
    "/webhooks/0/namespaceSelector/matchExpressions",
    json!([{"key": "team", "operator": "NotIn", "values": ["shop", "ops"]}]),
    "objects.helm-guard.dev only covers namespaces where team NotIn (shop, ops)"
)]
#[case::namespaces_by_a_match_label(
    "/webhooks/0/namespaceSelector/matchLabels",
    json!({"team": "shop"}),
    "objects.helm-guard.dev only covers namespaces where team In (shop)"
)]
#[case::objects(
    "/webhooks/0/objectSelector/matchExpressions",
    json!([{"key": "skip", "operator": "DoesNotExist"}]),
    "objects.helm-guard.dev only covers objects where skip DoesNotExist ()"
)]
#[case::objects_by_a_match_label(
    "/webhooks/0/objectSelector/matchLabels",
    json!({"app.kubernetes.io/managed-by": "Helm", "guard": "yes"}),
    "objects.helm-guard.dev only covers objects where guard In (yes)"
)]
#[case::requests(
    "/webhooks/1/matchConditions",
    json!([{"name": "not-mine", "expression": "request.userInfo.username != 'me'"}]),
    "scale.helm-guard.dev only covers requests that meet the match condition \"not-mine\""
)]
#[tokio::test]
async fn a_foreign_requirement_is_removed_or_stays_and_is_reported(
    #[case] path: &str,
    #[case] value: Value,
    #[case] report: &str,
) {
    let edited = |registration: &Registration| changed(json(registration), path, value.clone());

    let (client, store) = api();
    store.lock().put(edited(&by_service()));
    let ensured = look(&client, &by_service()).await.unwrap();
    assert!(matches!(ensured.written, Written::Replaced(_)));
    assert_eq!(ensured.foreign, Vec::<String>::new());
    let live = store.lock().object.clone().unwrap();
    assert_ne!(live.pointer(path), Some(&value));

    store.lock().put(edited(&reporting()));
    let ensured = look(&client, &reporting()).await.unwrap();
    assert_eq!(ensured.written, Written::Unchanged, "nobody is fought");
    assert_eq!(ensured.foreign, [report]);

    // What the guard itself has to write does not remove it.
    let edited = changed(
        edited(&reporting()),
        "/webhooks/0/failurePolicy",
        json!("Fail"),
    );
    store.lock().put(edited);
    let ensured = look(&client, &reporting()).await.unwrap();
    assert_eq!(ensured.written, Written::Replaced("the rules"));
    assert_eq!(ensured.foreign, [report]);
    let live = store.lock().object.clone().unwrap();
    assert_eq!(live.pointer(path), Some(&value));
    assert_eq!(live["webhooks"][0]["failurePolicy"], "Ignore");
}

#[rstest]
#[case::our_own_condition(
    "/webhooks/2/name", json!("other.example.com"), "the names of the webhooks"
)]
#[case::operations("/webhooks/0/rules/0/operations", json!(["UPDATE"]), "the rules")]
#[case::our_own_label_of_objects(
    "/webhooks/0/objectSelector/matchLabels",
    json!({"app.kubernetes.io/managed-by": "Somebody"}),
    "the rules"
)]
#[tokio::test]
async fn what_is_no_addition_is_corrected_where_additions_are_reported(
    #[case] path: &str,
    #[case] value: Value,
    #[case] what: &'static str,
) {
    let (client, store) = api();
    store.lock().put(changed(json(&reporting()), path, value));
    let ensured = look(&client, &reporting()).await.unwrap();
    assert_eq!(ensured.written, Written::Replaced(what));
    assert_eq!(look(&client, &reporting()).await.unwrap().foreign, [""; 0]);
}

#[tokio::test]
async fn a_condition_of_the_guard_cannot_be_replaced_by_another_of_its_name() {
    let (client, store) = api();
    let mut live = json(&reporting());
    let conditions = live["webhooks"].as_array_mut().unwrap().iter_mut();
    let mut conditions = conditions.filter_map(|entry| entry.get_mut("matchConditions"));
    conditions.next().unwrap()[0]["expression"] = json!("false");
    store.lock().put(live);
    let ensured = look(&client, &reporting()).await.unwrap();
    assert_eq!(ensured.written, Written::Replaced("the rules"));
    let live = store.lock().object.clone().unwrap();
    assert_eq!(live["webhooks"], json(&reporting())["webhooks"]);
}

/// A controller may insist on the first place.
#[tokio::test]
async fn foreign_conditions_keep_their_place() {
    let (client, store) = api();
    let mut live = json(&reporting());
    let conditions = live["webhooks"].as_array_mut().unwrap().iter_mut();
    let mut conditions = conditions.filter_map(|entry| entry.get_mut("matchConditions"));
    let foreign = json!({"name": "not-mine", "expression": "true"});
    let first = conditions.next().unwrap().as_array_mut().unwrap();
    first.insert(0, foreign);
    store.lock().put(live);
    let ensured = look(&client, &reporting()).await.unwrap();
    assert_eq!(ensured.written, Written::Unchanged);
    assert_eq!(ensured.foreign.len(), 1);
}

#[tokio::test]
async fn foreign_conditions_leave_room_for_those_of_the_guard() {
    let (client, store) = api();
    let condition = |n: usize| json!({"name": format!("n{n}"), "expression": "true"});
    let all: Vec<Value> = (0..MAX_CONDITIONS).map(condition).collect();
    let wanted = json(&reporting());
    let entries = wanted["webhooks"].as_array().unwrap();
    let at = entries
        .iter()
        .position(|entry| entry["matchConditions"].is_array())
        .unwrap();
    let path = format!("/webhooks/{at}/matchConditions");
    store.lock().put(changed(wanted.clone(), &path, json!(all)));
    look(&client, &reporting()).await.unwrap();
    let live = store.lock().object.clone().unwrap();
    let live = live.pointer(&path).unwrap().as_array().unwrap();
    assert_eq!(live.len(), MAX_CONDITIONS);
    let own = wanted.pointer(&path).unwrap().as_array().unwrap();
    assert!(own.iter().all(|condition| live.contains(condition)));
}

/// What the guard wrote in an older version or with other flags would look like somebody else's.
#[rstest]
#[case::listed(true)]
#[case::not_listed(false)]
fn a_requirement_of_the_guard_before_is_not_foreign(#[case] has_list: bool) {
    let before: Configuration =
        serde_json::from_value(changed_by_an_older_guard(has_list)).unwrap();
    let wanted: Configuration = serde_json::from_value(json(&reporting())).unwrap();
    let (wanted, foreign) = with_tolerated(&before, wanted, &reporting().foreign);
    assert_eq!(foreign, [""; 0]);
    let next = drift::merged(before, wanted.clone(), None);
    assert_eq!(next.webhooks, wanted.webhooks);
    assert_eq!(drift::difference(&next, &wanted), None);
}

fn changed_by_an_older_guard(has_list: bool) -> Value {
    let path = "/webhooks/0/namespaceSelector/matchExpressions";
    let old = json!([{"key": "team", "operator": "NotIn", "values": ["shop"]}]);
    let mut live = changed(json(&by_service()), path, old);
    if has_list {
        let written: Configuration = serde_json::from_value(live.clone()).unwrap();
        let list = fingerprints(entries(&written));
        live["metadata"]["annotations"][OWN_REQUIREMENTS] = json!(list);
    }
    live
}

#[tokio::test]
async fn the_list_of_own_requirements_goes_with_the_mode_that_needs_it() {
    let (client, store) = api();
    look(&client, &reporting()).await.unwrap();
    let list = || {
        store.lock().object.clone().unwrap()["metadata"]["annotations"][OWN_REQUIREMENTS].clone()
    };
    assert!(list().is_string());
    let other_address = Registration {
        foreign: ForeignRequirements::default(),
        ..super::super::tests::by_url()
    };
    look(&client, &other_address).await.unwrap();
    assert_eq!(list(), Value::Null);
}

#[rstest]
#[case::of_aks(ForeignRequirements::default(), Written::Unchanged)]
#[case::none(with(&[], Handling::Correct).foreign, Written::Replaced("the namespace selector"))]
#[case::another(with(&["team"], Handling::Correct).foreign, Written::Replaced("the namespace selector"))]
#[case::this_value(with(&["control-plane=true"], Handling::Correct).foreign, Written::Unchanged)]
#[tokio::test]
async fn tolerated_labels_are_those_of_the_flag(
    #[case] foreign: ForeignRequirements,
    #[case] expected: Written,
) {
    let (client, store) = api();
    let path = "/webhooks/0/namespaceSelector/matchExpressions";
    let exclusion = json!([{"key": "control-plane", "operator": "NotIn", "values": ["true"]}]);
    store
        .lock()
        .put(changed(json(&by_service()), path, exclusion));
    let registration = Registration {
        foreign,
        ..by_service()
    };
    let ensured = look(&client, &registration).await.unwrap();
    assert_eq!(ensured.written, expected);
    let is_left = expected == Written::Unchanged;
    assert_eq!(ensured.foreign.len(), usize::from(is_left));
}
