//! The ValidatingWebhookConfiguration `helm-guard`: for which requests the API server calls the guard, at which
//! address, and which CA it trusts.
//!
//! [`configuration`] is the wanted state, and is pure. `writing` writes it. Entries for objects are in `objects`,
//! their match conditions in `conditions`, entries for records, namespaces and CRDs in
//! `release_infrastructure`, those that fail closed in [`closed`], and those for single API versions in
//! [`version_entries`].
//!
//! Invariant: requests are only excluded by properties that no client can choose, such as an exact user name,
//! and never by labels, annotations or owner references of the object. The guard never sees an excluded request.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use helm_guard_core::api::{self, GuardPolicySpec};
use k8s_openapi::{
    ByteString,
    api::admissionregistration::v1::{
        RuleWithOperations, ServiceReference, ValidatingWebhook, ValidatingWebhookConfiguration,
        WebhookClientConfig,
    },
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};
use kube::api::ObjectMeta;

use super::{
    endpoint::Endpoint,
    marks::{MANAGED_BY, own_labels},
    paths::{PathKey, Route},
};

pub mod calls;
pub mod closed;
mod conditions;
mod drift;
pub mod emergencies;
pub mod foreign;
pub mod installation;
mod objects;
pub mod owner;
pub(crate) mod published;
mod release_infrastructure;
#[cfg(test)]
mod tests;
pub mod trust;
pub mod version_entries;
pub mod writer;
mod writing;

use closed::FailClosed;
pub(crate) use drift::VERSIONS;
use emergencies::{EMERGENCIES_WEBHOOK, Watched};
use foreign::{ForeignRequirements, Handling, OWN_REQUIREMENTS};
use installation::{INSTALLATION, Installation, Takeover};
pub use objects::{
    BINDINGS_WEBHOOK, EVICTIONS_WEBHOOK, OBJECTS_WEBHOOK, SCALE_WEBHOOK, SUBRESOURCES_WEBHOOK,
    UNLABELED_WEBHOOK,
};
use owner::RegistrationOwner;
use version_entries::{VersionEntries, VersionEntry, is_version_entry};
use writer::{Mandate, VERSION, WRITTEN_BY};
pub use writing::{
    EXPIRED_CA, Ensured, Memory, RegistrationError, Unregistered, Written, ensure, remove,
    unregister,
};

pub(crate) const CONFIGURATION_NAME: &str = "helm-guard";
/// The entry that sees break-glass grants.
pub(crate) const GRANTS_WEBHOOK: &str = "grants.helm-guard.dev";
/// The entry that sees policies.
pub(crate) const POLICIES_WEBHOOK: &str = "policies.helm-guard.dev";
/// How long the API server waits for an answer. Short, because the delays of all webhooks add up, and because
/// with `failurePolicy: Ignore` a dead guard costs each write this much.
pub(crate) const TIMEOUT_SECONDS: i32 = 3;

/// As a label and as an annotation, it tells the AKS admissions enforcer to leave the configuration as it is.
const ENFORCER_DISABLED: &str = "admissions.enforcer/disabled";
/// The API server sets it on each Namespace, so it cannot be removed or forged.
const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

/// The wanted registration.
#[derive(Clone, Debug)]
pub struct Registration {
    /// The address that the API server calls.
    pub endpoint: Endpoint,
    /// PEM of the CAs that it trusts; `None` for its own trust store.
    pub ca_bundle: Option<String>,
    /// Derives the secret path of each entry.
    pub paths: PathKey,
    /// The versions that the API server converts objects to.
    pub version_entries: VersionEntries,
    /// The policy in force, which is published. `None` leaves what is published as it is.
    pub policy: Option<Arc<GuardPolicySpec>>,
    /// The users and groups whose requests are all recorded.
    pub watched: Watched,
    /// The namespaces that fail closed.
    pub fail_closed: Option<FailClosed>,
    /// The foreign requirements that stay in its entries.
    pub foreign: ForeignRequirements,
    /// What this guard may change.
    pub mandate: Mandate,
    /// What Kubernetes deletes the registration with.
    pub owner: RegistrationOwner,
    /// The installation that this guard is part of; `None` outside a cluster.
    pub installation: Option<Installation>,
    /// Whether it replaces the registration of another installation.
    pub takeover: Takeover,
}

impl Registration {
    /// A registration without optional parts.
    pub fn new(endpoint: Endpoint, paths: PathKey) -> Self {
        Self {
            endpoint,
            ca_bundle: None,
            paths,
            version_entries: VersionEntries::default(),
            policy: None,
            watched: Watched::default(),
            fail_closed: None,
            foreign: ForeignRequirements::default(),
            mandate: Mandate::default(),
            owner: RegistrationOwner::default(),
            installation: None,
            takeover: Takeover::default(),
        }
    }
}

/// The wanted configuration, with entries for these versions.
pub fn configuration(
    registration: &Registration,
    version_entries: &BTreeSet<VersionEntry>,
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
    webhooks.extend(
        version_entries
            .iter()
            .filter_map(|version_entry| version_entry.entry(registration)),
    );
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
    if let Some(policy) = &registration.policy {
        annotations.insert(published::POLICY.to_owned(), published::publish(policy));
    }
    if registration.foreign.handling == Handling::Report {
        // Entries of versions are added and removed with releases, and all have the same conditions.
        let version = VersionEntry::example().entry(registration);
        let own = webhooks.iter().filter(|entry| !is_version_entry(entry));
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

/// Validates what depends on the policy: duration, subjects and approvers. The API server itself ensures that
/// users request and approve grants in their own name, even while the guard is down: see
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

/// Invalid policies are rejected, but the entry fails open: a guard that is down must not block a less strict
/// policy, and it never puts an invalid one in force anyway.
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
        // Explicit, although they are the defaults: an empty selector matches everything. No namespace is
        // excluded: the guard's own objects are exempt by their release (`guard::own`).
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

fn route_of(entry: &ValidatingWebhook) -> Route {
    let (name, is_closed) = closed::original(&entry.name);
    let route = match name {
        _ if is_version_entry(entry) => Route::Version,
        GRANTS_WEBHOOK => Route::Grants,
        POLICIES_WEBHOOK => Route::Policies,
        EMERGENCIES_WEBHOOK => Route::Emergencies,
        name if release_infrastructure::NAMES.contains(&name) => Route::ReleaseInfrastructure,
        _ => Route::Validate,
    };
    if is_closed { route.closed() } else { route }
}
