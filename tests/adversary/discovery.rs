//! What the API server serves: versions, verbs and subresources of every resource.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{api::Api, declared::prefix};

/// A subresource; the empty name is the resource itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sub {
    /// `status`, for example.
    pub name: String,
    /// `get`, `patch`, `update`, `create`.
    pub verbs: Vec<String>,
}

impl Sub {
    /// Whether it supports a verb.
    pub fn takes(&self, verb: &str) -> bool {
        self.verbs.iter().any(|other| other == verb)
    }
}

/// Everything that is served, by `GROUP/VERSION` and resource.
#[derive(Debug, Default)]
pub struct Served(BTreeMap<String, BTreeMap<String, Vec<Sub>>>);

impl Served {
    /// Asks the API server.
    pub async fn ask(api: &Api) -> anyhow::Result<Self> {
        let groups = api.get("/apis").await?.body;
        let versions = list(&groups, "groups")
            .flat_map(|group| list(group, "versions"))
            .filter_map(|version| version.get("groupVersion")?.as_str());
        let mut served = Self::default();
        for version in std::iter::once("v1").chain(versions) {
            let reply = api.get(&prefix(version)).await?.body;
            let resources = served.0.entry(version.to_owned()).or_default();
            for resource in list(&reply, "resources") {
                let Some(name) = resource.get("name").and_then(Value::as_str) else {
                    continue;
                };
                let (plural, sub) = name.split_once('/').unwrap_or((name, ""));
                let verbs = list(resource, "verbs").filter_map(Value::as_str);
                resources.entry(plural.to_owned()).or_default().push(Sub {
                    name: sub.to_owned(),
                    verbs: verbs.map(str::to_owned).collect(),
                });
            }
        }
        Ok(served)
    }

    /// The subresources of a resource.
    pub fn subresources(&self, version: &str, plural: &str) -> Vec<Sub> {
        let all = self.0.get(version).and_then(|all| all.get(plural));
        let all = all.into_iter().flatten();
        all.filter(|sub| !sub.name.is_empty()).cloned().collect()
    }

    /// The other versions of the group that serve a resource.
    pub fn other_versions(&self, version: &str, plural: &str) -> Vec<String> {
        let group = |version: &str| version.split_once('/').map(|(group, _)| group.to_owned());
        let same = |other: &&String| *other != version && group(other) == group(version);
        let versions = self.0.keys().filter(same);
        versions
            .filter(|other| {
                self.0
                    .get(*other)
                    .is_some_and(|all| all.contains_key(plural))
            })
            .cloned()
            .collect()
    }
}

fn list<'v>(value: &'v Value, field: &str) -> impl Iterator<Item = &'v Value> {
    let items = value.get(field).and_then(Value::as_array);
    items.into_iter().flatten()
}
