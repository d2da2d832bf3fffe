//! What is a violation, and what is not.

mod atomic;
mod bounds;
mod custom;
mod items;
mod two_manifests;
mod values;

use serde_json::{Value, json};

use super::*;
use crate::compare::{json::Json, rules::EmptyListPolicy, schema::builtin::builtin};

/// Group, version, kind.
type Kind = (&'static str, &'static str, &'static str);

struct Case {
    kind: Kind,
    declared: Vec<Option<Value>>,
    agreement: Agreement,
    old: Value,
    new: Value,
}

const DEPLOYMENT: Kind = ("apps", "v1", "Deployment");

/// The paths of the violations of a case.
fn paths(case: &Case) -> Vec<String> {
    let (group, version, kind) = case.kind;
    let texts: Vec<Option<String>> = case
        .declared
        .iter()
        .map(|value| value.as_ref().map(Value::to_string))
        .collect();
    let documents: Vec<Option<Json<'_>>> = texts
        .iter()
        .map(|text| text.as_deref().map(Json::of))
        .collect();
    let declared = match &documents[..] {
        [Some(one)] => Declared::One(*one),
        [first, second] => Declared::Two(*first, *second),
        _ => unreachable!("one or two manifests are active"),
    };
    let known = builtin().lookup(group, version, kind);
    let (old, new) = (case.old.to_string(), case.new.to_string());
    let (old, new) = (Json::of(&old), Json::of(&new));
    let comparison = Comparison {
        declared,
        agreement: case.agreement,
        old,
        new,
        shape: known.unwrap_or_else(Shape::plain),
        empties: if known.is_some() {
            EmptyListPolicy::Dropped
        } else {
            EmptyListPolicy::Kept
        },
    };
    compare(&comparison)
        .into_iter()
        .map(|violation| violation.path.to_string())
        .collect()
}

/// A pod template's spec in a Deployment.
fn pod(spec: &Value) -> Value {
    json!({"spec": {"template": {"spec": spec}}})
}

fn one(kind: Kind, objects: [Value; 3]) -> Vec<String> {
    let [declared, old, new] = objects;
    paths(&Case {
        kind,
        declared: vec![Some(declared)],
        agreement: Agreement::Every,
        old,
        new,
    })
}

fn in_pod(declared: &Value, old: &Value, new: &Value) -> Vec<String> {
    one(DEPLOYMENT, [pod(declared), pod(old), pod(new)])
}

#[test]
fn a_declared_value_may_only_move_to_what_is_declared() {
    let spec = |replicas: i64| json!({"spec": {"replicas": replicas}});
    let judge = |declared, old, new| one(DEPLOYMENT, [spec(declared), spec(old), spec(new)]);
    assert_eq!(judge(3, 3, 5), [".spec.replicas"]);
    assert_eq!(
        judge(3, 5, 4),
        [".spec.replicas"],
        "a third value on top of drift"
    );
    assert!(judge(3, 5, 3).is_empty(), "drift is put right");
    assert!(
        judge(3, 5, 5).is_empty(),
        "drift that was there before blocks nothing"
    );
}

#[test]
fn undeclared_fields_are_free() {
    let declared = json!({"containers": [{"name": "web", "image": "nginx:1"}]});
    let new = [
        json!({"containers": [{"name": "web", "image": "nginx:1", "stdin": true}]}),
        json!({"containers": [{"name": "web", "image": "nginx:1"}, {"name": "mesh", "image": "e"}]}),
        json!({"containers": [{"name": "mesh", "image": "e"}, {"name": "web", "image": "nginx:1"}]}),
        json!({"containers": [{"name": "web", "image": "nginx:1", "env": [{"name": "A", "value": "1"}]}]}),
        json!({"containers": [{"name": "web", "image": "nginx:1"}], "tolerations": [{"key": "x"}]}),
    ];
    for new in &new {
        assert!(in_pod(&declared, &declared, new).is_empty(), "{new}");
        assert!(
            in_pod(&declared, new, &declared).is_empty(),
            "taken away again: {new}"
        );
    }
}

#[allow(clippy::too_many_lines, reason = "a table of cases")]
#[test]
fn declared_fields_may_not_be_changed_or_removed() {
    let declared = json!({
        "containers": [{
            "name": "web", "image": "nginx:1", "args": ["-a", "-b"],
            "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
            "ports": [{"containerPort": 80}],
            "resources": {"limits": {"cpu": "1000m", "memory": "1Gi"}},
            "volumeMounts": [{"name": "v", "mountPath": "/data"}],
        }],
        "volumes": [{"name": "v", "emptyDir": {}}],
        "tolerations": [{"key": "a", "operator": "Exists"}],
        "automountServiceAccountToken": false,
    });
    let mut live = declared.clone();
    live["containers"][0]["ports"][0]["protocol"] = json!("TCP");
    live["containers"][0]["resources"]["limits"]["cpu"] = json!("1");
    live["containers"][0]["imagePullPolicy"] = json!("Always");
    let web = ".spec.template.spec.containers[name=web]";
    let edits: [(&str, Option<Value>, String); 19] = [
        (
            "/containers/0/image",
            Some(json!("nginx:9")),
            format!("{web}.image"),
        ),
        (
            "/containers/0/args/1",
            Some(json!("-c")),
            format!("{web}.args[1]"),
        ),
        (
            "/containers/0/args",
            Some(json!(["-b", "-a", "-x"])),
            format!("{web}.args"),
        ),
        ("/containers/0/args", None, format!("{web}.args")),
        (
            "/containers/0/env/1/value",
            Some(json!("3")),
            format!("{web}.env[name=B].value"),
        ),
        (
            "/containers/0/env",
            Some(json!([{"name": "A", "value": "1"}])),
            format!("{web}.env[name=B]"),
        ),
        ("/containers/0/env", None, format!("{web}.env")),
        (
            "/containers/0/ports/0/protocol",
            Some(json!("UDP")),
            format!("{web}.ports[containerPort=80,protocol=TCP]"),
        ),
        (
            "/containers/0/resources/limits/cpu",
            Some(json!("2")),
            format!("{web}.resources.limits.cpu"),
        ),
        (
            "/containers/0/resources/limits/memory",
            None,
            format!("{web}.resources.limits.memory"),
        ),
        ("/containers/0/resources", None, format!("{web}.resources")),
        (
            "/containers/0/volumeMounts/0/mountPath",
            Some(json!("/x")),
            format!("{web}.volumeMounts[mountPath=/data]"),
        ),
        (
            "/containers",
            Some(json!([{"name": "other", "image": "nginx:1"}])),
            web.to_owned(),
        ),
        (
            "/volumes/0",
            Some(json!({"name": "v", "hostPath": {"path": "/"}})),
            ".spec.template.spec.volumes[name=v].emptyDir".to_owned(),
        ),
        (
            "/tolerations",
            Some(json!([{"key": "a", "operator": "Exists"}, {"key": "b"}])),
            ".spec.template.spec.tolerations".to_owned(),
        ),
        (
            "/tolerations/0/key",
            Some(json!("b")),
            ".spec.template.spec.tolerations[0].key".to_owned(),
        ),
        (
            "/automountServiceAccountToken",
            None,
            ".spec.template.spec.automountServiceAccountToken".to_owned(),
        ),
        (
            "/automountServiceAccountToken",
            Some(json!(true)),
            ".spec.template.spec.automountServiceAccountToken".to_owned(),
        ),
        ("/volumes", None, ".spec.template.spec.volumes".to_owned()),
    ];
    for (pointer, value, expected) in edits {
        let mut new = live.clone();
        if let Some(value) = value {
            *new.pointer_mut(pointer).unwrap() = value;
        } else {
            let (parent, field) = pointer.rsplit_once('/').unwrap();
            new.pointer_mut(parent)
                .unwrap()
                .as_object_mut()
                .unwrap()
                .remove(field);
        }
        assert_eq!(
            in_pod(&declared, &live, &new),
            std::slice::from_ref(&expected),
            "{pointer}"
        );
        assert!(
            in_pod(&declared, &new, &live).is_empty(),
            "put back: {pointer}"
        );
    }
}

#[test]
fn a_second_item_under_a_declared_key_is_a_change() {
    let declared = json!({"containers": [{"name": "web", "env": [{"name": "A", "value": "1"}]}]});
    let new = json!({"containers": [{"name": "web", "env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]}]});
    let path = ".spec.template.spec.containers[name=web].env[name=A].value";
    assert_eq!(in_pod(&declared, &declared, &new), [path]);
}

#[test]
fn any_declared_value_of_a_repeated_key_is_accepted() {
    let env = |values: &[&str]| {
        let env: Vec<Value> = values
            .iter()
            .map(|v| json!({"name": "A", "value": v}))
            .collect();
        json!({"containers": [{"name": "web", "env": env}]})
    };
    let declared = env(&["1", "2"]);
    assert!(in_pod(&declared, &env(&["1", "2"]), &env(&["2"])).is_empty());
    assert!(in_pod(&declared, &env(&["1"]), &env(&["2"])).is_empty());
    assert!(!in_pod(&declared, &env(&["1"]), &env(&["3"])).is_empty());
    assert!(!in_pod(&declared, &env(&["1", "2"]), &env(&["1", "3"])).is_empty());
    assert!(!in_pod(&declared, &env(&["1", "2"]), &env(&[])).is_empty());
}

#[test]
fn keyed_lists_may_be_reordered_and_lists_without_keys_may_not() {
    let spec = |names: [&str; 2], args: [&str; 2]| {
        let env: Vec<Value> = names
            .iter()
            .map(|n| json!({"name": n, "value": n}))
            .collect();
        json!({"containers": [{"name": "web", "env": env, "args": args}]})
    };
    let declared = spec(["A", "B"], ["x", "y"]);
    assert!(in_pod(&declared, &declared, &spec(["B", "A"], ["x", "y"])).is_empty());
    assert_eq!(
        in_pod(&declared, &declared, &spec(["A", "B"], ["y", "x"])).len(),
        2
    );
}

#[test]
fn drift_in_one_item_of_an_atomic_list_does_not_block_another() {
    let role = ("rbac.authorization.k8s.io", "v1", "Role");
    let rules = |a: &str, b: &str| json!({"rules": [{"verbs": [a]}, {"verbs": [b]}]});
    assert!(
        one(
            role,
            [
                rules("get", "list"),
                rules("drift", "other"),
                rules("drift", "list")
            ]
        )
        .is_empty()
    );
    let third = one(
        role,
        [
            rules("get", "list"),
            rules("drift", "list"),
            rules("third", "list"),
        ],
    );
    assert_eq!(third, [".rules[0].verbs[0]"]);
}

#[test]
fn a_removed_branch_is_one_violation_at_its_top() {
    let declared = json!({"containers": [{"name": "web", "securityContext": {"runAsUser": 1, "capabilities": {"drop": ["ALL"]}}}]});
    let new = json!({"containers": [{"name": "web"}]});
    assert_eq!(
        in_pod(&declared, &declared, &new),
        [".spec.template.spec.containers[name=web].securityContext"]
    );
}

#[test]
fn the_order_of_hpa_metrics_does_not_matter() {
    let kind = ("autoscaling", "v2", "HorizontalPodAutoscaler");
    let metric = |name: &str| json!({"type": "Resource", "resource": {"name": name}});
    let spec = |metrics: Vec<Value>| json!({"spec": {"metrics": metrics}});
    let declared = spec(vec![metric("memory"), metric("cpu")]);
    let live = spec(vec![metric("cpu"), metric("memory")]);
    assert!(one(kind, [declared.clone(), declared.clone(), live.clone()]).is_empty());
    assert!(!one(kind, [declared, live, spec(vec![metric("cpu")])]).is_empty());
}

#[test]
fn each_declared_member_of_a_set_is_guarded_separately() {
    let with = |members: Value| json!({"metadata": {"finalizers": members}});
    let judge = |old: Value, new: Value| {
        one(
            DEPLOYMENT,
            [with(json!(["a/b", "c/d"])), with(old), with(new)],
        )
    };
    let both = || json!(["a/b", "c/d"]);
    assert_eq!(
        judge(both(), json!(["c/d"])),
        [r#".metadata.finalizers["a/b"]"#]
    );
    assert!(
        judge(both(), json!(["x/y", "c/d", "a/b"])).is_empty(),
        "a member more"
    );
    assert!(
        judge(json!(["a/b", "x/y"]), json!(["a/b"])).is_empty(),
        "one that is not declared"
    );
    assert!(
        judge(json!(["a/b"]), both()).is_empty(),
        "drift is put right"
    );
}
