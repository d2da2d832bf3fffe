//! Reads, writes and removes the configuration in the cluster.
//!
//! [`ensure`] writes the wanted configuration if the one in the cluster differs, and keeps what others added to
//! it. [`unregister`] removes it if this guard wrote it, [`remove`] regardless of its content.

use std::{
    collections::BTreeSet,
    time::{Instant, SystemTime},
};

use k8s_openapi::api::admissionregistration::v1::{
    ValidatingWebhook, ValidatingWebhookConfiguration,
};
use kube::{
    Api, Client,
    api::{DeleteParams, ObjectMeta, Patch, PatchParams, PostParams, Preconditions},
};
use thiserror::Error;

use super::{
    CONFIGURATION_NAME, Registration, client_config, configuration, drift, entries, foreign,
    installation::{Installation, OtherInstallations, Takeover},
    owner::RegistrationOwner,
    route_of,
    trust::{self, Trust},
};
use crate::webhook::{marks::FIELD_MANAGER, paths::Paths};

/// The difference of an expired CA, which is not made by others.
pub const EXPIRED_CA: &str = "a CA that no replica uses anymore";

/// Each lost race means that another client wrote.
const ATTEMPTS: u32 = 5;

/// The configuration could not be read, written or deleted.
#[derive(Debug, Error)]
pub enum RegistrationError {
    /// The API server denied the call or did not answer.
    #[error("failed to {verb} the ValidatingWebhookConfiguration {CONFIGURATION_NAME}: {source}")]
    Api {
        /// read, create, replace or delete
        verb: &'static str,
        /// Why.
        #[source]
        source: Box<kube::Error>,
    },
    /// The API server took too long.
    #[error(
        "failed to read or write the ValidatingWebhookConfiguration {CONFIGURATION_NAME}: the API \
         server did not answer in time"
    )]
    Unanswered,
    /// Others kept changing it.
    #[error(
        "failed to write the ValidatingWebhookConfiguration {CONFIGURATION_NAME}: it was changed \
         by others {ATTEMPTS} times meanwhile"
    )]
    Contended,
}

/// What [`ensure`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// Nothing: it was as wanted.
    Unchanged,
    /// It did not exist before.
    Created,
    /// Replaced it, because of this difference.
    Replaced(&'static str),
    /// Added the CA of this replica.
    Announced,
    /// Left this difference: another replica is the leader, or a newer guard wrote it.
    Left(&'static str),
}

/// The result of [`ensure`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ensured {
    /// What it did.
    pub written: Written,
    /// Foreign requirements and conditions that stay, each with its entry.
    pub foreign: Vec<String>,
    /// Why the API server does not call this guard, if so.
    pub missed: Option<String>,
    /// The other installation that gets the calls, if any.
    pub other: Option<Installation>,
}

/// What [`unregister`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unregistered {
    /// The configuration is gone.
    Deleted,
    /// It did not exist.
    Absent,
    /// This guard did not write it, so it stays.
    NotOurs,
}

/// State that is kept between reconciliations.
#[derive(Clone, Copy, Debug)]
pub struct Memory<'m> {
    /// The accepted paths.
    pub paths: &'m Paths,
    /// Other installations of the guard.
    pub others: &'m OtherInstallations,
}

