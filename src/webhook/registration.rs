//! The ValidatingWebhookConfiguration `helm-guard`: what the API server calls the guard for, where,
//! and whom it trusts there.
//!
//! [`configuration`] is the wanted state and is pure; [`ensure`] writes it when what is there says
//! something else, and leaves alone what others added (labels, annotations, further exclusions in
//! the namespace selector: AKS adds those, and a controller that fights it never rests).
//! [`unregister`] removes it, if it is still ours.
//!
//! What is excluded here costs nothing at all; what is excluded wrongly is never seen. So each
//! exclusion is one that no client can choose: exact identities, never labels, annotations or
//! owner references of the object. The entries for objects are in `objects`, their match conditions in
//! `conditions`, those for what releases depend on in `release_infrastructure`, and those that fail closed in
//! [`closed`].

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Instant, SystemTime},
};

use helm_guard_core::api;
use k8s_openapi::{
    ByteString,
    api::admissionregistration::v1::{
        RuleWithOperations, ServiceReference, ValidatingWebhook, ValidatingWebhookConfiguration,
        WebhookClientConfig,
    },
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};
use kube::{
    Api, Client,
    api::{DeleteParams, ObjectMeta, Patch, PatchParams, PostParams, Preconditions},
};
use thiserror::Error;

use super::{
    endpoint::Endpoint,
    marks::{FIELD_MANAGER, MANAGED_BY, own_labels},
    paths::{PathKey, Paths, Route},
};

pub mod closed;
mod conditions;
mod drift;
pub mod emergencies;
pub mod foreign;
pub mod installation;
mod objects;
pub mod owner;
pub mod pins;
mod release_infrastructure;
#[cfg(test)]
mod tests;
pub mod trust;
pub mod writer;

use closed::FailClosed;
pub use drift::VERSIONS;
/// The difference of a CA that no replica has announced for so long: nobody else made it.
pub const EXPIRED_CA: &str = "a CA that no replica uses any more";
use emergencies::{EMERGENCIES_WEBHOOK, Watched};
use foreign::{ForeignRequirements, Handling, OWN_REQUIREMENTS};
use installation::{INSTALLATION, Installation, OtherInstallations, Takeover};
pub use objects::{
    BINDINGS_WEBHOOK, EVICTIONS_WEBHOOK, OBJECTS_WEBHOOK, SCALE_WEBHOOK, SUBRESOURCES_WEBHOOK,
    UNLABELED_WEBHOOK,
};
use owner::Owner;
use pins::{Pin, Wanted, is_pin};
use trust::Trust;
use writer::{Mandate, VERSION, WRITTEN_BY};

/// Name of the configuration.
pub const CONFIGURATION_NAME: &str = "helm-guard";
/// The entry that sees break-glass grants.
pub const GRANTS_WEBHOOK: &str = "grants.helm-guard.dev";
/// The entry that sees policies.
pub const POLICIES_WEBHOOK: &str = "policies.helm-guard.dev";
/// What the API server waits for an answer. Short, because the waits of all webhooks add up, and
/// because with `failurePolicy: Ignore` a dead guard costs each write this much.
pub const TIMEOUT_SECONDS: i32 = 3;

/// As a label and as an annotation it tells the AKS admissions enforcer to leave us as we are.
const ENFORCER_DISABLED: &str = "admissions.enforcer/disabled";
/// Set on each Namespace by the API server itself, so nobody can take or fake it. Guards before this
/// one left namespaces out by it.
const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";
/// Each lost race means that somebody else wrote.
const ATTEMPTS: u32 = 5;

/// What is registered.
#[derive(Clone, Debug)]
pub struct Registration {
    /// Where the API server calls.
    pub endpoint: Endpoint,
    /// PEM of the CAs it shall trust there; none for its own trust store.
    pub ca_bundle: Option<String>,
    /// Makes the secret path of each entry.
    pub paths: PathKey,
    /// The versions that the API server shall convert objects to.
    pub pins: Wanted,
    /// Whose every request is put on record.
    pub watched: Watched,
    /// Where a request that nobody answers is refused.
    pub fail_closed: Option<FailClosed>,
    /// What stays of what others add to its entries.
    pub foreign: ForeignRequirements,
    /// How much of it this guard may change.
    pub mandate: Mandate,
    /// What owns it.
    pub owner: Owner,
    /// The installation that this guard is part of; none for one outside of the cluster.
    pub installation: Option<Installation>,
    /// Whether it replaces what another installation wrote.
    pub takeover: Takeover,
}

impl Registration {
    /// Without anything that is optional.
    pub fn new(endpoint: Endpoint, paths: PathKey) -> Self {
        Self {
            endpoint,
            ca_bundle: None,
            paths,
            pins: Wanted::default(),
            watched: Watched::default(),
            fail_closed: None,
            foreign: ForeignRequirements::default(),
            mandate: Mandate::default(),
            owner: Owner::default(),
            installation: None,
            takeover: Takeover::default(),
        }
    }
}

