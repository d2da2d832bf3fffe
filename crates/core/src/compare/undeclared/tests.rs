use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::compare::{budget::StepBudget, rules::EmptyListPolicy, schema::builtin::builtin};

/// The changes, as path, old and new value.
fn changes(
    kind: (&str, &str, &str),
    declared: &[&Value],
    old: &Value,
    new: &Value,
) -> Vec<(String, Value, Value)> {
    let declared: Vec<String> = declared.iter().map(ToString::to_string).collect();
    let declared: Vec<Json<'_>> = declared.iter().map(|text| Json::of(text)).collect();
    let (old, new) = (old.to_string(), new.to_string());
    let known = builtin().lookup(kind.0, kind.1, kind.2);
    let rules = Rules {
        empties: known.map_or(EmptyListPolicy::Kept, |_| EmptyListPolicy::Dropped),
        budget: &StepBudget::default(),
    };
    let shape = known.unwrap_or_else(Shape::plain);
    let objects = (Json::of(&old), Json::of(&new));
    let found = undeclared(&declared, objects, shape, rules, |_| true);
    let value = |json: Option<Json<'_>>| {
        json.map_or(Value::Null, |json| {
            serde_json::from_str(json.text()).unwrap()
        })
    };
    found
        .iter()
        .map(|change| {
            assert!(!change.too_complex);
            (
                change.path.to_string(),
                value(change.old),
                value(change.new),
            )
        })
        .collect()
}

fn paths_in(kind: (&str, &str, &str), declared: &Value, old: &Value, new: &Value) -> Vec<String> {
    let found = changes(kind, &[declared], old, new);
    found.into_iter().map(|(path, ..)| path).collect()
}

const DEPLOYMENT: (&str, &str, &str) = ("apps", "v1", "Deployment");
const SERVICE: (&str, &str, &str) = ("", "v1", "Service");

fn paths(declared: &Value, old: &Value, new: &Value) -> Vec<String> {
    paths_in(DEPLOYMENT, declared, old, new)
}

fn deployment() -> Value {
    json!({
        "metadata": {"labels": {"app": "web"}},
        "spec": {"replicas": 3, "template": {"spec": {
            "containers": [{"name": "web", "image": "nginx:1", "args": ["a"]}],
            "tolerations": [{"key": "a"}, {"key": "b"}],
        }}},
    })
}

fn with(path: &str, value: Value) -> Value {
    let mut object = deployment();
    let (parent, last) = path.rsplit_once('/').unwrap();
    let parent = object.pointer_mut(parent).unwrap();
    match parent {
        Value::Array(items) => items.push(value),
        parent => parent[last] = value,
    }
    object
}

#[rstest]
#[case::declared("/spec/replicas", json!(5), &[])]
#[case::declared_list("/spec/template/spec/containers/0/args", json!(["b", "c"]), &[])]
#[case::added_field("/spec/paused", json!(true), &[".spec.paused"])]
#[case::added_map("/metadata/annotations", json!({"a": "1", "b": "2"}),
    &[".metadata.annotations.a", ".metadata.annotations.b"])]
#[case::added_key("/metadata/labels/tier", json!("x"), &[".metadata.labels.tier"])]
#[case::added_item("/spec/template/spec/containers/-", json!({"name": "proxy", "image": "envoy"}),
    &[".spec.template.spec.containers[name=proxy].image", ".spec.template.spec.containers[name=proxy].name"])]
#[case::added_in_an_item("/spec/template/spec/containers/0/command", json!(["sh"]),
    &[".spec.template.spec.containers[name=web].command"])]
#[case::added_in_an_item_without_a_key("/spec/template/spec/tolerations/1/effect", json!("NoExecute"),
    &[".spec.template.spec.tolerations[1].effect"])]
#[case::added_empty("/spec/strategy", json!({}), &[".spec.strategy"])]
#[case::another_type("/spec/strategy", json!("fast"), &[".spec.strategy"])]
#[case::another_type_of_a_declared_value("/spec/replicas", json!({"min": 1}), &[])]
#[case::an_empty_list_that_is_not_stored("/spec/template/spec/volumes", json!([]), &[])]
#[case::status("/status", json!({"replicas": 3}), &[])]
#[case::servers_metadata("/metadata/generation", json!(2), &[])]
#[case::finalizers("/metadata/finalizers", json!(["a/b"]), &[])]
#[case::null("/spec/paused", Value::Null, &[])]
fn undeclared_changes_are_found(
    #[case] path: &str,
    #[case] value: Value,
    #[case] expected: &[&str],
) {
    let (old, new) = (deployment(), with(path, value));
    assert_eq!(paths(&deployment(), &old, &new), expected);
    assert_eq!(paths(&deployment(), &new, &old), expected, "removed again");
}

