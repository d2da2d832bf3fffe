//! Stores emergency changes in the cluster before the request is answered.

pub mod census;

use std::{fmt, sync::Arc, time::Instant};

use helm_guard_core::{
    api::{EmergencyChange, EmergencyChangeSpec},
    breakglass::{
        recorded::{ChangeLimits, document},
        retried,
    },
};
use kube::{
    Api, Client,
    api::{ListParams, PostParams},
};
use tokio::time::timeout_at;

use self::census::{Census, RecordCounts};
use crate::cluster::ApiFailure;

/// Stores emergency changes.
#[derive(Clone)]
pub struct Changes {
    client: Client,
    census: Arc<Census>,
    limits: ChangeLimits,
}

impl fmt::Debug for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Changes")
    }
}

/// A change that is stored, under this name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Persisted {
    /// It was created now.
    New(String),
    /// It was stored already: the request is a retry.
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

/// Why a change is not stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PersistError {
    /// The cluster does not have the kind: the guard was installed without it.
    #[error("EmergencyChange is not installed")]
    NotInstalled,
    /// There are too many already.
    #[error("the limit of {limit} emergency changes {scope} is reached")]
    Full {
        /// What the limit is about.
        scope: LimitScope,
        /// How many records it allows.
        limit: usize,
    },
    /// The API server returned an error or did not answer.
    #[error("{0}")]
    Failed(#[from] ApiFailure),
    /// There was no time left.
    #[error("there was no time left to store it")]
    Late,
}

/// What a limit is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitScope {
    /// All records.
    Cluster,
    /// Those of the release's namespace.
    Namespace,
    /// Those of the user.
    Identity,
}

impl fmt::Display for LimitScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cluster => "in the cluster",
            Self::Namespace => "in this namespace",
            Self::Identity => "by this user",
        })
    }
}

impl Changes {
    /// Stores changes through `client`, which needs `create`, `get` and `list` on `emergencychanges`.
    pub fn new(client: Client, census: Arc<Census>) -> Self {
        Self {
            client,
            census,
            limits: ChangeLimits::default(),
        }
    }

    /// The same with other limits.
    #[must_use]
    pub fn within(self, limits: ChangeLimits) -> Self {
        Self { limits, ..self }
    }

    /// Stores a change, unless it is stored already: a retry does not make a second record.
    pub async fn store(
        &self,
        spec: &EmergencyChangeSpec,
        deadline: Instant,
    ) -> Result<Persisted, PersistError> {
        let writing = timeout_at(deadline.into(), self.write(spec));
        writing.await.unwrap_or(Err(PersistError::Late))
    }

    async fn write(&self, spec: &EmergencyChangeSpec) -> Result<Persisted, PersistError> {
        let api: Api<EmergencyChange> =
            Api::namespaced(self.client.clone(), &spec.release.namespace);
        match self.check_limits(spec).await {
            Ok(()) => {}
            Err(full @ PersistError::Full { .. }) => {
                return find_stored(&api, spec).await.ok_or(full);
            }
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
        Err(taken.map_or(PersistError::Late, PersistError::Failed))
    }

    async fn check_limits(&self, spec: &EmergencyChangeSpec) -> Result<(), PersistError> {
        let (user, namespace) = (&spec.user, &spec.release.namespace);
        let count = match self.census.count(user, namespace) {
            Some(count) => count,
            None => self.count_in_cluster().await?,
        };
        let ChangeLimits {
            in_cluster,
            in_namespace,
            of_identity,
        } = self.limits;
        let full = [
            (LimitScope::Identity, count.of_identity, of_identity),
            (LimitScope::Namespace, count.in_namespace, in_namespace),
            (LimitScope::Cluster, count.in_cluster, in_cluster),
        ]
        .into_iter()
        .find(|(_, count, limit)| count >= limit);
        match full {
            Some((scope, _, limit)) => Err(PersistError::Full { scope, limit }),
            None => Ok(()),
        }
    }

    /// One item and the count of the others: the API server counts what it stores, but not by identity.
    async fn count_in_cluster(&self) -> Result<RecordCounts, PersistError> {
        let api: Api<EmergencyChange> = Api::all(self.client.clone());
        let params = ListParams::default().limit(1);
        let list = api.list_metadata(&params).await;
        let list = list.map_err(|error| failed(&error))?;
        let more = list.metadata.remaining_item_count.unwrap_or_default();
        Ok(RecordCounts {
            in_cluster: list.items.len() + usize::try_from(more).unwrap_or_default(),
            in_namespace: 0,
            of_identity: 0,
        })
    }
}

/// A retry needs no room.
async fn find_stored(api: &Api<EmergencyChange>, spec: &EmergencyChangeSpec) -> Option<Persisted> {
    let name = retried::names(spec).next()?;
    let there = api.get_opt(&name).await.ok()??;
    retried::is_of(&there, spec).then_some(Persisted::Known(name))
}

/// For a missing path the error has no details; for a missing namespace they name it.
fn failed(error: &kube::Error) -> PersistError {
    match error {
        kube::Error::Api(status) if status.code == 404 && !names_namespace(status) => {
            PersistError::NotInstalled
        }
        error => PersistError::Failed(error.into()),
    }
}

fn names_namespace(status: &kube::core::Status) -> bool {
    let details = status.details.as_ref();
    details.is_some_and(|details| details.kind == "namespaces")
}

#[cfg(test)]
mod tests;
