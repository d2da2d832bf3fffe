//! Error context of API calls, and the current user.

use anyhow::{Context, bail};
use helm_guard_core::api::policy::breakglass::BreakGlass;
use kube::Client;

use crate::{
    cli::{
        in_force::{InForce, PolicyArgs},
        output::print_note,
    },
    cluster::ApiFailure,
};

/// Adds context to a failed call, without the content of objects.
pub(super) trait CallResult<T> {
    fn failed_to(self, what: &str) -> anyhow::Result<T>;
}

impl<T> CallResult<T> for kube::Result<T> {
    fn failed_to(self, what: &str) -> anyhow::Result<T> {
        let result = self.map_err(ApiFailure::from);
        if let Err(failure) = &result
            && failure.is_unserved()
        {
            bail!(
                "failed to {what}: the CRDs of helm-guard are not installed in this cluster \
                 (deploy/manifests/05-crds.yaml)"
            );
        }
        result.with_context(|| format!("failed to {what}"))
    }
}

/// The break-glass rules in force. An emergency must not fail because they cannot be read: then the defaults apply,
/// and a note says so.
pub(super) async fn rules(client: &Client) -> BreakGlass {
    match InForce::read(client, &PolicyArgs::default()).await {
        Ok(found) => found.policy.spec().break_glass.clone(),
        Err(error) => {
            print_note(&format!(
                "warning: the policy in force is unknown ({error:#}): name the account with --service-account; \
                 approvals may be needed"
            ));
            BreakGlass::default()
        }
    }
}

/// The current user, as the API server sees it. A grant must name its requester.
pub(super) async fn myself(client: &Client) -> anyhow::Result<String> {
    use k8s_openapi::api::authentication::v1::SelfSubjectReview;
    let api: kube::Api<SelfSubjectReview> = kube::Api::all(client.clone());
    let review = api
        .create(
            &kube::api::PostParams::default(),
            &SelfSubjectReview::default(),
        )
        .await
        .failed_to("get the current user from the API server")?;
    review
        .status
        .and_then(|status| status.user_info)
        .and_then(|user| user.username)
        .context("failed to get the current user: the API server's answer has none")
}
