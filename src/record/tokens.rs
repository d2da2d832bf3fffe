//! Revokes the tokens of ended grants by deleting the Secrets that they are bound to. Only the leader runs
//! this.
//!
//! `helm-guard break-glass close` does the same at once; this is for grants that expire or are revoked by
//! other means, and for a client that failed halfway.
//!
//! Start at [`Tokens::run`].

use std::{collections::BTreeSet, time::Duration};

use helm_guard_core::{
    api::BreakGlassGrant,
    breakglass::token::{GRANT_LABEL, is_over},
    policy::Live,
};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, Preconditions},
};
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::cluster::ApiFailure;

/// How often to look. Only the few namespaces that hold emergency accounts are read.
const PACE: Duration = Duration::from_secs(5);

/// How long one round may take.
const LOOK_TIMEOUT: Duration = Duration::from_secs(30);

/// Secrets that are read in one round; the others wait for the next.
const ROUND: u32 = 200;

/// Revokes tokens.
#[derive(Clone)]
pub(crate) struct Tokens {
    /// Needs `list` and `delete` on Secrets in the namespaces of the emergency accounts, and `get` on grants.
    pub(crate) client: Client,
    /// The emergency accounts.
    pub(crate) policy: Live,
}

impl Tokens {
    /// Runs for as long as it is polled.
    pub(crate) async fn run(&self) {
        let mut ticks = interval(PACE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut complaints = BTreeSet::new();
        loop {
            ticks.tick().await;
            let namespaces = self.policy.load().emergencies().account_namespaces();
            for namespace in namespaces {
                let looked = timeout(LOOK_TIMEOUT, self.look(&namespace)).await;
                let failure = looked.unwrap_or_else(|_| Err(ApiFailure::timeout())).err();
                match failure {
                    None => {
                        complaints.remove(&namespace);
                    }
                    // Logged once: it goes on until the guard's rights change.
                    Some(error) => {
                        if complaints.insert(namespace.clone()) {
                            tracing::warn!(
                                namespace,
                                %error,
                                "failed to revoke tokens of emergency accounts"
                            );
                        }
                    }
                }
            }
        }
    }

    async fn look(&self, namespace: &str) -> Result<(), ApiFailure> {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        let grants: Api<BreakGlassGrant> = Api::all(self.client.clone());
        let params = ListParams::default().labels(GRANT_LABEL).limit(ROUND);
        let listed = secrets.list_metadata(&params).await?;
        for secret in listed.items {
            let metadata = secret.metadata;
            let labels = metadata.labels.unwrap_or_default();
            let (Some(name), Some(grant)) = (metadata.name, labels.get(GRANT_LABEL)) else {
                continue;
            };
            // The grant was created before the Secret: if it is missing, it has been removed.
            let found = grants.get_opt(grant).await?;
            let longest = self.policy.load().emergencies().longest();
            if !is_over(found.as_ref(), longest, Timestamp::now()) {
                continue;
            }
            let unchanged = DeleteParams {
                preconditions: Some(Preconditions {
                    uid: metadata.uid,
                    ..Preconditions::default()
                }),
                ..DeleteParams::default()
            };
            match secrets.delete(&name, &unchanged).await {
                Ok(_) => tracing::info!(grant, namespace, "revoked the token of an ended grant"),
                Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}
