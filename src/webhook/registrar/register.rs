//! One reconciliation of the registration: the wanted state, the changes, and the effect on calls.

use kube::Client;
use tokio::time::timeout;

use super::{API_TIMEOUT, Registrar, state::RegistrationState};
use crate::{
    cluster::lease::Role,
    webhook::{
        paths::PathKey,
        registration::{
            self, Ensured, Memory, Registration, RegistrationError, Unregistered, Written,
            emergencies::Watched, installation::Takeover, owner::RegistrationOwner,
            version_entries::VersionEntries, writer::Mandate,
        },
        tls::Pair,
        versions::Needed,
    },
};

/// The part of the certificate that the API server knows.
pub(super) struct Announced {
    pub(super) ca_bundle: Option<String>,
    pub(super) paths: PathKey,
}

impl From<&Pair> for Announced {
    fn from(pair: &Pair) -> Self {
        Self {
            ca_bundle: pair.ca_bundle.clone(),
            paths: PathKey::of(pair),
        }
    }
}

impl Registrar {
    /// What this replica may change. A replica that cannot take part in an election still registers, because
    /// a cluster without a registration is not guarded.
    fn mandate(&self) -> Mandate {
        let role = *self.role.borrow();
        if matches!(role, Role::Unknown | Role::Follower) {
            self.state.follows();
            return Mandate::WhatIsMissing;
        }
        if self.state.leads_since().elapsed() >= self.intervals.before_undoing_newer {
            Mandate::Everything
        } else {
            Mandate::UnlessNewer
        }
    }

    /// Takes over a registration only once, so that two guards with `--take-over` do not overwrite each other forever.
    fn takeover(&self) -> Takeover {
        if self.state.was_registered() {
            Takeover::Never
        } else {
            self.takeover
        }
    }

    /// The users and groups whose requests are all recorded.
    pub(super) fn watched(&self) -> Watched {
        let (users, groups) = self.policy.load().emergencies().who();
        Watched { users, groups }
    }

    /// The wanted registration, without its owner; `None` if the guard has no address.
    pub(super) fn wanted(
        &self,
        announced: Announced,
        version_entries: VersionEntries,
    ) -> Option<Registration> {
        Some(Registration {
            ca_bundle: announced.ca_bundle,
            version_entries,
            policy: Some(self.policy.load().shared_spec()),
            watched: self.watched(),
            fail_closed: self.fail_closed.clone(),
            foreign: self.foreign.clone(),
            mandate: self.mandate(),
            installation: self.installation.clone(),
            takeover: self.takeover(),
            ..Registration::new(self.endpoint.clone()?, announced.paths)
        })
    }

    /// The current owner of the registration. If it cannot be read, the registration is written without one,
    /// because a cluster without a registration is not guarded.
    async fn owner(&self, client: &Client) -> RegistrationOwner {
        let Some(name) = &self.owner else {
            return RegistrationOwner::AsItIs;
        };
        let read = RegistrationOwner::read(client, name).await;
        let error = read.as_ref().err();
        self.state.read_owner(error.map(ToString::to_string));
        read.unwrap_or_default()
    }
}

/// The result of a reconciliation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReconcileOutcome {
    /// The registration could not be read or written, or calls go elsewhere.
    Failed,
    /// The API server calls and trusts this guard; the leader corrects the rest.
    Behind,
    /// The registration is as wanted, or none is wanted.
    Current,
}

/// Reads the registration, and writes it if it is not as wanted.
pub(super) async fn register(
    registrar: &Registrar,
    announced: impl Into<Announced>,
    needed: &Needed,
) -> ReconcileOutcome {
    let wanted = registrar.wanted(announced.into(), needed.wanted());
    let (Some(client), Some(mut wanted)) = (&registrar.client, wanted) else {
        return ReconcileOutcome::Current;
    };
    let state = &registrar.state;
    let Some(_writing) = state.write().await else {
        return ReconcileOutcome::Current;
    };
    if state.is_suspended() {
        return withdraw(state, client, &wanted).await;
    }
    state.wants(&wanted);
    let memory = Memory {
        paths: &registrar.paths,
        others: &state.others,
    };
    let look = async {
        wanted.owner = registrar.owner(client).await;
        registration::ensure(client, &wanted, memory).await
    };
    let ensured = timeout(API_TIMEOUT, look)
        .await
        .unwrap_or(Err(RegistrationError::Unanswered));
    match ensured {
        Ok(ensured) => {
            log(&ensured, needed);
            state.reconciled(&ensured);
            outcome(&ensured)
        }
        Err(error) => {
            tracing::error!(%error, "failed to register the webhook");
            state.failed(&error);
            ReconcileOutcome::Failed
        }
    }
}

fn outcome(ensured: &Ensured) -> ReconcileOutcome {
    match ensured.written {
        _ if ensured.missed.is_some() => ReconcileOutcome::Failed,
        Written::Left(_) | Written::Announced => ReconcileOutcome::Behind,
        Written::Unchanged | Written::Created | Written::Replaced(_) => ReconcileOutcome::Current,
    }
}

fn log(ensured: &Ensured, needed: &Needed) {
    match &ensured.written {
        Written::Unchanged => {}
        Written::Left(what) => {
            let missed = ensured.missed.as_deref();
            tracing::debug!(what, missed, "left the registration to the leader");
        }
        Written::Created => tracing::info!("registered the webhook"),
        Written::Announced => tracing::info!("added the CA of this replica to the registration"),
        Written::Replaced(registration::VERSIONS) => {
            let versions = needed.version_entries.len();
            tracing::info!(versions, "registered the versions to convert objects to");
        }
        Written::Replaced(registration::EXPIRED_CA) => {
            tracing::info!("removed a CA that no replica uses anymore from the registration");
        }
        Written::Replaced(what) => tracing::warn!(what, "corrected the webhook registration"),
    }
}

/// Removes the registration while the guard is suspended, so that the API server does not wait for it.
async fn withdraw(
    state: &RegistrationState,
    client: &Client,
    wanted: &Registration,
) -> ReconcileOutcome {
    let removal = registration::remove(client, wanted, &state.others);
    let done = timeout(API_TIMEOUT, removal)
        .await
        .unwrap_or(Err(RegistrationError::Unanswered));
    match &done {
        Ok(Unregistered::Deleted) => {
            tracing::warn!("removed the webhook registration: the guard is suspended");
        }
        Ok(Unregistered::Absent | Unregistered::NotOurs) => {}
        Err(error) => {
            tracing::error!(%error, "failed to remove the registration of the suspended guard");
        }
    }
    state.withdrawn(done.as_ref().err());
    match done {
        Ok(_) => ReconcileOutcome::Current,
        Err(_) => ReconcileOutcome::Failed,
    }
}
