//! A token of the emergency account, bound to a Secret that is made for its grant: when the grant is closed,
//! the Secret goes, and the API server takes the token for invalid (within ten seconds, for which it remembers
//! that it has accepted one: `k8s.io/apiserver/pkg/authentication/token/cache`).

use std::path::PathBuf;

use anyhow::Context;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use clap::Args;
use helm_guard_core::{
    api::BreakGlassGrant, breakglass::token::GRANT_LABEL, policy::emergency::identities,
};
use k8s_openapi::api::{
    authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec},
    core::v1::{Secret, ServiceAccount},
};
use kube::{
    Api, Client,
    api::{DeleteParams, ObjectMeta, PostParams},
};
use serde_json::Value;

use super::api_calls::CallResult;
use crate::cli::output::say;

/// The token of the emergency account, and where it goes.
#[derive(Debug, Args)]
pub struct TokenArgs {
    /// Emergency account; default: the one in the policy of the cluster
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pub service_account: Option<String>,
    /// File to write the kubeconfig to
    #[arg(long, value_name = "FILE", default_value = "emergency.yaml")]
    pub output: PathBuf,
    /// Overwrite an existing file
    #[arg(long)]
    pub force: bool,
    /// Create only the grant, without a token
    #[arg(long)]
    pub no_token: bool,
}

/// A token of the account for a grant, good for so many seconds at most.
pub(super) async fn request(
    client: &Client,
    (namespace, account): (&str, &str),
    grant: &str,
    seconds: i64,
) -> anyhow::Result<String> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let secret = Secret {
        metadata: ObjectMeta {
            name: Some(grant.to_owned()),
            labels: Some([(GRANT_LABEL.to_owned(), grant.to_owned())].into()),
            ..ObjectMeta::default()
        },
        ..Secret::default()
    };
    let made = secrets.create(&PostParams::default(), &secret).await;
    let made = made.failed_to(&format!(
        "make the Secret {namespace}/{grant} that the token is to end with"
    ))?;
    let asked = TokenRequest {
        spec: TokenRequestSpec {
            bound_object_ref: Some(BoundObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("Secret".to_owned()),
                name: made.metadata.name,
                uid: made.metadata.uid,
            }),
            expiration_seconds: Some(seconds),
            ..TokenRequestSpec::default()
        },
        ..TokenRequest::default()
    };
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
    let answered = accounts
        .create_token_request(account, &PostParams::default(), &asked)
        .await
        .failed_to(&format!("get a token of {namespace}/{account}"))?;
    let token = answered
        .status
        .context("failed to get a token: the API server sent none")?
        .token;
    if let Some(id) = credential_id(&token) {
        say(&format!(
            "the audit logs name what is done with the token {id}"
        ));
    }
    Ok(token)
}

/// As the API server's audit log and the guard's records name it; it is no secret.
fn credential_id(token: &str) -> Option<String> {
    let claims = token.split('.').nth(1)?;
    let claims = BASE64_URL_SAFE_NO_PAD.decode(claims).ok()?;
    let claims: Value = serde_json::from_slice(&claims).ok()?;
    Some(format!("JTI={}", claims.get("jti")?.as_str()?))
}

/// Ends the tokens of a grant. The guard does so too, some seconds later: what fails here is only said.
pub(super) async fn end(client: &Client, grant: &BreakGlassGrant) {
    let name = grant.metadata.name.as_deref().unwrap_or_default();
    let Ok(subjects) = identities(&grant.spec.subjects) else {
        return;
    };
    for (namespace, _) in subjects.accounts() {
        let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
        match secrets.delete(name, &DeleteParams::default()).await {
            Ok(_) => say("its token ends within ten seconds"),
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(_) => say("its token ends within half a minute, when the guard has seen it"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_named_as_in_the_audit_logs() {
        let claims = BASE64_URL_SAFE_NO_PAD.encode(r#"{"jti":"ab-1","exp":1}"#);
        let id = credential_id(&format!("e30.{claims}.sig"));
        assert_eq!(id.as_deref(), Some("JTI=ab-1"));
        assert_eq!(credential_id("opaque"), None);
    }
}