/// Writes the wanted configuration, unless it already exists, or belongs to another running installation. Its
/// paths are accepted from now on.
pub async fn ensure(
    client: &Client,
    registration: &Registration,
    Memory { paths, others }: Memory<'_>,
) -> Result<Ensured, RegistrationError> {
    let api: Api<ValidatingWebhookConfiguration> = Api::all(client.clone());
    let params = PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..Default::default()
    };
    let mut is_new = false;
    for _ in 0..ATTEMPTS {
        let live = api
            .get_opt(CONFIGURATION_NAME)
            .await
            .map_err(failed("read"))?;
        paths.observe(live.as_ref(), Instant::now());
        if let RegistrationOwner::Gone(name) = &registration.owner {
            return Ok(without_owner(name));
        }
        let live = match live {
            Some(live) => live,
            None => match begin(&api).await {
                Ok(begun) => {
                    is_new = entries(&begun).is_empty();
                    begun
                }
                Err(error) if is_status(&error, 409) => continue,
                Err(error) => return Err(error),
            },
        };
        if let Some(other) = other_owner(registration, &live)
            && registration.takeover == Takeover::Never
        {
            if others.is_running(client, &other).await {
                return Ok(left_to(other));
            }
            tracing::warn!(installation = %other, "replacing the registration of an installation that does not run");
        }
        let (next, written) = match step(registration, live, is_new, SystemTime::now()) {
            Step::Nothing(ensured) => return Ok(ensured),
            Step::Write(next, written) => (next, written),
        };
        let replaced = api.replace(CONFIGURATION_NAME, &params, &next).await;
        match replaced.map_err(failed("replace")) {
            Ok(_) => return Ok(written),
            Err(error) if is_status(&error, 409) || is_status(&error, 404) => {}
            Err(error) => return Err(error),
        }
    }
    Err(RegistrationError::Contended)
}

/// The other installation that the registration belongs to, if it gets the calls. An installation that moves
/// keeps its Service, and so its address.
fn other_owner(
    registration: &Registration,
    live: &ValidatingWebhookConfiguration,
) -> Option<Installation> {
    let other = Installation::other(registration.installation.as_ref(), live)?;
    let wanted = configuration(registration, &BTreeSet::new());
    let is_elsewhere = !entries(live).is_empty() && drift::missed(live, &wanted).is_some();
    is_elsewhere.then_some(other)
}

fn without_owner(owner: &str) -> Ensured {
    Ensured {
        written: Written::Left("the owner"),
        foreign: Vec::new(),
        missed: Some(format!(
            "nothing is registered without the ClusterRole {owner} (--owner-cluster-role), which does not exist"
        )),
        other: None,
    }
}

fn left_to(other: Installation) -> Ensured {
    Ensured {
        written: Written::Left("the address"),
        foreign: Vec::new(),
        missed: Some(format!(
            "the installation {other} is registered and runs: uninstall one of the two, or start this one \
             with --take-over"
        )),
        other: Some(other),
    }
}

/// The next step, given the live configuration.
enum Step {
    Nothing(Ensured),
    Write(Box<ValidatingWebhookConfiguration>, Ensured),
}

fn step(
    registration: &Registration,
    live: ValidatingWebhookConfiguration,
    is_new: bool,
    now: SystemTime,
) -> Step {
    let own = registration.ca_bundle.as_deref();
    let objection = if is_new {
        None
    } else {
        registration.mandate.objection(&live)
    };
    let trust = match &objection {
        None => trust::united(own, &live, now),
        Some(_) => Trust::as_it_is(&live),
    };
    let united = Registration {
        ca_bundle: trust.bundle.clone(),
        ..registration.clone()
    };
    let wanted = configuration(&united, &registration.version_entries.at(Some(&live)));
    let (wanted, foreign) = foreign::with_tolerated(&live, wanted, &registration.foreign);
    let done = |written, missed| Ensured {
        written,
        foreign,
        missed,
        other: None,
    };
    let what = difference(&live, &wanted, &trust);
    match (objection, what) {
        (None, None) => Step::Nothing(done(Written::Unchanged, None)),
        (None, Some(what)) => {
            let written = if is_new {
                Written::Created
            } else {
                Written::Replaced(what)
            };
            let next = drift::merged(live, wanted, trust.others);
            Step::Write(Box::new(next), done(written, None))
        }
        (Some(objection), what) => {
            let missed = drift::missed(&live, &wanted);
            let announced = trust::announcement(own, &live, now);
            if let Some(announced) = announced.filter(|_| missed.is_none()) {
                let next = drift::trusting(live, announced);
                return Step::Write(Box::new(next), done(Written::Announced, None));
            }
            let missed = missed.map(|missed| format!("{missed}: {objection}"));
            let written = what.map_or(Written::Unchanged, Written::Left);
            Step::Nothing(done(written, missed))
        }
    }
}

