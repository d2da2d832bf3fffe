//! Live objects of any kind.
//!
//! They are read as text and parsed here: the client library would log or quote what it cannot parse,
//! and an object may be a Secret.

use std::{collections::HashMap, time::Duration};

use helm_guard_core::{
    guard::{self, ObjectRef, subject::owner_of},
    helm::ReleaseName,
};
use http::Request;
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject},
};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::time::timeout;

use super::{ApiFailure, Clients};

/// Timeout of one read; the object is read again later.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// The identity of an object.
#[derive(Clone, Copy, Debug)]
pub struct WantedObject<'a> {
    /// Group and version, as in a manifest.
    pub api_version: &'a str,
    /// Kind, as in a manifest: `Deployment`.
    pub kind: &'a str,
    /// Namespace, empty for cluster-scoped objects.
    pub namespace: &'a str,
    /// Name.
    pub name: &'a str,
}

/// The release that an object names as its owner in its metadata; `None` if there is no such object.
///
/// # Errors
/// When the API server does not answer.
pub async fn owner(
    client: &Client,
    resource: &guard::Resource<'_>,
    object: &ObjectRef<'_>,
) -> Result<Option<ReleaseName>, ApiFailure> {
    let kind = ApiResource {
        group: resource.group.to_string(),
        version: resource.version.to_string(),
        api_version: match &*resource.group {
            "" => resource.version.to_string(),
            group => format!("{group}/{}", resource.version),
        },
        kind: object.kind.to_owned(),
        // A Binding belongs to a Pod.
        plural: match (&*resource.group, object.kind) {
            ("", "Pod") => "pods".to_owned(),
            _ => resource.resource.to_string(),
        },
    };
    let api: Api<DynamicObject> = match object.namespace {
        "" => Api::all_with(client.clone(), &kind),
        namespace => Api::namespaced_with(client.clone(), namespace, &kind),
    };
    let found = api.get_metadata_opt(&object.name).await?;
    let metadata = found.map(|found| found.metadata);
    Ok(metadata.and_then(|metadata| owner_of(&metadata.annotations.unwrap_or_default())))
}

/// Reads objects, and caches the resources of their kinds.
pub struct Objects {
    clients: Clients,
    resources: Mutex<HashMap<(String, String), LiveResource>>,
}

/// How a kind is served.
#[derive(Clone)]
struct LiveResource {
    plural: String,
    is_namespaced: bool,
}

impl Objects {
    /// Reads through `clients`, which need `get` on the objects.
    pub fn new(clients: impl Into<Clients>) -> Self {
        Self {
            clients: clients.into(),
            resources: Mutex::default(),
        }
    }

    /// The object; `None` if there is no such object or kind.
    pub async fn get(&self, wanted: &WantedObject<'_>) -> Result<Option<Value>, ApiFailure> {
        let reading = self.clients.call(|client| self.read(client, wanted));
        let reading = timeout(CALL_TIMEOUT, reading);
        match reading.await.unwrap_or_else(|_| Err(ApiFailure::timeout())) {
            Err(failure) if failure.is_not_found() => Ok(None),
            read => read,
        }
    }

