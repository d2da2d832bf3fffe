//! What a release's manifest declares, as Go parses it: kubectl reads the text, and the API server's
//! discovery gives the path of each object.

use std::collections::HashMap;

use anyhow::Context;
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Map, Value};
use tokio::sync::Mutex;

use crate::api::Api;

/// A declared object.
#[derive(Clone, Debug)]
pub struct Object {
    /// API group, empty for the core group.
    pub group: String,
    /// Kind, as in a manifest: `Deployment`.
    pub kind: String,
    /// `KIND/NAME`, with the namespace if it has one: for people.
    pub title: String,
    /// Its path on the API server.
    pub path: String,
    /// The document.
    pub value: Value,
    /// Why the guard is not called for it, if it is not.
    pub exempt: Option<&'static str>,
}

impl Object {
    /// Whether the guard is called when it is written: not for Leases, which change constantly.
    pub fn is_evaluated_when_written(&self) -> bool {
        self.group != "coordination.k8s.io"
    }
}

/// How the API server serves a kind.
#[derive(Clone, Debug)]
struct Served {
    plural: String,
    namespaced: bool,
}

/// What the API server serves, read once for each group version, and again for an unknown kind.
#[derive(Default)]
pub struct Discovery {
    known: Mutex<HashMap<String, HashMap<String, Served>>>,
}

impl Discovery {
    async fn served(&self, api: &Api, version: &str, kind: &str) -> anyhow::Result<Served> {
        let mut known = self.known.lock().await;
        if let Some(served) = known.get(version).and_then(|kinds| kinds.get(kind)) {
            return Ok(served.clone());
        }
        let reply = api.get(&prefix(version)).await?;
        let resources = reply.body.get("resources").and_then(Value::as_array);
        let kinds: HashMap<String, Served> = resources
            .into_iter()
            .flatten()
            .filter_map(|resource| {
                let plural = resource.get("name")?.as_str()?;
                let served = Served {
                    plural: plural.to_owned(),
                    namespaced: resource.get("namespaced")?.as_bool()?,
                };
                let kind = resource.get("kind")?.as_str()?.to_owned();
                (!plural.contains('/')).then_some((kind, served))
            })
            .collect();
        let served = kinds.get(kind).cloned();
        known.insert(version.to_owned(), kinds);
        served.with_context(|| format!("failed to find {kind} in {version}"))
    }
}

/// `/api/v1` or `/apis/GROUP/VERSION`.
pub fn prefix(version: &str) -> String {
    if version.contains('/') {
        format!("/apis/{version}")
    } else {
        format!("/api/{version}")
    }
}

/// The objects of a stream of JSON documents, the last one where several are the same object.
pub async fn objects(
    api: &Api,
    discovery: &Discovery,
    stream: &str,
    namespace: &str,
) -> anyhow::Result<Vec<Object>> {
    let mut found: Vec<Object> = Vec::new();
    for document in serde_json::Deserializer::from_str(stream).into_iter::<Value>() {
        let document = document.context("failed to read what kubectl made of the manifest")?;
        for value in items(document) {
            let object = object(api, discovery, value, namespace).await?;
            match found.iter_mut().find(|other| other.path == object.path) {
                Some(earlier) => *earlier = object,
                None => found.push(object),
            }
        }
    }
    Ok(found)
}

fn items(mut document: Value) -> Vec<Value> {
    let is_list = document.get("kind").and_then(Value::as_str) == Some("List");
    match document.get_mut("items").map(Value::take) {
        Some(Value::Array(items)) if is_list => items,
        Some(items) => {
            if let Some(fields) = document.as_object_mut() {
                fields.insert("items".to_owned(), items);
            }
            vec![document]
        }
        None => vec![document],
    }
}

async fn object(
    api: &Api,
    discovery: &Discovery,
    mut value: Value,
    release_namespace: &str,
) -> anyhow::Result<Object> {
    let text = |pointer: &str| {
        let found = value.pointer(pointer).and_then(Value::as_str);
        found.map(str::to_owned)
    };
    let version = text("/apiVersion").context("failed to find an apiVersion in the manifest")?;
    let kind = text("/kind").context("failed to find a kind in the manifest")?;
    let name = text("/metadata/name").context("failed to find a name in the manifest")?;
    let served = discovery.served(api, &version, &kind).await?;
    let namespace = served
        .namespaced
        .then(|| text("/metadata/namespace").unwrap_or_else(|| release_namespace.to_owned()));
    let (path, title) = match &namespace {
        Some(namespace) => (
            format!(
                "{}/namespaces/{namespace}/{}/{name}",
                prefix(&version),
                served.plural
            ),
            format!("{kind}/{name} in {namespace}"),
        ),
        None => (
            format!("{}/{}/{name}", prefix(&version), served.plural),
            format!("{kind}/{name}"),
        ),
    };
    let group = version
        .split_once('/')
        .map_or(String::new(), |(group, _)| group.to_owned());
    if kind == "Secret" && group.is_empty() {
        fold_string_data(&mut value);
    }
    Ok(Object {
        exempt: exemption(&group),
        group,
        kind,
        title,
        path,
        value,
    })
}

/// Kinds for which the API server calls no webhook, so that it can be repaired.
fn exemption(group: &str) -> Option<&'static str> {
    (group == "admissionregistration.k8s.io").then_some("webhooks are not called for it")
}

/// The API server turns `stringData` into `data` and forgets it.
fn fold_string_data(secret: &mut Value) {
    let Some(fields) = secret.as_object_mut() else {
        return;
    };
    let Some(Value::Object(texts)) = fields.remove("stringData") else {
        return;
    };
    let data = fields
        .entry("data")
        .or_insert_with(|| Value::Object(Map::new()));
    if data.is_null() {
        *data = Value::Object(Map::new());
    }
    for (name, text) in texts {
        if let (Some(data), Some(text)) = (data.as_object_mut(), text.as_str()) {
            data.insert(name, Value::from(BASE64_STANDARD.encode(text)));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn string_data_becomes_data() {
        let mut secret = json!({"data": {"a": "YQ==", "b": "Yg=="}, "stringData": {"b": "c"}});
        fold_string_data(&mut secret);
        assert_eq!(secret, json!({"data": {"a": "YQ==", "b": "Yw=="}}));
    }

    #[test]
    fn a_list_gives_its_items() {
        assert_eq!(items(json!({"kind": "List", "items": [1, 2]})), [1, 2]);
        let config = json!({"kind": "ConfigMap", "items": [1]});
        assert_eq!(items(config.clone()), [config]);
    }
}