fn ports(ports: &Value) -> Value {
    json!({"spec": {"ports": ports}})
}

const TARGET: &str = ".spec.ports[port=80,protocol=TCP].targetPort";
const NAME: &str = ".spec.ports[port=80,protocol=TCP].name";
const PORT: &str = ".spec.ports[port=80,protocol=TCP].port";

/// Only the last of several items with one merge key was compared.
#[rstest]
#[case::the_first_changes(
    json!([{"port": 80, "name": "a", "targetPort": 1}, {"port": 80, "name": "b"}]),
    json!([{"port": 80, "name": "a", "targetPort": 2}, {"port": 80, "name": "b"}]),
    &[TARGET]
)]
#[case::the_last_changes(
    json!([{"port": 80, "name": "a"}, {"port": 80, "name": "b", "targetPort": 1}]),
    json!([{"port": 80, "name": "a"}, {"port": 80, "name": "b", "targetPort": 2}]),
    &[TARGET]
)]
#[case::both_change_and_swap(
    json!([{"port": 80, "name": "a", "targetPort": 1}, {"port": 80, "name": "b", "targetPort": 2}]),
    json!([{"port": 80, "name": "b", "targetPort": 2, "nodePort": 3}, {"port": 80, "name": "a", "targetPort": 1, "nodePort": 4}]),
    &[".spec.ports[port=80,protocol=TCP].nodePort", ".spec.ports[port=80,protocol=TCP].nodePort"]
)]
#[case::they_swap(
    json!([{"port": 80, "name": "a", "targetPort": 1}, {"port": 80, "name": "b", "targetPort": 2}]),
    json!([{"port": 80, "name": "b", "targetPort": 2}, {"port": 80, "name": "a", "targetPort": 1}]),
    &[]
)]
#[case::another_is_added(
    json!([{"port": 80, "name": "a"}, {"port": 80, "name": "b"}]),
    json!([{"port": 80, "name": "c"}, {"port": 80, "name": "a"}, {"port": 80, "name": "b"}]),
    &[NAME, PORT]
)]
#[case::another_is_removed(
    json!([{"port": 80, "name": "a"}, {"port": 80, "name": "b"}, {"port": 80, "name": "c"}]),
    json!([{"port": 80, "name": "a"}, {"port": 80, "name": "b"}]),
    &[NAME, PORT]
)]
#[case::one_of_two_that_are_as_declared_is_removed(
    json!([{"port": 80, "name": "a"}, {"port": 80, "name": "a", "nodePort": 1}, {"port": 80, "name": "b"}]),
    json!([{"port": 80, "name": "a", "nodePort": 1}, {"port": 80, "name": "b"}]),
    &[NAME, PORT]
)]
#[case::a_declared_name_changes(
    json!([{"port": 80, "name": "a"}, {"port": 80, "name": "b"}]),
    json!([{"port": 80, "name": "a"}, {"port": 80, "name": "c"}]),
    &[]
)]
#[case::a_drifted_name_changes(
    json!([{"port": 80, "name": "a"}, {"port": 80, "name": "c"}]),
    json!([{"port": 80, "name": "a"}, {"port": 80, "name": "d"}]),
    &[]
)]
#[case::a_declared_one_is_added(
    json!([{"port": 80, "name": "a"}]),
    json!([{"port": 80, "name": "a"}, {"port": 80, "name": "b"}]),
    &[]
)]
fn each_item_of_a_repeated_key_is_compared(
    #[case] old: Value,
    #[case] new: Value,
    #[case] expected: &[&str],
) {
    let declared = ports(&json!([{"port": 80, "name": "a"}, {"port": 80, "name": "b"}]));
    let found = paths_in(SERVICE, &declared, &ports(&old), &ports(&new));
    assert_eq!(found, expected);
}

