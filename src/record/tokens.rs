//! Ends the tokens of grants that are over: deletes the Secrets that they are bound to. Run by the leader
//! alone.
//!
//! `helm-guard break-glass close` does the same at once; this is for grants that expire, that are revoked by
//! other means, and for a client that did not get to it.
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

/// How often is looked. Of the namespaces that hold emergency accounts only, and there are few.
const PACE: Duration = Duration::from_secs(5);

/// How long one look may take.
const LOOK_TIMEOUT: Duration = Duration::from_secs(30);

/// Secrets that are looked at in one go; the others wait for the next.
const ROUND: u32 = 200;

/// Ends tokens.
#[derive(Clone)]
pub struct Tokens {
    /// Needs `list` and `delete` on Secrets in the namespaces of the emergency accounts, and `get` on grants.
    pub client: Client,
    /// Which accounts there are.
    pub policy: Live,
}

impl Tokens {
    /// Ends them, for as long as it is polled.
    pub async fn run(&self) {
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
                    // Said once, for it goes on until somebody changes the guard's rights.
                    Some(error) => {
                        if complaints.insert(namespace.clone()) {
                            tracing::warn!(
                                namespace,
                                %error,
                                "failed to end the tokens of emergency accounts"
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
            // The grant was made before the Secret: one that is not there has been removed.
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
                Ok(_) => tracing::info!(grant, namespace, "ended the token of a grant"),
                Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}
