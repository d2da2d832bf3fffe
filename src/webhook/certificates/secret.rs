//! The certificate that replicas share, in a Secret `helm-guard-tls` (kubernetes.io/tls, with
//! `ca.crt`) of the guard's own namespace.
//!
//! Any replica that finds the Secret missing or expiring creates a new pair and writes it with
//! optimistic locking; the loser of a race reads what the winner wrote. A Secret that somebody else
//! created (without our managed-by label, for example cert-manager's) is used and never written.

use std::{collections::BTreeMap, time::SystemTime};

use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{
    Api, Client,
    api::{ObjectMeta, Patch, PatchParams, PostParams},
};
use thiserror::Error;

use super::{IssueError, issue, will_do};
use crate::webhook::{
    endpoint::Endpoint,
    marks::{FIELD_MANAGER, MANAGED_BY, own_labels},
    tls::Pair,
};

pub(crate) const SECRET_NAME: &str = "helm-guard-tls";
/// Each lost race means that another replica wrote, so more than a few are not expected.
const ATTEMPTS: u32 = 5;

/// The shared certificate could not be read or written.
#[derive(Debug, Error)]
pub enum SecretError {
    /// The API server denied the call or did not answer.
    #[error("failed to {verb} the Secret {namespace}/{SECRET_NAME}: {source}")]
    Api {
        /// read, create or replace
        verb: &'static str,
        /// The Secret's namespace.
        namespace: String,
        /// Why.
        #[source]
        source: Box<kube::Error>,
    },
    /// The API server took too long.
    #[error(
        "failed to check the Secret {namespace}/{SECRET_NAME}: the API server did not answer \
         in time"
    )]
    Unanswered {
        /// The Secret's namespace.
        namespace: String,
    },
    /// Somebody else's Secret holds no `tls.crt` and `tls.key`.
    #[error(
        "failed to use the Secret {namespace}/{SECRET_NAME}: it has no tls.crt and tls.key, and \
         it is not helm-guard's to replace"
    )]
    Foreign {
        /// The Secret's namespace.
        namespace: String,
    },
    /// A new certificate could not be made.
    #[error(transparent)]
    Issue(#[from] IssueError),
    /// It kept changing.
    #[error(
        "failed to write the Secret {namespace}/{SECRET_NAME}: it was changed by others \
         {ATTEMPTS} times meanwhile"
    )]
    Contended {
        /// The Secret's namespace.
        namespace: String,
    },
}

/// Reads the shared pair, and writes nothing; `None` if the Secret contains no certificate.
///
/// # Errors
/// When the API server denies the call or does not answer.
pub async fn read(client: &Client, namespace: &str) -> Result<Option<Pair>, SecretError> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let found = secrets.get_opt(SECRET_NAME).await;
    let found = found.map_err(|source| SecretError::Api {
        verb: "read",
        namespace: namespace.to_owned(),
        source: Box::new(source),
    })?;
    Ok(found.as_ref().and_then(pair))
}

/// Reads the shared pair, or creates and writes one if there is none that is usable for `endpoint`. `serving`
/// is the bundle of the served certificate: a deleted Secret, or one without its `ca.crt`, must not make the
/// API server distrust the replicas that serve its former content.
pub async fn ensure(
    client: &Client,
    namespace: &str,
    (endpoint, serving): (&Endpoint, Option<&str>),
    now: SystemTime,
) -> Result<Pair, SecretError> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let failed = |verb| {
        move |source| SecretError::Api {
            verb,
            namespace: namespace.to_owned(),
            source: Box::new(source),
        }
    };
    let params = PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..Default::default()
    };
    for _ in 0..ATTEMPTS {
        let found = match secrets.get_opt(SECRET_NAME).await.map_err(failed("read"))? {
            Some(found) => found,
            None => match begin(&secrets, namespace).await.map_err(failed("create")) {
                Ok(begun) => begun,
                Err(error) if lost_race(&error) => continue,
                Err(error) => return Err(error),
            },
        };
        let written = match pair(&found) {
            Some(held) if will_do(&held, endpoint, now) || !is_ours(&found) => {
                return Ok(held);
            }
            None if !is_ours(&found) => {
                return Err(SecretError::Foreign {
                    namespace: namespace.to_owned(),
                });
            }
            held => {
                let held = held.and_then(|held| held.ca_bundle);
                let previous = held.as_deref().into_iter().chain(serving);
                let new = issue(endpoint, previous, now)?;
                let version = found.metadata.resource_version;
                let next = secret(&new, namespace, version);
                let replaced = secrets.replace(SECRET_NAME, &params, &next).await;
                replaced.map(|_| new).map_err(failed("replace"))
            }
        };
        match written {
            Ok(pair) => return Ok(pair),
            Err(error) if lost_race(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Err(SecretError::Contended {
        namespace: namespace.to_owned(),
    })
}

/// Creates a Secret without a certificate. By server-side apply, because RBAC can limit that to a name.
/// Concurrent creations have the same result; a later one gets a conflict, because a replacement changes the
/// owner of the fields.
async fn begin(secrets: &Api<Secret>, namespace: &str) -> kube::Result<Secret> {
    let nothing = Pair {
        chain: String::new(),
        key: String::new(),
        ca_bundle: None,
    };
    let empty = secret(&nothing, namespace, None);
    let params = PatchParams::apply(FIELD_MANAGER);
    secrets
        .patch(SECRET_NAME, &params, &Patch::Apply(&empty))
        .await
}

/// A conflict on create or replace is 409; 404 on replace means that it was deleted in the meantime.
fn lost_race(error: &SecretError) -> bool {
    let SecretError::Api { verb, source, .. } = error else {
        return false;
    };
    let kube::Error::Api(status) = source.as_ref() else {
        return false;
    };
    status.code == 409 || (*verb == "replace" && status.code == 404)
}

fn is_ours(secret: &Secret) -> bool {
    let labels = secret.metadata.labels.as_ref();
    labels
        .and_then(|labels| labels.get(MANAGED_BY))
        .is_some_and(|value| value == FIELD_MANAGER)
}

fn pair(secret: &Secret) -> Option<Pair> {
    let data = secret.data.as_ref()?;
    let text = |key: &str| String::from_utf8(data.get(key)?.0.clone()).ok();
    Some(Pair {
        chain: text("tls.crt")?,
        key: text("tls.key")?,
        ca_bundle: text("ca.crt"),
    })
}

fn secret(pair: &Pair, namespace: &str, resource_version: Option<String>) -> Secret {
    let bytes = |text: &str| ByteString(text.as_bytes().to_vec());
    let mut data = BTreeMap::from([
        ("tls.crt".to_owned(), bytes(&pair.chain)),
        ("tls.key".to_owned(), bytes(&pair.key)),
    ]);
    if let Some(bundle) = &pair.ca_bundle {
        data.insert("ca.crt".to_owned(), bytes(bundle));
    }
    Secret {
        metadata: ObjectMeta {
            name: Some(SECRET_NAME.to_owned()),
            namespace: Some(namespace.to_owned()),
            labels: Some(own_labels()),
            resource_version,
            ..ObjectMeta::default()
        },
        type_: Some("kubernetes.io/tls".to_owned()),
        data: Some(data),
        ..Secret::default()
    }
}

#[cfg(test)]
mod tests;