    /// The release that an object names as its owner in its metadata; `None` if there is no such object or
    /// kind. If the version is not served, another one is read.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub async fn owner(
        &self,
        wanted: &WantedObject<'_>,
    ) -> Result<Option<ReleaseName>, ApiFailure> {
        let reading = self.clients.call(|client| self.read_owner(client, wanted));
        let reading = timeout(CALL_TIMEOUT, reading);
        match reading.await.unwrap_or_else(|_| Err(ApiFailure::timeout())) {
            Err(failure) if failure.is_not_found() => Ok(None),
            read => read,
        }
    }

    async fn read_owner(
        &self,
        client: Client,
        wanted: &WantedObject<'_>,
    ) -> Result<Option<ReleaseName>, ApiFailure> {
        let Some((kind, is_namespaced)) = self.served(&client, wanted).await? else {
            return Ok(None);
        };
        let api: Api<DynamicObject> = match (wanted.namespace, is_namespaced) {
            ("", false) => Api::all_with(client, &kind),
            ("", true) | (_, false) => return Ok(None),
            (namespace, true) => Api::namespaced_with(client, namespace, &kind),
        };
        let found = api.get_metadata_opt(wanted.name).await?;
        let annotations = found.and_then(|found| found.metadata.annotations);
        Ok(owner_of(&annotations.unwrap_or_default()))
    }

    /// The kind in a served version, and whether it is namespaced.
    async fn served(
        &self,
        client: &Client,
        wanted: &WantedObject<'_>,
    ) -> Result<Option<(ApiResource, bool)>, ApiFailure> {
        let named = |api_version: &str, found: LiveResource| {
            let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
            let kind = ApiResource {
                group: group.to_owned(),
                version: version.to_owned(),
                api_version: api_version.to_owned(),
                kind: wanted.kind.to_owned(),
                plural: found.plural,
            };
            (kind, found.is_namespaced)
        };
        match self.resource(client, wanted.api_version, wanted.kind).await {
            Ok(Some(found)) => return Ok(Some(named(wanted.api_version, found))),
            Err(failure) if !failure.is_not_found() => return Err(failure),
            Ok(None) | Err(_) => {}
        }
        let Some((group, _)) = wanted.api_version.split_once('/') else {
            return Ok(None);
        };
        let groups = client.list_api_groups().await?.groups;
        let group = groups.into_iter().find(|known| known.name == group);
        for version in group.into_iter().flat_map(|group| group.versions) {
            let api_version = &version.group_version;
            if *api_version != *wanted.api_version
                && let Some(found) = self.resource(client, api_version, wanted.kind).await?
            {
                return Ok(Some(named(api_version, found)));
            }
        }
        Ok(None)
    }

    async fn read(
        &self,
        client: Client,
        wanted: &WantedObject<'_>,
    ) -> Result<Option<Value>, ApiFailure> {
        let resource = self.resource(&client, wanted.api_version, wanted.kind);
        let Some(LiveResource { plural, .. }) = resource.await? else {
            return Ok(None);
        };
        let root = if wanted.api_version.contains('/') {
            "/apis"
        } else {
            "/api"
        };
        let scope = match wanted.namespace {
            "" => String::new(),
            namespace => format!("/namespaces/{namespace}"),
        };
        let path = format!(
            "{root}/{}{scope}/{plural}/{}",
            wanted.api_version, wanted.name
        );
        let request = Request::get(path)
            .body(Vec::new())
            .map_err(|_| ApiFailure::unreadable())?;
        let text = client.request_text(request).await?;
        let object = serde_json::from_str(&text).map_err(|_quotes| ApiFailure::unreadable())?;
        Ok(Some(object))
    }

    async fn resource(
        &self,
        client: &Client,
        api_version: &str,
        kind: &str,
    ) -> Result<Option<LiveResource>, ApiFailure> {
        let key = (api_version.to_owned(), kind.to_owned());
        if let Some(known) = self.resources.lock().get(&key) {
            return Ok(Some(known.clone()));
        }
        let list = if api_version.contains('/') {
            client.list_api_group_resources(api_version).await?
        } else {
            client.list_core_api_resources(api_version).await?
        };
        let found = list
            .resources
            .into_iter()
            .find(|resource| resource.kind == kind && !resource.name.contains('/'));
        let found = found.map(|resource| LiveResource {
            plural: resource.name,
            is_namespaced: resource.namespaced,
        });
        if let Some(resource) = &found {
            self.resources.lock().insert(key, resource.clone());
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http::Response;
    use kube::client::Body;
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn client() -> Client {
        let service = tower::service_fn(|request: http::Request<Body>| {
            let resources = |name: &str, kind: &str| {
                json!({"kind": "APIResourceList", "groupVersion": "", "resources": [
                    {"name": format!("{name}/status"), "kind": kind, "singularName": "", "namespaced": true, "verbs": []},
                    {"name": name, "kind": kind, "singularName": "", "namespaced": true, "verbs": []},
                ]})
            };
            let body = match request.uri().path() {
                "/apis/apps/v1" => resources("deployments", "Deployment"),
                "/api/v1" => resources("nodes", "Node"),
                "/apis" => json!({"kind": "APIGroupList", "groups": [
                    {"name": "apps", "versions": [{"groupVersion": "apps/v1", "version": "v1"}]},
                ]}),
                "/apis/apps/v1/namespaces/shop/deployments/web" => json!({
                    "a": 1, "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
                    "metadata": {"annotations": {
                        "meta.helm.sh/release-name": "web",
                        "meta.helm.sh/release-namespace": "shop",
                    }},
                }),
                "/api/v1/nodes/one" => json!({"a": 2}),
                _ => Value::Null,
            };
            let code = if body.is_null() { 404 } else { 200 };
            let body = match code {
                404 => json!({"kind": "Status", "status": "Failure", "code": 404}),
                _ => body,
            };
            let response = Response::builder().status(code);
            let body = Body::from(serde_json::to_vec(&body).unwrap());
            async { Ok::<_, Infallible>(response.body(body).unwrap()) }
        });
        Client::new(service, "default")
    }

    #[rstest]
    #[case::namespaced("apps/v1", "Deployment", "shop", "web", Some(1))]
    #[case::of_the_cluster("v1", "Node", "", "one", Some(2))]
    #[case::gone("apps/v1", "Deployment", "shop", "db", None)]
    #[case::no_such_kind("apps/v1", "Widget", "shop", "db", None)]
    #[case::no_such_group("example.com/v1", "Widget", "shop", "db", None)]
    #[tokio::test]
    async fn an_object_is_read_by_kind_and_namespace(
        #[case] api_version: &str,
        #[case] kind: &str,
        #[case] namespace: &str,
        #[case] name: &str,
        #[case] expected: Option<u32>,
    ) {
        let wanted = WantedObject {
            api_version,
            kind,
            namespace,
            name,
        };
        let object = Objects::new(client()).get(&wanted).await.unwrap();
        let a = object.map(|object| object["a"].clone());
        assert_eq!(a, expected.map(Value::from));
    }

    #[rstest]
    #[case::named("apps/v1", "Deployment", "shop", "web", true)]
    #[case::in_a_version_that_is_not_served("apps/v1beta1", "Deployment", "shop", "web", true)]
    #[case::gone("apps/v1", "Deployment", "shop", "db", false)]
    #[case::in_no_namespace("apps/v1", "Deployment", "", "web", false)]
    #[case::no_such_kind("apps/v1", "Widget", "shop", "web", false)]
    #[case::no_such_group("example.com/v1", "Widget", "shop", "web", false)]
    #[tokio::test]
    async fn an_object_names_its_release(
        #[case] api_version: &str,
        #[case] kind: &str,
        #[case] namespace: &str,
        #[case] name: &str,
        #[case] is_named: bool,
    ) {
        let wanted = WantedObject {
            api_version,
            kind,
            namespace,
            name,
        };
        let owner = Objects::new(client()).owner(&wanted).await.unwrap();
        let expected = is_named.then(|| ReleaseName {
            namespace: "shop".to_owned(),
            name: "web".to_owned(),
        });
        assert_eq!(owner, expected);
    }
}