/// The configuration could not be read, written or deleted.
#[derive(Debug, Error)]
pub enum RegistrationError {
    /// The API server refused or did not answer.
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
        "failed to look after the ValidatingWebhookConfiguration {CONFIGURATION_NAME}: the API \
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
    /// It was there as wanted.
    Unchanged,
    /// It was not there.
    Created,
    /// It said something else about this.
    Replaced(&'static str),
    /// It lacked the CA of this replica, and has it now.
    Announced,
    /// It says something else about this, and that stays: another replica leads, or a newer one wrote it.
    Left(&'static str),
}

/// What [`ensure`] did, and what it left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ensured {
    /// What it did.
    pub written: Written,
    /// Requirements and conditions of others that stay, each with its entry.
    pub foreign: Vec<String>,
    /// Why calls do not come to this guard, where that is so.
    pub missed: Option<String>,
    /// The other installation that calls go to, where that is so.
    pub other: Option<Installation>,
}

/// What [`unregister`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unregistered {
    /// Deleted.
    Deleted,
    /// There was none.
    Absent,
    /// It is not the one that we wrote, so it stays.
    NotOurs,
}

/// The wanted configuration, with entries for these versions.
pub fn configuration(
    registration: &Registration,
    pins: &BTreeSet<Pin>,
) -> ValidatingWebhookConfiguration {
    let mut webhooks = vec![
        objects::labeled(registration),
        objects::scale(registration),
        grants(registration),
        policies(registration),
        objects::unlabeled(registration),
        objects::subresources(registration),
        objects::evictions(registration),
        objects::bindings(registration),
    ];
    webhooks.extend(release_infrastructure::entries(registration));
    webhooks.extend(emergencies::of(registration));
    webhooks.extend(pins.iter().filter_map(|pin| pin.entry(registration)));
    if let Some(fail_closed) = &registration.fail_closed {
        webhooks = closed::divide(webhooks, fail_closed, registration);
    }
    let mut labels = own_labels();
    labels.insert(ENFORCER_DISABLED.to_owned(), "true".to_owned());
    let mut annotations = BTreeMap::from([
        (ENFORCER_DISABLED.to_owned(), "true".to_owned()),
        (WRITTEN_BY.to_owned(), VERSION.to_owned()),
    ]);
    if let Some(installation) = &registration.installation {
        annotations.insert(INSTALLATION.to_owned(), installation.to_string());
    }
    if registration.foreign.handling == Handling::Report {
        // Entries of versions come and go, and all have the same conditions.
        let version = Pin::example().entry(registration);
        let own = webhooks.iter().filter(|entry| !is_pin(entry));
        let own = foreign::fingerprints(own.chain(&version));
        annotations.insert(OWN_REQUIREMENTS.to_owned(), own);
    }
    ValidatingWebhookConfiguration {
        metadata: ObjectMeta {
            name: Some(CONFIGURATION_NAME.to_owned()),
            labels: Some(labels),
            annotations: Some(annotations),
            owner_references: registration.owner.references(),
            ..ObjectMeta::default()
        },
        webhooks: Some(webhooks),
    }
}

fn entries(configuration: &ValidatingWebhookConfiguration) -> &[ValidatingWebhook] {
    configuration.webhooks.as_deref().unwrap_or_default()
}

/// The label that Helm puts on every object of a release.
fn of_helm() -> BTreeMap<String, String> {
    BTreeMap::from([(MANAGED_BY.to_owned(), "Helm".to_owned())])
}

/// What depends on the policy: how long, for whom, who may approve. That a grant is made and approved in
/// one's own name, the API server sees to itself, also while the guard is away: see
/// `deploy/manifests/60-admission-policies.yaml`.
fn grants(registration: &Registration) -> ValidatingWebhook {
    let words = |words: &[&str]| Some(words.iter().map(|&word| word.to_owned()).collect());
    ValidatingWebhook {
        client_config: client_config(registration, Route::Grants, GRANTS_WEBHOOK),
        rules: Some(vec![RuleWithOperations {
            api_groups: words(&[api::GROUP]),
            api_versions: words(&["*"]),
            operations: words(&["CREATE", "UPDATE"]),
            resources: words(&["breakglassgrants", "breakglassgrants/status"]),
            scope: Some("*".to_owned()),
        }]),
        ..entry(registration, GRANTS_WEBHOOK, &[], "")
    }
}

/// A policy that cannot be meant is refused when it is written. Not by all means: a guard that is down
/// must not stand between a cluster and a laxer policy, and it never takes a wrong one over anyway.
fn policies(registration: &Registration) -> ValidatingWebhook {
    let words = |word: &str| Some(vec![word.to_owned()]);
    let operations = ["CREATE", "UPDATE"].map(str::to_owned).to_vec();
    ValidatingWebhook {
        client_config: client_config(registration, Route::Policies, POLICIES_WEBHOOK),
        rules: Some(vec![RuleWithOperations {
            api_groups: words(api::GROUP),
            api_versions: words("*"),
            operations: Some(operations),
            resources: words("guardpolicies"),
            scope: Some("Cluster".to_owned()),
        }]),
        side_effects: "None".to_owned(),
        ..entry(registration, POLICIES_WEBHOOK, &[], "guardpolicies")
    }
}

