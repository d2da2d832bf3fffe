//! Calls to the API server, and the one that tells who makes them.

use anyhow::Context;
use kube::Client;

use crate::cluster::ApiFailure;

/// A failed call, told without the content of an object.
pub(super) trait CallResult<T> {
    fn failed_to(self, what: &str) -> anyhow::Result<T>;
}

impl<T> CallResult<T> for kube::Result<T> {
    fn failed_to(self, what: &str) -> anyhow::Result<T> {
        self.map_err(ApiFailure::from)
            .with_context(|| format!("failed to {what}"))
    }
}

/// Who the API server takes us for: the grant must name the one who asks for it.
pub(super) async fn myself(client: &Client) -> anyhow::Result<String> {
    use k8s_openapi::api::authentication::v1::SelfSubjectReview;
    let api: kube::Api<SelfSubjectReview> = kube::Api::all(client.clone());
    let review = api
        .create(
            &kube::api::PostParams::default(),
            &SelfSubjectReview::default(),
        )
        .await
        .failed_to("ask the API server who we are")?;
    review
        .status
        .and_then(|status| status.user_info)
        .and_then(|user| user.username)
        .context("failed to ask the API server who we are: it does not say")
}
