//! A token of the emergency account, bound to a Secret that is created for its grant. When the grant is
//! closed, the Secret is deleted, and the API server rejects the token within ten seconds, the lifetime of
//! its token cache (`k8s.io/apiserver/pkg/authentication/token/cache`).

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
use crate::cli::output::print_note;

/// The token of the emergency account, and the file for it.
#[derive(Debug, Args)]
pub(crate) struct TokenArgs {
    /// Emergency account; default: the one in the policy of the cluster
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pub(crate) service_account: Option<String>,
    /// File to write the kubeconfig of the emergency account to
    #[arg(
        long = "write-kubeconfig",
        value_name = "FILE",
        default_value = "emergency.yaml"
    )]
    pub(crate) file: PathBuf,
    /// Overwrite an existing file
    #[arg(long)]
    pub(crate) force: bool,
    /// Create only the grant, without a token
    #[arg(long)]
    pub(crate) no_token: bool,
}

/// Requests a token of the account for a grant, valid for at most `seconds`.
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
    let uid = match secrets.create(&PostParams::default(), &secret).await {
        Ok(made) => made.metadata.uid,
        // An earlier token of the grant is bound to it, whose file may be lost.
        Err(kube::Error::Api(status)) if status.code == 409 => None,
        failed => {
            failed.failed_to(&format!(
                "create the Secret {namespace}/{grant} that the token is bound to"
            ))?;
            None
        }
    };
    let asked = TokenRequest {
        spec: TokenRequestSpec {
            bound_object_ref: Some(BoundObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("Secret".to_owned()),
                name: Some(grant.to_owned()),
                uid,
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
        print_note(&format!(
            "audit logs show the use of this token with its ID {id}"
        ));
    }
    Ok(token)
}

/// The token's ID in the API server's audit log and the guard's records; it is not secret.
fn credential_id(token: &str) -> Option<String> {
    let claims = token.split('.').nth(1)?;
    let claims = BASE64_URL_SAFE_NO_PAD.decode(claims).ok()?;
    let claims: Value = serde_json::from_slice(&claims).ok()?;
    Some(format!("JTI={}", claims.get("jti")?.as_str()?))
}

/// Invalidates the tokens of a grant. The guard does so too, some seconds later, so an error here is only a note.
pub(super) async fn end(client: &Client, grant: &BreakGlassGrant) {
    let name = grant.metadata.name.as_deref().unwrap_or_default();
    let Ok(subjects) = identities(&grant.spec.subjects) else {
        return;
    };
    for (namespace, _) in subjects.accounts() {
        let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
        match secrets.delete(name, &DeleteParams::default()).await {
            Ok(_) => print_note("its token becomes invalid within ten seconds"),
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(_) => print_note("the guard invalidates its token within half a minute"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_the_same_id_as_in_the_audit_log() {
        let claims = BASE64_URL_SAFE_NO_PAD.encode(r#"{"jti":"ab-1","exp":1}"#);
        let id = credential_id(&format!("e30.{claims}.sig"));
        assert_eq!(id.as_deref(), Some("JTI=ab-1"));
        assert_eq!(credential_id("opaque"), None);
    }
}
