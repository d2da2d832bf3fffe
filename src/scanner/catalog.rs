//! The kinds that the API server serves, from two calls (aggregated discovery, Kubernetes 1.30 and later; older
//! servers are asked version by version).
//!
//! Invariant: a kind that is not in the catalog is not served, unless its group is [`Catalog::is_unknown`]. What an
//! aggregated API server that is down serves is unknown, never "nothing".

use std::collections::{BTreeMap, BTreeSet};

use kube::{
    Client,
    core::discovery::v2::{APIGroupDiscoveryList, APIVersionDiscovery},
    discovery::{Discovery, Scope, verbs},
};

use crate::cluster::ApiFailure;

/// A kind in one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CatalogEntry {
    /// API group, empty for the core group.
    pub(crate) group: String,
    /// Version: `v1`.
    pub(crate) version: String,
    /// Kind.
    pub(crate) kind: String,
    /// Resource: `deployments`.
    pub(crate) plural: String,
    pub(crate) is_namespaced: bool,
    /// Whether its objects can be listed.
    pub(crate) is_listable: bool,
}

impl CatalogEntry {
    /// Group and version, as in a manifest.
    pub(crate) fn api_version(&self) -> String {
        match self.group.as_str() {
            "" => self.version.clone(),
            group => format!("{group}/{}", self.version),
        }
    }

    /// The path of its objects, in one namespace or in all.
    pub(crate) fn path(&self, namespace: Option<&str>) -> String {
        let root = if self.group.is_empty() {
            "/api"
        } else {
            "/apis"
        };
        let scope = match namespace {
            Some(namespace) if self.is_namespaced => format!("/namespaces/{namespace}"),
            _ => String::new(),
        };
        format!("{root}/{}{scope}/{}", self.api_version(), self.plural)
    }
}