#[rstest]
#[case::undeclared(json!([{"port": 443}]), &[TARGET])]
#[case::declared_once(json!([{"port": 80, "name": "a", "targetPort": 1}]), &[TARGET])]
fn an_item_beside_a_declared_one_is_undeclared(#[case] declared: Value, #[case] expected: &[&str]) {
    let with = |target: u16| {
        ports(&json!([
            {"port": 80, "name": "b", "targetPort": target}, {"port": 80, "name": "a", "targetPort": 1},
        ]))
    };
    let found = paths_in(SERVICE, &ports(&declared), &with(2), &with(3));
    assert_eq!(found, expected);
}

#[test]
fn a_second_item_of_a_key_is_undeclared_with_all_its_fields() {
    let one = ports(&json!([{"port": 80, "name": "a"}]));
    let two = ports(&json!([{"port": 80, "name": "a"}, {"port": 80, "name": "b"}]));
    assert_eq!(paths_in(SERVICE, &one, &one, &two), [NAME, PORT]);
    assert_eq!(paths_in(SERVICE, &one, &two, &one), [NAME, PORT]);
}

#[rstest]
#[case::absent(json!({"spec": {}}))]
#[case::empty(ports(&json!([])))]
fn each_item_of_a_new_list_is_reported(#[case] old: Value) {
    let new = ports(&json!([{"port": 80}]));
    assert_eq!(paths_in(SERVICE, &json!({}), &old, &new), [PORT]);
    assert_eq!(
        paths_in(SERVICE, &json!({}), &new, &old),
        [PORT],
        "and back"
    );
}

#[test]
fn what_is_in_a_list_that_is_declared_as_a_whole_is_declared() {
    let metric = |metric: Value| json!({"spec": {"metrics": [metric]}});
    let (old, new) = (
        metric(json!({"type": "Resource"})),
        metric(json!({"type": "Resource", "resource": {"name": "cpu"}})),
    );
    let autoscaler = ("autoscaling", "v2", "HorizontalPodAutoscaler");
    assert_eq!(paths_in(autoscaler, &old, &old, &new), [""; 0]);
    assert_eq!(
        paths_in(autoscaler, &json!({}), &old, &new),
        [".spec.metrics"]
    );
}

#[test]
fn a_null_in_a_list_is_absent() {
    let list = |item: Value| json!({"spec": {"list": [item]}});
    let (null, item) = (list(Value::Null), list(json!({"a": 1})));
    let kind = ("example.com", "v1", "Custom");
    let declared = list(json!({}));
    assert_eq!(paths_in(kind, &declared, &null, &item), [".spec.list[0].a"]);
    assert_eq!(paths_in(kind, &declared, &item, &null), [".spec.list[0].a"]);
}

#[rstest]
#[case::the_last_one_counts(json!(["1", "2"]), json!(["2", "1"]), 2)]
#[case::the_same(json!(["1", "2"]), json!(["1", "2"]), 0)]
#[case::the_first_goes(json!(["1", "2"]), json!(["2"]), 3)]
fn undeclared_variables_of_one_name_are_compared_in_order(
    #[case] old: Value,
    #[case] new: Value,
    #[case] expected: usize,
) {
    let with = |values: Value| {
        let values = values.as_array().unwrap().iter();
        let env: Vec<Value> = values.map(|v| json!({"name": "A", "value": v})).collect();
        json!({"spec": {"template": {"spec": {"containers": [{"name": "web", "env": env}]}}}})
    };
    let found = paths(&deployment(), &with(old), &with(new));
    assert_eq!(found.len(), expected, "{found:?}");
}

#[test]
fn members_of_a_set_are_compared_by_value() {
    let with = |modes: &[&str]| json!({"spec": {"volumeLifecycleModes": modes}});
    let (old, new) = (with(&["a", "b", "c"]), with(&["c", "a", "d"]));
    let found = paths_in(
        ("storage.k8s.io", "v1", "CSIDriver"),
        &with(&["a"]),
        &old,
        &new,
    );
    let at = |mode: &str| format!(".spec.volumeLifecycleModes[{mode:?}]");
    assert_eq!(found, [at("b"), at("d")]);
}

#[test]
fn another_spelling_of_the_same_value_is_no_change() {
    let with = |cpu: Value| {
        let resources = json!({"limits": {"cpu": cpu}});
        json!({"spec": {"template": {"spec": {"containers": [{"name": "web", "resources": resources}]}}}})
    };
    let cpu = ".spec.template.spec.containers[name=web].resources.limits.cpu";
    let between = |old: Value, new: Value| paths(&deployment(), &with(old), &with(new));
    assert_eq!(between(json!("1000m"), json!(1)), [""; 0]);
    assert_eq!(between(json!("1000m"), json!(2)), [cpu]);
}

