//! Whether the admission policies of `deploy/` are in place, which validate grants while no guard runs.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicyBinding;
use kube::{Api, Client};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::ApiFailure;

/// A policy without its binding has no effect, nor has a binding without its policy; they are applied
/// from one file.
const BINDINGS: [&str; 2] = ["helm-guard-grants", "helm-guard-emergency-changes"];

/// How often the cluster is checked.
const PACE: Duration = Duration::from_secs(60);

/// Timeout of one check.
const LOOK_TIMEOUT: Duration = Duration::from_secs(15);

/// The result of the last check.
#[derive(Debug, Default)]
pub(crate) struct AdmissionPolicies {
    missing: AtomicBool,
}

impl AdmissionPolicies {
    /// Whether policies are missing, or the API server does not know the kind. False while this is unknown.
    pub(crate) fn are_missing(&self) -> bool {
        self.missing.load(Ordering::Relaxed)
    }

    /// Checks repeatedly while it is polled.
    pub(crate) async fn watch(&self, client: Client) {
        let api: Api<ValidatingAdmissionPolicyBinding> = Api::all(client);
        let mut ticks = interval(PACE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            match timeout(LOOK_TIMEOUT, are_missing(&api)).await {
                Ok(Ok(missing)) => self.missing.store(missing, Ordering::Relaxed),
                Ok(Err(error)) => {
                    tracing::debug!(%error, "failed to read the admission policies");
                }
                Err(_) => {}
            }
        }
    }
}

async fn are_missing(api: &Api<ValidatingAdmissionPolicyBinding>) -> Result<bool, ApiFailure> {
    for name in BINDINGS {
        match api.get_metadata_opt(name).await.map_err(ApiFailure::from) {
            Ok(Some(_)) => {}
            Ok(None) => return Ok(true),
            Err(failure) if failure.is_not_found() => return Ok(true),
            Err(failure) => return Err(failure),
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http::Response;
    use kube::client::Body;
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn client(there: &'static [&'static str], missing: u16) -> Client {
        let service = tower::service_fn(move |request: http::Request<Body>| {
            let name = request.uri().path().rsplit('/').next().unwrap_or_default();
            let code = if there.contains(&name) { 200 } else { missing };
            let body = match code {
                200 => json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
                    "metadata": {"name": name}}),
                _ => json!({"kind": "Status", "status": "Failure", "code": code}),
            };
            let body = Body::from(serde_json::to_vec(&body).unwrap());
            let response = Response::builder().status(code).body(body).unwrap();
            async { Ok::<_, Infallible>(response) }
        });
        Client::new(service, "default")
    }

    #[rstest]
    #[case::all_there(&BINDINGS, 404, Ok(false))]
    #[case::an_older_api_server(&[], 404, Ok(true))]
    #[case::one_removed(&["helm-guard-emergency-changes"], 404, Ok(true))]
    #[case::forbidden(&[], 403, Err(()))]
    #[tokio::test]
    async fn missing_policies_are_reported_and_an_error_proves_nothing(
        #[case] there: &'static [&'static str],
        #[case] code: u16,
        #[case] expected: Result<bool, ()>,
    ) {
        let api = Api::all(client(there, code));
        assert_eq!(are_missing(&api).await.map_err(|_| ()), expected);
    }
}
