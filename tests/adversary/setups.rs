//! Setups that may hide the next request: the first half of a pair. A setup may be allowed or
//! denied; the strikes follow either way.

use serde_json::{Value, json};

use crate::{
    request::Verb,
    strikes::{Edit, Strike, fields, marks},
    target::{Role, Target},
};

/// The API server writes `<` as six bytes into a review.
fn pad(bytes: usize) -> Value {
    Value::String("<".repeat(bytes))
}

/// Every setup for an object, by name.
pub fn all(target: &Target) -> Vec<(String, Vec<Strike>)> {
    let mut found = Vec::new();
    let mut one = |strike: Strike| found.push((strike.name.clone(), vec![strike]));
    for strike in padded(target) {
        one(strike);
    }
    if target.role == Role::Declared {
        for sub in &target.subresources {
            if sub.takes("patch") {
                let place = target.place.sub(&sub.name);
                let mut strike = marks::stripped(&place);
                strike.name = format!("stripped by {}", sub.name);
                one(strike);
                one(Strike::edit(
                    format!("labeled off by {}", sub.name),
                    Verb::Merge,
                    place,
                    vec![Edit::Remove(marks::label())],
                ));
            }
        }
    }
    for (name, edits) in foreign_metadata() {
        one(Strike::edit(name, Verb::Merge, target.place.clone(), edits));
    }
    found
}

/// Undeclared metadata by which code might mistake a declared object for an undeclared one.
fn foreign_metadata() -> Vec<(&'static str, Vec<Edit>)> {
    let label =
        |key: &str, value: &str| Edit::Set(fields(&["metadata", "labels", key]), json!(value));
    let annotation =
        |key: &str, value: &str| Edit::Set(fields(&["metadata", "annotations", key]), json!(value));
    let finalizers: Vec<String> = (0..3000).map(|n| format!("example.com/f{n}")).collect();
    vec![
        (
            "labels of a controller's copy",
            vec![
                label("pod-template-hash", "abc"),
                label("controller-revision-hash", "abc"),
                label("endpointslice.kubernetes.io/managed-by", "somebody"),
            ],
        ),
        (
            "annotations of a hook",
            vec![
                annotation("helm.sh/hook", "pre-install"),
                annotation("helm.sh/resource-policy", "keep"),
            ],
        ),
        (
            "marks of other tools",
            vec![
                label("argocd.argoproj.io/instance", "mine"),
                label("kustomize.toolkit.fluxcd.io/name", "mine"),
                annotation("kubectl.kubernetes.io/last-applied-configuration", "{}"),
            ],
        ),
        (
            "an owner that controls it",
            vec![Edit::Set(
                fields(&["metadata", "ownerReferences"]),
                json!([{
                    "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "mine", "controller": true,
                    "uid": "22222222-2222-2222-2222-222222222222", "blockOwnerDeletion": true,
                }]),
            )],
        ),
        (
            "three thousand finalizers",
            vec![Edit::Set(
                fields(&["metadata", "finalizers"]),
                json!(finalizers),
            )],
        ),
    ]
}

/// Padding of a quarter of a megabyte, which every object accepts, and of a megabyte where a field allows it.
fn padded(target: &Target) -> Vec<Strike> {
    let strike = |name: &str, path: Vec<crate::leaves::Step>, bytes| {
        let edit = Edit::Set(path, pad(bytes));
        Strike::edit(name, Verb::Merge, target.place.clone(), vec![edit])
    };
    let annotation = fields(&["metadata", "annotations", "pad"]);
    let mut strikes = vec![strike("padded by 250 KB", annotation, 250_000)];
    let field: Option<Vec<&str>> = match target.kind.as_str() {
        "ConfigMap" => Some(vec!["data", "pad"]),
        "Gadget" => Some(vec!["spec", "pad"]),
        _ => None,
    };
    if let Some(path) = field {
        strikes.push(strike("padded by 1 MB", fields(&path), 1_000_000));
    }
    for spec in [
        &["spec", "template", "spec"][..],
        &["spec", "jobTemplate", "spec", "template", "spec"],
    ] {
        let containers = crate::leaves::get(&target.baseline, &fields(spec))
            .and_then(|spec| spec.get("containers"));
        if let Some(containers) = containers {
            let mut containers = containers.clone();
            let first = &mut containers[0];
            let mut env = first["env"].as_array().cloned().unwrap_or_default();
            env.push(json!({"name": "PAD", "value": pad(1_000_000)}));
            first["env"] = Value::Array(env);
            let path = [fields(spec), fields(&["containers"])].concat();
            let edit = Edit::Set(path, containers);
            let place = target.place.clone();
            strikes.push(Strike::edit(
                "padded by 1 MB",
                Verb::Merge,
                place,
                vec![edit],
            ));
        }
    }
    strikes
}
