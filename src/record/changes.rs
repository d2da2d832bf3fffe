//! Writes emergency changes into the cluster, before they are answered.

pub mod census;

use std::{fmt, sync::Arc, time::Instant};

use helm_guard_core::{
    api::{EmergencyChange, EmergencyChangeSpec},
    breakglass::{
        recorded::{Limits, document},
        retried,
    },
};
use kube::{
    Api, Client,
    api::{ListParams, PostParams},
};
use tokio::time::timeout_at;

use self::census::{Census, Count};
use crate::cluster::ApiFailure;

/// Where emergency changes are kept.
#[derive(Clone)]
pub struct Changes {
    client: Client,
    census: Arc<Census>,
    limits: Limits,
}

impl fmt::Debug for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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
    #[error("{limit} emergency changes {scope} are on record, and no more are kept")]
    Full {
        /// What is full.
        scope: Scope,
        /// How many there may be.
        limit: usize,
    },
    /// The API server refused or did not answer.
    #[error("{0}")]
    Failed(#[from] ApiFailure),
    /// There was no time left.
    #[error("there was no time left to write it")]
    Late,
}

/// What a limit is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All records.
    Cluster,
    /// Those of the release's namespace.
    Namespace,
    /// Those of the user.
    Identity,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cluster => "of the cluster",
            Self::Namespace => "of this namespace",
            Self::Identity => "of this user",
        })
    }
}

impl Changes {
    /// Keeps changes through `client`, which needs `create`, `get` and `list` on `emergencychanges`.
    pub fn new(client: Client, census: Arc<Census>) -> Self {
        Self {
            client,
            census,
            limits: Limits::default(),
        }
    }

    /// The same within other limits.
    #[must_use]
    pub fn within(self, limits: Limits) -> Self {
        Self { limits, ..self }
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
        let api: Api<EmergencyChange> =
            Api::namespaced(self.client.clone(), &spec.release.namespace);
        match self.has_room(spec).await {
            Ok(()) => {}
            Err(full @ Unkept::Full { .. }) => return known(&api, spec).await.ok_or(full),
            Err(error) => return Err(error),
        }
        let mut taken = None;
        for name in retried::names(spec) {
            let document = document(spec.clone(), &name);
            match api.create(&PostParams::default(), &document).await {
                Ok(written) => {
                    self.census.add(&written);
                    return Ok(Persisted::New(name));
                }
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

    async fn has_room(&self, spec: &EmergencyChangeSpec) -> Result<(), Unkept> {
        let (user, namespace) = (&spec.user, &spec.release.namespace);
        let count = match self.census.count(user, namespace) {
            Some(count) => count,
            None => self.ask().await?,
        };
        let Limits {
            in_cluster,
            in_namespace,
            of_identity,
        } = self.limits;
        let full = [
            (Scope::Identity, count.of_identity, of_identity),
            (Scope::Namespace, count.in_namespace, in_namespace),
            (Scope::Cluster, count.in_cluster, in_cluster),
        ]
        .into_iter()
        .find(|(_, count, limit)| count >= limit);
        match full {
            Some((scope, _, limit)) => Err(Unkept::Full { scope, limit }),
            None => Ok(()),
        }
    }

    /// One item and the number of the others: the API server counts what it stores, though not whose it is.
    async fn ask(&self) -> Result<Count, Unkept> {
        let api: Api<EmergencyChange> = Api::all(self.client.clone());
        let params = ListParams::default().limit(1);
        let list = api.list_metadata(&params).await;
        let list = list.map_err(|error| failed(&error))?;
        let more = list.metadata.remaining_item_count.unwrap_or_default();
        Ok(Count {
            in_cluster: list.items.len() + usize::try_from(more).unwrap_or_default(),
            in_namespace: 0,
            of_identity: 0,
        })
    }
}

/// What is retried needs no room.
async fn known(api: &Api<EmergencyChange>, spec: &EmergencyChangeSpec) -> Option<Persisted> {
    let name = retried::names(spec).next()?;
    let there = api.get_opt(&name).await.ok()??;
    retried::is_of(&there, spec).then_some(Persisted::Known(name))
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