#[test]
fn an_undeclared_change_is_reported_with_both_values() {
    let (old, new) = (
        with("/spec/paused", json!(true)),
        with("/spec/paused", json!(false)),
    );
    let found = changes(DEPLOYMENT, &[&deployment()], &old, &new);
    let expected = (".spec.paused".to_owned(), json!(true), json!(false));
    assert_eq!(found, [expected]);
}

#[test]
fn a_field_of_any_manifest_is_declared() {
    let (old, new) = (deployment(), with("/spec/paused", json!(true)));
    let other = json!({"spec": {"paused": false}});
    let found = changes(DEPLOYMENT, &[&deployment(), &other], &old, &new);
    assert_eq!(found, []);
}

#[test]
fn reported_changes_are_capped() {
    let labels: serde_json::Map<_, _> =
        (0..10_000).map(|n| (format!("l{n}"), json!("x"))).collect();
    let new = with("/metadata/annotations", Value::Object(labels));
    assert_eq!(paths(&deployment(), &deployment(), &new).len(), MOST);
}

#[test]
fn exempt_changes_hide_no_other_change() {
    let labels: serde_json::Map<_, _> = (0..1_000).map(|n| (format!("l{n}"), json!("x"))).collect();
    let mut new = with("/metadata/annotations", Value::Object(labels));
    new["spec"]["paused"] = json!(true);
    let (old, new) = (deployment().to_string(), new.to_string());
    let rules = Rules {
        empties: EmptyListPolicy::Dropped,
        budget: &StepBudget::default(),
    };
    let objects = (Json::of(&old), Json::of(&new));
    let counts = |change: &Undeclared<'_>| change.path.to_string().starts_with(".spec");
    let found = undeclared(&[], objects, Shape::plain(), rules, counts);
    let paths: Vec<String> = found.iter().map(|change| change.path.to_string()).collect();
    assert_eq!(paths, [".spec.paused"]);
}

/// Nothing is undeclared in silence: where the comparison ends, everything left counts.
#[rstest]
#[case::no_steps(0, 10)]
#[case::few_steps(30, 100)]
#[case::too_many_exempt_changes(u64::MAX, MOST_LOOKED_AT + 1)]
fn a_comparison_that_ends_early_says_so(#[case] steps: u64, #[case] annotations: usize) {
    let labels: serde_json::Map<_, _> = (0..annotations)
        .map(|n| (format!("l{n}"), json!("x")))
        .collect();
    let new = with("/metadata/annotations", Value::Object(labels)).to_string();
    let old = deployment().to_string();
    let rules = Rules {
        empties: EmptyListPolicy::Dropped,
        budget: &StepBudget::of(steps),
    };
    let objects = (Json::of(&old), Json::of(&new));
    let counts = |change: &Undeclared<'_>| change.too_complex;
    let found = undeclared(&[], objects, Shape::plain(), rules, counts);
    assert_eq!(found.len(), 1);
}

#[test]
fn the_work_is_linear_in_the_number_of_items() {
    let many = 20_000;
    let names = || 0..many;
    let account = |items: Vec<Value>| json!({"imagePullSecrets": items}).to_string();
    let item = |n: usize| json!({"name": format!("s{n}"), "more": n});
    let twin = |n: usize| json!({"name": "s", "more": n});
    let changed = |n: usize| json!({"name": "s", "more": n + many});
    for (old, new) in [
        (
            names().map(item).collect(),
            names().rev().map(item).collect(),
        ),
        (
            names().map(twin).collect(),
            names().rev().map(twin).collect(),
        ),
        (names().map(item).collect(), Vec::new()),
        (
            names().map(twin).collect::<Vec<Value>>(),
            names().take(20).map(changed).collect(),
        ),
    ] {
        let (old, new) = (account(old), account(new));
        let rules = Rules {
            empties: EmptyListPolicy::Dropped,
            budget: &StepBudget::default(),
        };
        let shape = builtin().lookup("", "v1", "ServiceAccount").unwrap();
        let found = undeclared(&[], (Json::of(&old), Json::of(&new)), shape, rules, |_| {
            true
        });
        let steps = rules.budget.spent();
        assert!(found.iter().all(|change| !change.too_complex), "{steps}");
        assert!(steps < many as u64 * 100, "{steps} steps for {many} items");
    }
}
