//! The Secrets that alert sinks name, read from the guard's own namespace.

use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::{
    Client, Resource,
    api::{GetParams, Request},
};
use tokio::time::timeout;

use crate::cluster::ApiFailure;
use helm_guard_alerts::secrets::{SecretSource, SourceFailure};

/// An API server that takes longer is as good as down.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// Access to the Secrets of one namespace.
#[derive(Clone)]
pub(crate) struct OwnSecrets {
    /// Needs `get` on the Secrets that sinks name.
    pub(crate) client: Client,
    /// The guard's own.
    pub(crate) namespace: String,
}

impl SecretSource for OwnSecrets {
    /// As text: for a typed object that does not parse, the client library logs the whole text.
    async fn get(&self, name: &str) -> Result<String, SourceFailure> {
        let request = Request::new(Secret::url_path(&(), Some(&self.namespace)))
            .get(name, &GetParams::default())
            .map_err(|error| ApiFailure::from(kube::Error::BuildRequest(error)))?;
        let answer = timeout(CALL_TIMEOUT, self.client.request_text(request));
        match answer.await {
            Ok(Ok(text)) => Ok(text),
            Ok(Err(error)) => Err(ApiFailure::from(error).into()),
            Err(_elapsed) => Err(ApiFailure::timeout().into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http::Response;
    use kube::client::Body;
    use tower::service_fn;

    use super::*;

    fn secrets(status: u16, body: &'static str) -> OwnSecrets {
        let api = service_fn(move |request: http::Request<Body>| {
            let path = "/api/v1/namespaces/helm-guard/secrets/alerts";
            assert_eq!(request.uri().path(), path);
            let response = Response::builder().status(status);
            let response = response.body(Body::from(body.as_bytes().to_vec()));
            async move { Ok::<_, Infallible>(response.unwrap()) }
        });
        OwnSecrets {
            client: Client::new(api, "default"),
            namespace: "helm-guard".to_owned(),
        }
    }

    #[tokio::test]
    async fn a_secret_is_returned_unchanged() {
        let text = secrets(200, "{\"a\": 1").get("alerts").await.unwrap();
        assert_eq!(text, "{\"a\": 1");
    }

    #[tokio::test]
    async fn a_failed_call_says_why() {
        let refused = r#"{"kind": "Status", "code": 403, "reason": "Forbidden", "message": "no"}"#;
        let error = secrets(403, refused).get("alerts").await.unwrap_err();
        assert_eq!(error.to_string(), "403 Forbidden: no");
    }
}
