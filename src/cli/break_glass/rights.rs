//! What `open` checks before it makes anything: the rights of its user, and that the grant is for something that
//! exists. A grant without a token would stay active without being of use.

use anyhow::bail;
use helm_guard_core::api::ObjectScope;
use k8s_openapi::api::{
    authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec},
    core::v1::Namespace,
};
use kube::{Api, Client, api::PostParams};

use super::{api_calls::CallResult, token::TokenArgs};
use crate::{cli::resource::KnownResource, cluster::ApiFailure};

/// A right: verb, group, resource with subresource, namespace, name.
type Right<'a> = (&'a str, &'a str, &'a str, &'a str, &'a str);

/// Whether the user may make a grant, and get a token of the account.
///
/// # Errors
/// Names every right that is missing.
pub(super) async fn check_open(
    client: &Client,
    account: &str,
    token: &TokenArgs,
) -> anyhow::Result<()> {
    let (namespace, name) = account.split_once('/').unwrap_or_default();
    let grant: Right<'_> = ("create", "helm-guard.dev", "breakglassgrants", "", "");
    let of_token: [Right<'_>; 2] = [
        ("create", "", "serviceaccounts/token", namespace, name),
        ("create", "", "secrets", namespace, ""),
    ];
    let wanted = [grant].into_iter().chain(of_token);
    let count = if token.no_token { 1 } else { 3 };
    let mut missing = Vec::new();
    for right in wanted.take(count) {
        if !is_allowed(client, right).await? {
            let (verb, group, resource, namespace, _) = right;
            let dot = if group.is_empty() { "" } else { "." };
            let place = match namespace {
                "" => String::new(),
                namespace => format!(" in namespace {namespace}"),
            };
            missing.push(format!("{verb} {resource}{dot}{group}{place}"));
        }
    }
    if !missing.is_empty() {
        bail!(
            "you may not {}: nothing was created; deploy/break-glass has the roles",
            missing.join(", nor ")
        );
    }
    Ok(())
}

async fn is_allowed(client: &Client, right: Right<'_>) -> anyhow::Result<bool> {
    let (verb, group, resource, namespace, name) = right;
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(ResourceAttributes {
                verb: given(verb),
                group: given(group),
                resource: given(resource),
                subresource: given(subresource),
                namespace: given(namespace),
                name: given(name),
                ..ResourceAttributes::default()
            }),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let api: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let answered = api.create(&PostParams::default(), &review).await;
    let answered = answered.failed_to("ask the API server for your rights")?;
    Ok(answered.status.is_some_and(|status| status.allowed))
}

/// Whether the namespaces and kinds that a grant is for exist. What the user may not see is not checked.
///
/// # Errors
/// Names what does not exist, and what may have been meant.
pub(super) async fn check_scope(client: &Client, scope: &ObjectScope) -> anyhow::Result<()> {
    let of_releases = scope.releases.iter().map(|release| &release.namespace);
    for namespace in scope.namespaces.iter().chain(of_releases) {
        let api: Api<Namespace> = Api::all(client.clone());
        match api.get_metadata(namespace).await.map_err(ApiFailure::from) {
            Err(failure) if failure.is_not_found() => {
                bail!("namespace {namespace:?} does not exist: nothing was created")
            }
            _ => {}
        }
    }
    for kind in &scope.kinds {
        let word = match kind.group.as_str() {
            "" => kind.kind.clone(),
            group => format!("{}.{group}", kind.kind),
        };
        let found = KnownResource::find(client, &word).await?;
        if found.kind != kind.kind || found.group != kind.group {
            let dot = if found.group.is_empty() { "" } else { "." };
            bail!(
                "{word:?} is not a kind with its group: did you mean {}{dot}{}?",
                found.kind,
                found.group
            );
        }
    }
    Ok(())
}