/// How a kind of a manifest is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Serving<'c> {
    /// In the version of the manifest.
    AsDeclared(&'c CatalogEntry),
    /// Only in other versions, of which this is the preferred one.
    OtherVersion(&'c CatalogEntry),
    /// Not at all.
    Absent,
    /// The API server does not know: the server of the group is down.
    Unknown,
}

/// What is served.
#[derive(Clone, Debug, Default)]
pub(crate) struct Catalog {
    /// By group and kind; the preferred version first.
    kinds: BTreeMap<(String, String), Vec<CatalogEntry>>,
    unknown: BTreeSet<String>,
}

impl Catalog {
    /// Asks the API server. Every authenticated user may (`system:discovery`).
    ///
    /// # Errors
    /// When the list of groups cannot be read.
    pub(crate) async fn read(client: &Client) -> Result<Self, ApiFailure> {
        let (core, groups) = tokio::join!(
            client.list_core_api_versions_aggregated(),
            client.list_api_groups_aggregated(),
        );
        match (core, groups) {
            (Ok(core), Ok(groups)) if !core.items.is_empty() => {
                let mut catalog = Self::default();
                catalog.add_all(core);
                catalog.add_all(groups);
                Ok(catalog)
            }
            // An older server answers with a document of another kind, which has no items or does not parse.
            _ => Self::by_version(client).await,
        }
    }

    async fn by_version(client: &Client) -> Result<Self, ApiFailure> {
        let mut catalog = Self::default();
        let found = Discovery::new(client.clone()).run().await?;
        for group in found.groups() {
            let preferred = group.preferred_version_or_latest();
            let others = group.versions().filter(|version| *version != preferred);
            for version in std::iter::once(preferred).chain(others) {
                for (resource, capabilities) in group.versioned_resources(version) {
                    catalog.add(CatalogEntry {
                        group: resource.group,
                        version: resource.version,
                        kind: resource.kind,
                        plural: resource.plural,
                        is_namespaced: capabilities.scope == Scope::Namespaced,
                        is_listable: capabilities.supports_operation(verbs::LIST),
                    });
                }
            }
        }
        Ok(catalog)
    }

    fn add_all(&mut self, list: APIGroupDiscoveryList) {
        for group in list.items {
            let name = group.metadata.and_then(|metadata| metadata.name);
            let name = name.unwrap_or_default();
            for version in group.versions {
                if version.freshness.as_deref() == Some("Stale") {
                    self.unknown.insert(name.clone());
                }
                self.add_version(&name, version);
            }
        }
    }

    fn add_version(&mut self, group: &str, version: APIVersionDiscovery) {
        let name = version.version.unwrap_or_default();
        for resource in version.resources {
            let kind = resource.response_kind.and_then(|kind| kind.kind);
            let (Some(plural), Some(kind)) = (resource.resource, kind) else {
                continue;
            };
            self.add(CatalogEntry {
                group: group.to_owned(),
                version: name.clone(),
                kind,
                plural,
                is_namespaced: resource.scope.as_deref() == Some("Namespaced"),
                is_listable: resource.verbs.iter().any(|verb| verb == verbs::LIST),
            });
        }
    }

    fn add(&mut self, entry: CatalogEntry) {
        let key = (entry.group.clone(), entry.kind.clone());
        self.kinds.entry(key).or_default().push(entry);
    }

    /// How a kind of a manifest is served.
    pub(crate) fn serving(&self, group: &str, version: &str, kind: &str) -> Serving<'_> {
        let key = (group.to_owned(), kind.to_owned());
        let entries = self.kinds.get(&key).map_or(&[][..], Vec::as_slice);
        match entries.iter().find(|entry| entry.version == version) {
            Some(entry) => Serving::AsDeclared(entry),
            None if self.is_unknown(group) => Serving::Unknown,
            None => entries
                .first()
                .map_or(Serving::Absent, Serving::OtherVersion),
        }
    }

    /// Whether it is unknown what this group serves.
    pub(crate) fn is_unknown(&self, group: &str) -> bool {
        self.unknown.contains(group)
    }

    /// The kinds whose objects can be listed, in the preferred version of each.
    pub(crate) fn listable(&self) -> impl Iterator<Item = &CatalogEntry> {
        let preferred = self.kinds.values().filter_map(|entries| entries.first());
        preferred.filter(|entry| entry.is_listable)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn catalog() -> Catalog {
        let resource = |plural: &str, kind: &str, verbs: &[&str]| {
            json!({
                "resource": plural, "scope": "Namespaced", "verbs": verbs,
                "responseKind": {"group": "", "version": "", "kind": kind},
            })
        };
        let hpa = resource(
            "horizontalpodautoscalers",
            "HorizontalPodAutoscaler",
            &["list"],
        );
        let list = json!({"items": [
            {"metadata": {"name": "autoscaling"}, "versions": [
                {"version": "v2", "freshness": "Current", "resources": [hpa]},
                {"version": "v1", "freshness": "Current", "resources": [
                    hpa, resource("scales", "Scale", &["create"]),
                ]},
            ]},
            {"metadata": {"name": "metrics.k8s.io"}, "versions": [
                {"version": "v1beta1", "freshness": "Stale", "resources": []},
            ]},
        ]});
        let mut catalog = Catalog::default();
        catalog.add_all(serde_json::from_value(list).unwrap());
        catalog
    }

    #[rstest]
    #[case::preferred("autoscaling", "v2", "HorizontalPodAutoscaler", "as declared: v2")]
    #[case::older("autoscaling", "v1", "HorizontalPodAutoscaler", "as declared: v1")]
    #[case::removed("autoscaling", "v2beta2", "HorizontalPodAutoscaler", "other: v2")]
    #[case::no_kind("autoscaling", "v2", "PodAutoscaler", "absent")]
    #[case::no_group("example.com", "v1", "Backup", "absent")]
    #[case::down("metrics.k8s.io", "v1beta1", "PodMetrics", "unknown")]
    fn a_kind_is_served_as_declared_in_another_version_or_not(
        #[case] group: &str,
        #[case] version: &str,
        #[case] kind: &str,
        #[case] expected: &str,
    ) {
        let catalog = catalog();
        let serving = match catalog.serving(group, version, kind) {
            Serving::AsDeclared(entry) => format!("as declared: {}", entry.version),
            Serving::OtherVersion(entry) => format!("other: {}", entry.version),
            Serving::Absent => "absent".to_owned(),
            Serving::Unknown => "unknown".to_owned(),
        };
        assert_eq!(serving, expected);
    }

    #[test]
    fn each_kind_that_can_be_listed_is_listed_once() {
        let catalog = catalog();
        let listed: Vec<String> = catalog
            .listable()
            .map(|entry| entry.path(Some("shop")))
            .collect();
        assert_eq!(
            listed,
            ["/apis/autoscaling/v2/namespaces/shop/horizontalpodautoscalers"]
        );
    }
}