fn entry(
    registration: &Registration,
    name: &str,
    operations: &[&str],
    resources: &str,
) -> ValidatingWebhook {
    let words = |words: &[&str]| Some(words.iter().map(|&word| word.to_owned()).collect());
    ValidatingWebhook {
        name: name.to_owned(),
        admission_review_versions: vec!["v1".to_owned()],
        client_config: client_config(registration, Route::Validate, name),
        failure_policy: Some("Ignore".to_owned()),
        match_conditions: None,
        match_policy: Some("Equivalent".to_owned()),
        // Written out although they are the defaults: an empty selector matches everything. No
        // namespace is left out: what the guard must not stand in the way of is known by its release
        // (`guard::own`).
        namespace_selector: Some(LabelSelector::default()),
        object_selector: Some(LabelSelector::default()),
        rules: Some(vec![RuleWithOperations {
            api_groups: words(&["*"]),
            api_versions: words(&["*"]),
            operations: words(operations),
            resources: words(&[resources]),
            scope: Some("*".to_owned()),
        }]),
        side_effects: "NoneOnDryRun".to_owned(),
        timeout_seconds: Some(TIMEOUT_SECONDS),
    }
}

fn client_config(registration: &Registration, route: Route, entry: &str) -> WebhookClientConfig {
    let path = registration.paths.path(route, entry);
    let (url, service) = match &registration.endpoint {
        Endpoint::Url { base, .. } => (Some(format!("{base}{path}")), None),
        Endpoint::Service { namespace, name } => {
            let service = ServiceReference {
                name: name.clone(),
                namespace: namespace.clone(),
                path: Some(path),
                port: Some(443),
            };
            (None, Some(service))
        }
    };
    let ca_bundle = registration.ca_bundle.as_ref();
    WebhookClientConfig {
        ca_bundle: ca_bundle.map(|pem| ByteString(pem.as_bytes().to_vec())),
        service,
        url,
    }
}

/// What one process remembers of the registration from one look to the next.
#[derive(Clone, Copy, Debug)]
pub struct Memory<'m> {
    /// The paths that are answered.
    pub paths: &'m Paths,
    /// Other installations of the guard.
    pub others: &'m OtherInstallations,
}

/// Writes the wanted configuration, unless it is there already, or belongs to another installation that runs.
/// The paths that are there are answered from now on.
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
        if let Owner::Gone(name) = &registration.owner {
            return Ok(uninstalled(name));
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

/// The other installation that the registration belongs to, if calls go there. One that moves keeps its
/// Service, and then its address is the same.
fn other_owner(
    registration: &Registration,
    live: &ValidatingWebhookConfiguration,
) -> Option<Installation> {
    let other = Installation::other(registration.installation.as_ref(), live)?;
    let wanted = configuration(registration, &BTreeSet::new());
    let is_elsewhere = !entries(live).is_empty() && drift::missed(live, &wanted).is_some();
    is_elsewhere.then_some(other)
}

fn uninstalled(owner: &str) -> Ensured {
    Ensured {
        written: Written::Left("the owner"),
        foreign: Vec::new(),
        missed: Some(format!(
            "the ClusterRole {owner}, which owns the registration (--owner-cluster-role), does not exist: the \
             guard is being uninstalled"
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

/// What is to be done about what is there.
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
    let wanted = configuration(&united, &registration.pins.at(Some(&live)));
    let (wanted, foreign) = foreign::keep(&live, wanted, &registration.foreign);
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

/// What of `live` is not as wanted, if anything.
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

/// Makes a configuration without entries, which the caller fills in. By server-side apply, since RBAC limits
/// that to a name, and two who do it at once make the same one.
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

/// Deletes the configuration, if it is the one that we wrote: our label, our address, our CA. Else
/// another guard has taken over, and its registration is not ours to remove.
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

/// Deletes the configuration, whatever it says now: the kill switch takes away all that [`ensure`] would
/// correct, and nothing else. So what another installation wrote that runs stays.
///
/// # Errors
/// When the API server refuses or does not answer.
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

/// The route of an entry.
fn route_of(entry: &ValidatingWebhook) -> Route {
    let (name, is_closed) = closed::original(&entry.name);
    let route = match name {
        _ if is_pin(entry) => Route::Version,
        GRANTS_WEBHOOK => Route::Grants,
        POLICIES_WEBHOOK => Route::Policies,
        EMERGENCIES_WEBHOOK => Route::Emergencies,
        name if release_infrastructure::NAMES.contains(&name) => Route::ReleaseInfrastructure,
        _ => Route::Validate,
    };
    if is_closed { route.closed() } else { route }
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
