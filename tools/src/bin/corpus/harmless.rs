//! Writes that change nothing declared: each must be allowed.

use std::collections::HashSet;

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use crate::declared::Object;

/// A write and what it shows.
pub struct Write {
    /// What it shows.
    pub what: String,
    pub object: Value,
}

/// Every harmless change of a live object.
pub fn writes(declared: &Object, live: &Value) -> Vec<Write> {
    let mut writes = vec![Write {
        what: "the live object unchanged".to_owned(),
        object: live.clone(),
    }];
    let mut add = |what: &str, pointer: &str, key: &str, value: Value| {
        let mut object = live.clone();
        if insert(&mut object, pointer, key, value) {
            writes.push(Write {
                what: what.to_owned(),
                object,
            });
        }
    };
    let note = "corpus.example.com/note";
    add("an annotation", "/metadata/annotations", note, json!("x"));
    add("a label", "/metadata/labels", note, json!("x"));
    if declared.group.is_empty() && declared.kind == "ConfigMap" {
        add("a data key", "/data", "corpus-note", json!("x"));
    }
    if declared.group.is_empty() && declared.kind == "Secret" {
        let text = json!(BASE64_STANDARD.encode("x"));
        add("a data key", "/data", "corpus-note", text);
    }
    if let Some(template) = template(declared) {
        let restarted = "kubectl.kubernetes.io/restartedAt";
        let annotations = format!("{template}/metadata/annotations");
        add(
            "a rollout restart",
            &annotations,
            restarted,
            json!("2030-01-01T00:00:00Z"),
        );
        let sidecar = json!({"name": "corpus-sidecar", "image": "example.com/sidecar:1"});
        let containers = format!("{template}/spec/containers");
        writes.extend(append("a sidecar", live, &containers, sidecar));
        let env = format!("{containers}/0/env");
        let item = json!({"name": "CORPUS_NOTE", "value": "x"});
        writes.extend(append("an environment variable", live, &env, item));
    }
    if is_built_in(&declared.group) {
        reorder(live, live, &mut String::new(), &mut writes);
    }
    writes
}

fn template(declared: &Object) -> Option<&'static str> {
    match (declared.group.as_str(), declared.kind.as_str()) {
        ("apps", "Deployment" | "StatefulSet" | "DaemonSet") => Some("/spec/template"),
        ("batch", "CronJob") => Some("/spec/jobTemplate/spec/template"),
        _ => None,
    }
}

fn is_built_in(group: &str) -> bool {
    matches!(group, "" | "apps" | "batch")
}

/// Adds a field to the object at a JSON pointer, creating that object if it is missing.
fn insert(object: &mut Value, pointer: &str, key: &str, value: Value) -> bool {
    let mut here = object;
    for name in pointer.split('/').skip(1) {
        let Some(fields) = here.as_object_mut() else {
            return false;
        };
        here = fields.entry(name).or_insert_with(|| json!({}));
    }
    here.as_object_mut()
        .map(|fields| fields.insert(key.to_owned(), value))
        .is_some()
}

fn append(what: &str, live: &Value, pointer: &str, item: Value) -> Option<Write> {
    let mut object = live.clone();
    if let Some(list) = object.pointer_mut(pointer) {
        list.as_array_mut()?.push(item);
    } else {
        let (parent, field) = pointer.rsplit_once('/')?;
        let parent = object.pointer_mut(parent)?.as_object_mut()?;
        parent.insert(field.to_owned(), json!([item]));
    }
    Some(Write {
        what: what.to_owned(),
        object,
    })
}

/// Lists whose items have names or other keys, so that their order is irrelevant.
const KEYED: &[&str] = &[
    "env",
    "ports",
    "volumes",
    "volumeMounts",
    "volumeDevices",
    "containers",
    "initContainers",
    "imagePullSecrets",
    "hostAliases",
    "topologySpreadConstraints",
];

/// Whether each item has its own identity: of two items with the same one, the last applies, so their
/// order matters.
fn all_differ(list: &Value) -> bool {
    let identity = |item: &Value| {
        let fields = [
            "name",
            "mountPath",
            "devicePath",
            "containerPort",
            "port",
            "protocol",
            "ip",
            "topologyKey",
            "whenUnsatisfiable",
        ];
        fields.map(|field| item.get(field).map(Value::to_string))
    };
    let mut seen = HashSet::new();
    let mut items = list.as_array().into_iter().flatten();
    items.all(|item| seen.insert(identity(item)))
}

fn reorder(live: &Value, value: &Value, pointer: &mut String, writes: &mut Vec<Write>) {
    let length = pointer.len();
    let mut descend = |name: &str, value: &Value, writes: &mut Vec<Write>| {
        pointer.push('/');
        pointer.push_str(&name.replace('~', "~0").replace('/', "~1"));
        let items = value.as_array().map_or(0, Vec::len);
        // Users do not order managedFields and status.
        let ours = !pointer.starts_with("/metadata") && !pointer.starts_with("/status");
        // The secrets of a ServiceAccount are one value, those of a Pod have names.
        let keyed = KEYED.contains(&name) && *pointer != "/imagePullSecrets";
        if ours && keyed && items > 1 && all_differ(value) {
            let mut object = live.clone();
            if let Some(list) = object.pointer_mut(pointer).and_then(Value::as_array_mut) {
                list.reverse();
                writes.push(Write {
                    what: format!("another order of {pointer}"),
                    object,
                });
            }
        }
        reorder(live, value, pointer, writes);
        pointer.truncate(length);
    };
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                descend(name, value, writes);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                descend(&index.to_string(), value, writes);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deployment_has_every_harmless_write() {
        let live = json!({"metadata": {"name": "web"}, "spec": {"template": {"spec": {"containers": [
            {"name": "a", "env": [{"name": "X"}, {"name": "Y"}]}, {"name": "b"}]}}}});
        let object = Object {
            group: "apps".to_owned(),
            kind: "Deployment".to_owned(),
            title: String::new(),
            path: String::new(),
            value: json!({}),
            exempt: None,
        };
        let writes = writes(&object, &live);
        let what: Vec<&str> = writes.iter().map(|write| write.what.as_str()).collect();
        assert_eq!(
            what,
            [
                "the live object unchanged",
                "an annotation",
                "a label",
                "a rollout restart",
                "a sidecar",
                "an environment variable",
                "another order of /spec/template/spec/containers",
                "another order of /spec/template/spec/containers/0/env",
            ]
        );
        assert_eq!(
            writes[7].object["spec"]["template"]["spec"]["containers"][0]["env"][0]["name"],
            "Y"
        );
        assert_eq!(
            writes[1].object["metadata"]["annotations"]["corpus.example.com/note"],
            "x"
        );
    }
}
