//! Removes what a release left behind, so that the next one starts from the same cluster: what Helm
//! never removes (CRDs from `crds/`, hooks, kept objects), and the remains of an interrupted run.
//!
//! What existed before the first chart stays. Everything else is removed, cluster-scoped and in the
//! original namespaces.

use std::{collections::HashSet, time::Duration};

use serde_json::{Value, json};

use crate::api::{Api, Persist, eventually};

/// Kinds whose objects controllers create at any time.
const TRANSIENT: &[&str] = &[
    "events",
    "leases",
    "endpoints",
    "endpointslices",
    "controllerrevisions",
    "componentstatuses",
    "csinodes",
    "podmetrics",
    "nodemetrics",
    "ipaddresses",
    "volumeattachments",
    "certificatesigningrequests",
    "servicecidrs",
];

/// The paths of all objects before the first chart.
pub struct Baseline {
    objects: HashSet<String>,
    namespaces: Vec<String>,
}

/// A kind that can be listed and deleted.
struct Kind {
    prefix: String,
    plural: String,
    namespaced: bool,
}

impl Baseline {
    /// Reads a new cluster.
    pub async fn take(api: &Api) -> anyhow::Result<Self> {
        let namespaces = names(&api.get("/api/v1/namespaces").await?.body);
        let objects = everything(api, &namespaces).await?.into_iter().collect();
        Ok(Self {
            objects,
            namespaces,
        })
    }
}

/// Removes everything that did not exist before, the given namespace first; returns what remains.
pub async fn sweep(api: &Api, baseline: &Baseline, namespace: &str) -> anyhow::Result<Vec<String>> {
    // Records first: without them the objects are no longer guarded.
    for secret in list(api, "/api/v1/secrets?labelSelector=owner%3Dhelm").await? {
        if let Some(path) = path_of(&secret, "/api/v1", "secrets") {
            api.delete(&path, Persist::Really).await?;
        }
    }
    silence(api, baseline).await?;
    for kind in [
        "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings",
        "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies",
        "/apis/apiregistration.k8s.io/v1/apiservices",
    ] {
        for object in list(api, kind).await? {
            remove_unless_known(api, baseline, &object, kind).await?;
        }
    }
    for crd in list(api, CRDS).await? {
        remove_instances(api, &crd).await?;
    }
    let path = format!("/api/v1/namespaces/{namespace}");
    api.delete(&path, Persist::Really).await?;
    let mut left = Vec::new();
    let gone = eventually(Duration::from_secs(20), || async {
        Ok(remaining(api, baseline).await?.is_empty())
    })
    .await?;
    if !gone {
        left = remaining(api, baseline).await?;
    }
    Ok(left)
}

/// Removes the webhooks of a release: the pods that would answer them do not run here, and
/// fail-closed ones would deny every request. Helm recreates them at its next step.
pub async fn silence(api: &Api, baseline: &Baseline) -> anyhow::Result<()> {
    for kind in [
        "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations",
        "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations",
    ] {
        for object in list(api, kind).await? {
            remove_unless_known(api, baseline, &object, kind).await?;
        }
    }
    Ok(())
}

const CRDS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

/// What should not exist any more. Each call deletes it (again), without waiting for a controller
/// to remove a finalizer.
async fn remaining(api: &Api, baseline: &Baseline) -> anyhow::Result<Vec<String>> {
    let mut left = Vec::new();
    for path in everything(api, &baseline.namespaces).await? {
        if baseline.objects.contains(&path) || path.ends_with("/helm-guard") {
            continue;
        }
        if path.starts_with("/api/v1/namespaces/corpus-") && path.matches('/').count() == 4 {
            // Our own namespace. Deleting it takes time, and the next one has another name.
            api.delete(&path, Persist::Really).await?;
            continue;
        }
        api.delete(&path, Persist::Really).await?;
        let finalizers = json!({"metadata": {"finalizers": null}});
        api.merge_patch(&path, &finalizers).await?;
        left.push(path);
    }
    Ok(left)
}

/// The paths of all objects of cluster scope and of those in the given namespaces.
async fn everything(api: &Api, namespaces: &[String]) -> anyhow::Result<Vec<String>> {
    let mut paths = Vec::new();
    for kind in kinds(api).await? {
        if TRANSIENT.contains(&kind.plural.as_str()) {
            continue;
        }
        let path = format!("{}/{}", kind.prefix, kind.plural);
        for object in list(api, &path).await? {
            let namespace = object
                .pointer("/metadata/namespace")
                .and_then(Value::as_str);
            let ours = namespace.is_none_or(|name| namespaces.iter().any(|ours| ours == name));
            let owned = object.pointer("/metadata/ownerReferences").is_some();
            // Objects with an owner are deleted with it; the API server's own groups come back by themselves.
            let automatic = object
                .pointer("/metadata/labels/kube-aggregator.kubernetes.io~1automanaged")
                .is_some();
            if ours && !automatic && !(owned && kind.namespaced) {
                paths.extend(path_of(&object, &kind.prefix, &kind.plural));
            }
        }
    }
    Ok(paths)
}

