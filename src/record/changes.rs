//! Writes emergency changes into the cluster, before they are answered.

use std::time::Instant;

use helm_guard_core::{
    api::{EmergencyChange, EmergencyChangeSpec},
    breakglass::{
        recorded::{MOST_CHANGES, document},
        retried,
    },
};
use kube::{
    Api, Client,
    api::{ListParams, PostParams},
};
use tokio::time::timeout_at;

use crate::cluster::ApiFailure;

/// Where emergency changes are kept.
#[derive(Clone)]
pub struct Changes {
    client: Client,
    most: usize,
}

impl std::fmt::Debug for Changes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Changes")
    }
}

/// A change that is on record, under this name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Persisted {
    /// It was written now.
    New(String),
    /// It was there: somebody retries a change.
    Known(String),
}

impl Persisted {
    /// The name of the record.
    pub fn name(&self) -> &str {
        match self {
            Self::New(name) | Self::Known(name) => name,
        }
    }
}

/// Why a change is not kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unkept {
    /// The cluster has no such kind: the guard was installed without it.
    #[error("EmergencyChange is not installed")]
    NotInstalled,
    /// There are too many already.
    #[error("{0} emergency changes are kept already, and no more than {0} are")]
    Full(usize),
    /// The API server refused or did not answer.
    #[error("{0}")]
    Failed(#[from] ApiFailure),
    /// There was no time left.
    #[error("there was no time left to write it")]
    Late,
}

impl Changes {
    /// Keeps changes through `client`, which needs `create`, `get` and `list` on `emergencychanges`.
    pub fn new(client: Client) -> Self {
        Self {
            client,
            most: MOST_CHANGES,
        }
    }

    /// Writes a change, unless it is there: what is retried is one record.
    pub async fn keep(
        &self,
        spec: &EmergencyChangeSpec,
        deadline: Instant,
    ) -> Result<Persisted, Unkept> {
        let writing = timeout_at(deadline.into(), self.write(spec));
        writing.await.unwrap_or(Err(Unkept::Late))
    }

    async fn write(&self, spec: &EmergencyChangeSpec) -> Result<Persisted, Unkept> {
        self.has_room().await?;
        let api: Api<EmergencyChange> =
            Api::namespaced(self.client.clone(), &spec.release.namespace);
        let mut taken = None;
        for name in retried::names(spec) {
            let document = document(spec.clone(), &name);
            match api.create(&PostParams::default(), &document).await {
                Ok(_) => return Ok(Persisted::New(name)),
                Err(kube::Error::Api(status)) if status.code == 409 => {
                    let there = api.get_opt(&name).await.map_err(ApiFailure::from)?;
                    if there.is_some_and(|there| retried::is_of(&there, spec)) {
                        return Ok(Persisted::Known(name));
                    }
                    taken = Some(ApiFailure::from(&*status));
                }
                Err(error) => return Err(failed(&error)),
            }
        }
        Err(taken.map_or(Unkept::Late, Unkept::Failed))
    }

    /// One item and the number of the others: the API server counts what it stores.
    async fn has_room(&self) -> Result<(), Unkept> {
        let api: Api<EmergencyChange> = Api::all(self.client.clone());
        let params = ListParams::default().limit(1);
        let list = api.list_metadata(&params).await;
        let list = list.map_err(|error| failed(&error))?;
        let more = list.metadata.remaining_item_count.unwrap_or_default();
        let all = list.items.len() + usize::try_from(more).unwrap_or_default();
        if all < self.most {
            Ok(())
        } else {
            Err(Unkept::Full(self.most))
        }
    }
}

/// A path that is not there has no details; a namespace that is not there is named in them.
fn failed(error: &kube::Error) -> Unkept {
    match error {
        kube::Error::Api(status) if status.code == 404 && !names_namespace(status) => {
            Unkept::NotInstalled
        }
        error => Unkept::Failed(error.into()),
    }
}

fn names_namespace(status: &kube::core::Status) -> bool {
    let details = status.details.as_ref();
    details.is_some_and(|details| details.kind == "namespaces")
}

#[cfg(test)]
mod tests;