/// The first difference of `live` from the wanted configuration, if any.
fn difference(
    live: &ValidatingWebhookConfiguration,
    wanted: &ValidatingWebhookConfiguration,
    trust: &Trust,
) -> Option<&'static str> {
    let annotations = live.metadata.annotations.as_ref();
    let others = annotations.and_then(|annotations| annotations.get(trust::OTHER_CAS));
    match drift::difference(live, wanted) {
        Some(drift::CA_BUNDLE) if trust.has_expired => Some(EXPIRED_CA),
        None if others != trust.others.as_ref() => Some(drift::CA_BUNDLE),
        found => found,
    }
}

/// Creates a configuration without entries, which the caller fills in. By server-side apply, because RBAC can
/// limit that to a name, and concurrent creations have the same result.
async fn begin(
    api: &Api<ValidatingWebhookConfiguration>,
) -> Result<ValidatingWebhookConfiguration, RegistrationError> {
    let empty = ValidatingWebhookConfiguration {
        metadata: ObjectMeta {
            name: Some(CONFIGURATION_NAME.to_owned()),
            ..ObjectMeta::default()
        },
        webhooks: None,
    };
    let params = PatchParams::apply(FIELD_MANAGER);
    let made = api
        .patch(CONFIGURATION_NAME, &params, &Patch::Apply(&empty))
        .await;
    made.map_err(failed("create"))
}

/// Deletes the configuration if this guard wrote it: its label, address and CA match. Otherwise another guard
/// has taken over, and the registration stays.
pub async fn unregister(
    client: &Client,
    registration: &Registration,
) -> Result<Unregistered, RegistrationError> {
    let api: Api<ValidatingWebhookConfiguration> = Api::all(client.clone());
    let Some(live) = api
        .get_opt(CONFIGURATION_NAME)
        .await
        .map_err(failed("read"))?
    else {
        return Ok(Unregistered::Absent);
    };
    let expected =
        |entry: &ValidatingWebhook| client_config(registration, route_of(entry), &entry.name);
    if !drift::is_ours(&live, expected, registration.ca_bundle.as_deref()) {
        return Ok(Unregistered::NotOurs);
    }
    let unchanged = DeleteParams {
        preconditions: Some(Preconditions {
            uid: live.metadata.uid,
            resource_version: live.metadata.resource_version,
        }),
        ..DeleteParams::default()
    };
    match api
        .delete(CONFIGURATION_NAME, &unchanged)
        .await
        .map_err(failed("delete"))
    {
        Ok(_) => Ok(Unregistered::Deleted),
        Err(error) if is_status(&error, 404) => Ok(Unregistered::Absent),
        Err(error) if is_status(&error, 409) => Ok(Unregistered::NotOurs),
        Err(error) => Err(error),
    }
}

/// Deletes the configuration regardless of its content: the kill switch removes everything that [`ensure`] would
/// correct. The registration of another running installation stays.
///
/// # Errors
/// When the API server denies the call or does not answer.
pub async fn remove(
    client: &Client,
    registration: &Registration,
    others: &OtherInstallations,
) -> Result<Unregistered, RegistrationError> {
    let api: Api<ValidatingWebhookConfiguration> = Api::all(client.clone());
    let look = api
        .get_opt(CONFIGURATION_NAME)
        .await
        .map_err(failed("read"))?;
    let Some(live) = look else {
        return Ok(Unregistered::Absent);
    };
    if let Some(other) = other_owner(registration, &live)
        && others.is_running(client, &other).await
    {
        return Ok(Unregistered::NotOurs);
    }
    let deleted = api
        .delete(CONFIGURATION_NAME, &DeleteParams::default())
        .await;
    match deleted.map_err(failed("delete")) {
        Ok(_) => Ok(Unregistered::Deleted),
        Err(error) if is_status(&error, 404) => Ok(Unregistered::Absent),
        Err(error) => Err(error),
    }
}

fn failed(verb: &'static str) -> impl Fn(kube::Error) -> RegistrationError {
    move |source| RegistrationError::Api {
        verb,
        source: Box::new(source),
    }
}

fn is_status(error: &RegistrationError, code: u16) -> bool {
    let RegistrationError::Api { source, .. } = error else {
        return false;
    };
    matches!(source.as_ref(), kube::Error::Api(status) if status.code == code)
}
