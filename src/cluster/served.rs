//! Which kinds the API server serves, and in which versions: discovery, only for the requested
//! groups. Every authenticated user may read it (`system:discovery`).

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::APIGroup;
use kube::Client;

use super::ApiFailure;

/// An aggregated API server that is down delays the others' answers no longer than this.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// The kinds of some groups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Served {
    /// By group and kind; only for groups with more than one version.
    pub kinds: BTreeMap<(String, String), ServedKind>,
    /// Groups that could not be read, for example because an aggregated API server is down. Nothing
    /// is known about them.
    pub unknown: BTreeSet<String>,
}

/// A kind that the API server serves now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServedKind {
    /// Its resource: `horizontalpodautoscalers`.
    pub plural: String,
    /// All versions in which it is served.
    pub versions: BTreeSet<String>,
}

/// Reads `groups`. Groups with one version need no call of their own.
///
/// # Errors
/// When the list of groups cannot be read. A single group that fails is in [`Served::unknown`].
pub async fn served(client: &Client, groups: &BTreeSet<String>) -> Result<Served, ApiFailure> {
    let mut served = Served::default();
    let all = within(client.list_api_groups()).await?;
    for group in all.groups {
        if group.versions.len() < 2 || !groups.contains(&group.name) {
            continue;
        }
        match kinds(client, &group).await {
            Ok(kinds) => served.kinds.extend(kinds),
            Err(error) => {
                tracing::warn!(group = group.name, %error, "failed to discover a group's kinds");
                served.unknown.insert(group.name);
            }
        }
    }
    Ok(served)
}

async fn kinds(
    client: &Client,
    group: &APIGroup,
) -> Result<BTreeMap<(String, String), ServedKind>, ApiFailure> {
    let mut kinds: BTreeMap<_, ServedKind> = BTreeMap::new();
    for version in &group.versions {
        let list = within(client.list_api_group_resources(&version.group_version)).await?;
        for resource in list.resources {
            if resource.name.contains('/') {
                continue;
            }
            let kind = kinds
                .entry((group.name.clone(), resource.kind))
                .or_default();
            if kind.plural.is_empty() {
                kind.plural = resource.name;
            }
            kind.versions.insert(version.version.clone());
        }
    }
    Ok(kinds)
}

async fn within<T>(call: impl Future<Output = kube::Result<T>>) -> Result<T, ApiFailure> {
    match tokio::time::timeout(CALL_TIMEOUT, call).await {
        Ok(answer) => Ok(answer?),
        Err(_elapsed) => Err(ApiFailure::timeout()),
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http::{Request, Response};
    use kube::client::Body;
    use serde_json::{Value, json};

    use super::*;

    /// An API server with these groups; `broken` stands for one whose server is down.
    fn client() -> Client {
        let versions = |group: &str, versions: &[&str]| {
            let version = |v: &&str| json!({"groupVersion": format!("{group}/{v}"), "version": v});
            let versions: Vec<Value> = versions.iter().map(version).collect();
            json!({"name": group, "versions": versions})
        };
        let list = |resources: &[(&str, &str)]| {
            let resource = |(name, kind): &(&str, &str)| json!({"name": name, "kind": kind, "singularName": "", "namespaced": true, "verbs": []});
            let resources: Vec<Value> = resources.iter().map(resource).collect();
            json!({"kind": "APIResourceList", "groupVersion": "", "resources": resources})
        };
        let hpa = ("horizontalpodautoscalers", "HorizontalPodAutoscaler");
        let answer = move |path: &str| match path {
            "/apis" => Some(json!({"kind": "APIGroupList", "groups": [
                versions("autoscaling", &["v2", "v1"]),
                versions("apps", &["v1"]),
                versions("broken", &["v2", "v1"]),
                versions("unasked", &["v2", "v1"]),
            ]})),
            "/apis/autoscaling/v1" => Some(list(&[
                hpa,
                ("horizontalpodautoscalers/status", "HorizontalPodAutoscaler"),
                ("olds", "Old"),
            ])),
            "/apis/autoscaling/v2" | "/apis/broken/v2" => Some(list(&[hpa])),
            _ => None,
        };
        let service = tower::service_fn(move |request: Request<Body>| {
            let (code, body) = match answer(request.uri().path()) {
                Some(body) => (200, body),
                None => (
                    503,
                    json!({"kind": "Status", "status": "Failure", "code": 503}),
                ),
            };
            let response = Response::builder().status(code);
            let body = Body::from(serde_json::to_vec(&body).unwrap());
            async { Ok::<_, Infallible>(response.body(body).unwrap()) }
        });
        Client::new(service, "default")
    }

    #[tokio::test]
    async fn only_requested_groups_are_read_and_a_failure_is_not_an_absence() {
        let groups = ["apps", "autoscaling", "broken", "nowhere"];
        let groups = groups.map(str::to_owned).into();
        let served = served(&client(), &groups).await.unwrap();
        let of = |kind: &str| {
            let kind = &served.kinds[&("autoscaling".to_owned(), kind.to_owned())];
            (
                kind.plural.as_str(),
                kind.versions.iter().map(String::as_str).collect::<Vec<_>>(),
            )
        };
        let hpa = ("horizontalpodautoscalers", vec!["v1", "v2"]);
        assert_eq!(of("HorizontalPodAutoscaler"), hpa);
        assert_eq!(of("Old"), ("olds", vec!["v1"]));
        assert_eq!(served.kinds.len(), 2);
        assert_eq!(served.unknown, BTreeSet::from(["broken".to_owned()]));
    }
}
