//! Objects of any kind, as they are now.
//!
//! They are read as text and parsed here: the client library would log or quote what it cannot parse,
//! and an object may be a Secret.

use std::{collections::HashMap, time::Duration};

use http::Request;
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject},
};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::time::timeout;

use super::ApiFailure;
use crate::{
    guard::{ObjectRef, Resource, subject::owner_of},
    helm::ReleaseName,
};

/// An object that does not come in this time is asked for again later.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// Which object.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Group and version, as in a manifest.
    pub api_version: &'a str,
    /// Kind.
    pub kind: &'a str,
    /// Namespace, empty for cluster-scoped objects.
    pub namespace: &'a str,
    /// Name.
    pub name: &'a str,
}

/// The release that an object says it belongs to, by its metadata; none if there is no such object.
///
/// # Errors
/// When the API server does not say.
pub async fn owner(
    client: &Client,
    resource: &Resource<'_>,
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
        // A Binding is of a Pod.
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

/// Reads objects, and remembers the resources of their kinds.
pub struct Objects {
    client: Client,
    plurals: Mutex<HashMap<(String, String), String>>,
}

impl Objects {
    /// Reads through `client`, which needs `get` on what is asked for.
    pub fn new(client: Client) -> Self {
        Self {
            client,
            plurals: Mutex::default(),
        }
    }

    /// The object; none if there is none, or no such kind.
    pub async fn get(&self, wanted: &Wanted<'_>) -> Result<Option<Value>, ApiFailure> {
        let reading = timeout(CALL_TIMEOUT, self.read(wanted));
        match reading.await.unwrap_or_else(|_| Err(ApiFailure::timeout())) {
            Err(failure) if failure.is_not_found() => Ok(None),
            read => read,
        }
    }

    async fn read(&self, wanted: &Wanted<'_>) -> Result<Option<Value>, ApiFailure> {
        let Some(plural) = self.plural(wanted).await? else {
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
        let text = self.client.request_text(request).await?;
        let object = serde_json::from_str(&text).map_err(|_quotes| ApiFailure::unreadable())?;
        Ok(Some(object))
    }

    async fn plural(&self, wanted: &Wanted<'_>) -> Result<Option<String>, ApiFailure> {
        let key = (wanted.api_version.to_owned(), wanted.kind.to_owned());
        if let Some(plural) = self.plurals.lock().get(&key) {
            return Ok(Some(plural.clone()));
        }
        let list = if wanted.api_version.contains('/') {
            let group = self.client.list_api_group_resources(wanted.api_version);
            group.await?
        } else {
            self.client
                .list_core_api_resources(wanted.api_version)
                .await?
        };
        let found = list
            .resources
            .into_iter()
            .find(|resource| resource.kind == wanted.kind && !resource.name.contains('/'));
        let Some(resource) = found else {
            return Ok(None);
        };
        self.plurals.lock().insert(key, resource.name.clone());
        Ok(Some(resource.name))
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
                "/apis/apps/v1/namespaces/shop/deployments/web" => json!({"a": 1}),
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
    async fn an_object_is_read_where_it_is(
        #[case] api_version: &str,
        #[case] kind: &str,
        #[case] namespace: &str,
        #[case] name: &str,
        #[case] expected: Option<u32>,
    ) {
        let wanted = Wanted {
            api_version,
            kind,
            namespace,
            name,
        };
        let object = Objects::new(client()).get(&wanted).await.unwrap();
        assert_eq!(object, expected.map(|a| json!({"a": a})));
    }
}
