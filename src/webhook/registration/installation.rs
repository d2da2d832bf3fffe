//! The installation of the guard that the registration belongs to.
//!
//! A cluster has one registration. Two installations of the guard would overwrite each other's address once a
//! minute, and each would only be called half of the time. So the registration names the installation that
//! wrote it, and another installation does not change it while the first one runs.
//!
//! Invariants
//! - Only its Lease shows that an installation runs: the claim in the annotation is only valid while somebody
//!   who may write that Lease renews it.
//! - Clocks of machines are not compared, as in `cluster::lease`: a Lease counts as current until it has been
//!   seen unchanged for some time by this process's own clock.
//! - If the Lease cannot be read, the installation counts as running.
//!
//! Start at [`OtherInstallations::is_running`].

use std::{
    fmt,
    time::{Duration, Instant},
};

use helm_guard_core::names;
use k8s_openapi::{
    api::{
        admissionregistration::v1::ValidatingWebhookConfiguration as Configuration,
        coordination::v1::Lease,
    },
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{Api, Client};
use parking_lot::Mutex;

use crate::cluster::{failure::ApiFailure, lease::LEASE_NAME};

/// The annotation with the installation that wrote the registration: `NAMESPACE/LEASE`.
pub(crate) const INSTALLATION: &str = "helm-guard.dev/installation";

/// How long another installation whose Lease does not change counts as running. Kubernetes replaces the pods
/// of a lost node after five minutes.
const HELD: Duration = Duration::from_secs(5 * 60);

/// The same for a Lease without a holder, or a missing Lease: between two leaders, this takes seconds.
const RELEASED: Duration = Duration::from_secs(30);

/// An installation of the guard: all replicas that elect one leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installation {
    /// The namespace of the Lease.
    namespace: String,
}

impl Installation {
    /// The installation in this namespace.
    pub fn new(namespace: String) -> Self {
        Self { namespace }
    }

    /// The installation that wrote a registration, if the registration names a valid one.
    pub fn of(live: &Configuration) -> Option<Self> {
        let annotations = live.metadata.annotations.as_ref()?;
        let (namespace, name) = annotations.get(INSTALLATION)?.split_once('/')?;
        (name == LEASE_NAME && names::is_label(namespace)).then(|| Self::new(namespace.to_owned()))
    }

    /// The namespace of the guard.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The other installation that a registration belongs to.
    pub(super) fn other(own: Option<&Self>, live: &Configuration) -> Option<Self> {
        Self::of(live).filter(|writer| own != Some(writer))
    }
}

impl fmt::Display for Installation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{LEASE_NAME}", self.namespace)
    }
}

/// What to do with the registration of another installation that runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Takeover {
    /// Do not change it.
    #[default]
    Never,
    /// Replace it (`--take-over`).
    Forced,
}

/// The last seen Lease of another installation.
#[derive(Debug)]
struct Observation {
    installation: Installation,
    state: LeaseRenewal,
    /// When this state was seen first.
    since: Instant,
}

/// The state of a Lease, which each renewal changes.
#[derive(Debug, PartialEq, Eq)]
enum LeaseRenewal {
    /// There is no Lease, or it has no holder.
    Released,
    /// It has a holder.
    Held {
        holder: String,
        renewed: Option<MicroTime>,
    },
}

impl LeaseRenewal {
    fn of(lease: Option<Lease>) -> Self {
        let spec = lease.and_then(|lease| lease.spec).unwrap_or_default();
        match spec.holder_identity.filter(|holder| !holder.is_empty()) {
            Some(holder) => Self::Held {
                holder,
                renewed: spec.renew_time,
            },
            None => Self::Released,
        }
    }

    fn time_to_live(&self) -> Duration {
        match self {
            Self::Released => RELEASED,
            Self::Held { .. } => HELD,
        }
    }
}

/// The observed Leases of other installations.
#[derive(Debug, Default)]
pub struct OtherInstallations(Mutex<Option<Observation>>);

impl OtherInstallations {
    /// Whether another installation runs, as far as its Lease shows.
    pub(super) async fn is_running(&self, client: &Client, other: &Installation) -> bool {
        let leases: Api<Lease> = Api::namespaced(client.clone(), &other.namespace);
        match leases.get_opt(LEASE_NAME).await {
            Ok(lease) => self.observe(other, LeaseRenewal::of(lease), Instant::now()),
            Err(error) => {
                let error = ApiFailure::from(&error);
                tracing::warn!(installation = %other, %error, "failed to read the Lease of another installation");
                true
            }
        }
    }

    fn observe(&self, other: &Installation, state: LeaseRenewal, now: Instant) -> bool {
        let mut last = self.0.lock();
        let is_unchanged = last
            .as_ref()
            .is_some_and(|last| last.installation == *other && last.state == state);
        if !is_unchanged {
            *last = Some(Observation {
                installation: other.clone(),
                state,
                since: now,
            });
        }
        last.as_ref().is_none_or(|last| {
            now.saturating_duration_since(last.since) < last.state.time_to_live()
        })
    }
}

#[cfg(test)]
mod tests;