/// Every kind in one version.
async fn kinds(api: &Api) -> anyhow::Result<Vec<Kind>> {
    let groups = api.get("/apis").await?.body;
    let groups = groups.get("groups").and_then(Value::as_array);
    let mut versions = vec!["/api/v1".to_owned()];
    for group in groups.into_iter().flatten() {
        let version = group
            .pointer("/preferredVersion/groupVersion")
            .and_then(Value::as_str);
        versions.extend(version.map(|version| format!("/apis/{version}")));
    }
    let mut kinds = Vec::new();
    for prefix in versions {
        let reply = api.get(&prefix).await?.body;
        let resources = reply.get("resources").and_then(Value::as_array);
        for resource in resources.into_iter().flatten() {
            let Some(plural) = resource.get("name").and_then(Value::as_str) else {
                continue;
            };
            let verbs = resource.get("verbs").map(Value::to_string);
            let verbs = verbs.unwrap_or_default();
            if !plural.contains('/') && verbs.contains("\"list\"") && verbs.contains("\"delete\"") {
                kinds.push(Kind {
                    prefix: prefix.clone(),
                    plural: plural.to_owned(),
                    namespaced: resource.get("namespaced") == Some(&json!(true)),
                });
            }
        }
    }
    Ok(kinds)
}

/// Removes the finalizers of the instances of a CRD: no controller here acts on them.
async fn remove_instances(api: &Api, crd: &Value) -> anyhow::Result<()> {
    let text = |pointer: &str| crd.pointer(pointer).and_then(Value::as_str);
    let versions = crd.pointer("/spec/versions").and_then(Value::as_array);
    let served = versions
        .into_iter()
        .flatten()
        .find(|version| version.get("served") == Some(&json!(true)))
        .and_then(|version| version.get("name"))
        .and_then(Value::as_str);
    let (Some(group), Some(plural), Some(version)) =
        (text("/spec/group"), text("/spec/names/plural"), served)
    else {
        return Ok(());
    };
    let prefix = format!("/apis/{group}/{version}");
    for instance in list(api, &format!("{prefix}/{plural}")).await? {
        if let Some(path) = path_of(&instance, &prefix, plural) {
            let finalizers = json!({"metadata": {"finalizers": null}});
            api.merge_patch(&path, &finalizers).await?;
            api.delete(&path, Persist::Really).await?;
        }
    }
    Ok(())
}

async fn remove_unless_known(
    api: &Api,
    baseline: &Baseline,
    object: &Value,
    kind: &str,
) -> anyhow::Result<()> {
    let automatic = object
        .pointer("/metadata/labels/kube-aggregator.kubernetes.io~1automanaged")
        .is_some();
    let Some((prefix, plural)) = kind.rsplit_once('/') else {
        return Ok(());
    };
    if let Some(path) = path_of(object, prefix, plural)
        && !automatic
        && !path.ends_with("/helm-guard")
        && !baseline.objects.contains(&path)
    {
        api.delete(&path, Persist::Really).await?;
    }
    Ok(())
}

async fn list(api: &Api, path: &str) -> anyhow::Result<Vec<Value>> {
    let mut reply = api.get(path).await?;
    Ok(match reply.body.get_mut("items").map(Value::take) {
        Some(Value::Array(items)) => items,
        _ => Vec::new(),
    })
}

fn names(list: &Value) -> Vec<String> {
    let items = list.get("items").and_then(Value::as_array);
    items
        .into_iter()
        .flatten()
        .filter_map(|item| Some(item.pointer("/metadata/name")?.as_str()?.to_owned()))
        .collect()
}

fn path_of(object: &Value, prefix: &str, plural: &str) -> Option<String> {
    let name = object.pointer("/metadata/name")?.as_str()?;
    let namespace = object
        .pointer("/metadata/namespace")
        .and_then(Value::as_str);
    // A name may contain characters that a path may not: `system:node`, `a%b`.
    let name = name.replace('%', "%25").replace(' ', "%20");
    Some(match namespace {
        Some(namespace) => format!("{prefix}/namespaces/{namespace}/{plural}/{name}"),
        None => format!("{prefix}/{plural}/{name}"),
    })
}
