//! The differences of the configuration in the cluster from the wanted one.

use std::collections::BTreeMap;

use k8s_openapi::{
    ByteString,
    api::admissionregistration::v1::{
        ValidatingWebhook, ValidatingWebhookConfiguration, WebhookClientConfig,
    },
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};

use super::{
    entries,
    foreign::OWN_REQUIREMENTS,
    owner,
    trust::{self, Trust},
    version_entries::is_version_entry,
};
use crate::webhook::marks::{FIELD_MANAGER, MANAGED_BY};

/// The difference that follows from releases, and is not made by others.
pub(crate) const VERSIONS: &str = "the versions to convert to";

/// The difference of the CA bundles.
pub(super) const CA_BUNDLE: &str = "the CA bundle";

/// The first difference of `live` from `wanted`, if any. Labels, annotations and owners of others do not
/// count. Foreign requirements that stay are in `wanted` ([`super::foreign`]).
pub(super) fn difference(
    live: &ValidatingWebhookConfiguration,
    wanted: &ValidatingWebhookConfiguration,
) -> Option<&'static str> {
    let has_all = |live: &Option<BTreeMap<String, String>>,
                   wanted: &Option<BTreeMap<String, String>>| {
        wanted.iter().flatten().all(|(key, value)| {
            live.as_ref()
                .and_then(|live| live.get(key))
                .is_some_and(|live| live == value)
        })
    };
    if !has_all(&live.metadata.labels, &wanted.metadata.labels)
        || !has_all(&live.metadata.annotations, &wanted.metadata.annotations)
    {
        return Some("labels and annotations");
    }
    if !owner::has_all(
        live.metadata.owner_references.as_deref(),
        wanted.metadata.owner_references.as_deref(),
    ) {
        return Some("the owner");
    }
    let (live, wanted) = (entries(live), entries(wanted));
    let number = |entries: &[ValidatingWebhook], version_entries: bool| {
        entries
            .iter()
            .filter(|entry| is_version_entry(entry) == version_entries)
            .count()
    };
    if number(live, false) != number(wanted, false) {
        return Some("the number of webhooks");
    }
    let differs =
        wanted.iter().find_map(
            |wanted| match live.iter().find(|live| live.name == wanted.name) {
                None if is_version_entry(wanted) => Some(VERSIONS),
                None => Some("the names of the webhooks"),
                Some(live) => entry_difference(live, wanted),
            },
        );
    let more = number(live, true) != number(wanted, true);
    differs.or(more.then_some(VERSIONS))
}

fn entry_difference(live: &ValidatingWebhook, wanted: &ValidatingWebhook) -> Option<&'static str> {
    if live.client_config.ca_bundle != wanted.client_config.ca_bundle {
        return Some(CA_BUNDLE);
    }
    if live.client_config != wanted.client_config {
        return Some("the address");
    }
    let namespaces = |entry: &ValidatingWebhook| entry.namespace_selector.clone().map(compact);
    if namespaces(live).unwrap_or_default() != namespaces(wanted).unwrap_or_default() {
        return Some("the namespace selector");
    }
    let rest = |entry: &ValidatingWebhook| ValidatingWebhook {
        namespace_selector: None,
        ..entry.clone()
    };
    (rest(live) != rest(wanted)).then_some("the rules")
}

/// The selector without empty parts.
fn compact(selector: LabelSelector) -> LabelSelector {
    LabelSelector {
        match_expressions: selector.match_expressions.filter(|all| !all.is_empty()),
        match_labels: selector.match_labels.filter(|all| !all.is_empty()),
    }
}

/// `wanted` with the identity of `live`, and the labels, annotations and owners of others.
pub(super) fn merged(
    live: ValidatingWebhookConfiguration,
    wanted: ValidatingWebhookConfiguration,
    other_cas: Option<String>,
) -> ValidatingWebhookConfiguration {
    let mut metadata = live.metadata;
    metadata
        .labels
        .get_or_insert_default()
        .extend(wanted.metadata.labels.unwrap_or_default());
    let annotations = metadata.annotations.get_or_insert_default();
    // A list from an earlier configuration would make the guard's own requirements foreign.
    annotations.remove(OWN_REQUIREMENTS);
    annotations.extend(wanted.metadata.annotations.unwrap_or_default());
    announce(annotations, other_cas);
    metadata.owner_references =
        owner::merged(metadata.owner_references, wanted.metadata.owner_references);
    metadata.managed_fields = None;
    ValidatingWebhookConfiguration {
        metadata,
        webhooks: wanted.webhooks,
    }
}

fn announce(annotations: &mut BTreeMap<String, String>, other_cas: Option<String>) {
    match other_cas {
        Some(others) => annotations.insert(trust::OTHER_CAS.to_owned(), others),
        None => annotations.remove(trust::OTHER_CAS),
    };
}

/// `live` with another CA bundle in each entry, and otherwise unchanged.
pub(super) fn trusting(
    mut live: ValidatingWebhookConfiguration,
    trust: Trust,
) -> ValidatingWebhookConfiguration {
    let bundle = trust.bundle.map(|pem| ByteString(pem.into_bytes()));
    for entry in live.webhooks.iter_mut().flatten() {
        entry.client_config.ca_bundle.clone_from(&bundle);
    }
    announce(
        live.metadata.annotations.get_or_insert_default(),
        trust.others,
    );
    live.metadata.managed_fields = None;
    live
}

/// Why the API server does not call this guard, if so: another address, or no entry. Paths may be those of
/// another replica, because all registered paths are accepted.
pub(super) fn missed(
    live: &ValidatingWebhookConfiguration,
    wanted: &ValidatingWebhookConfiguration,
) -> Option<&'static str> {
    let base = |entry: &ValidatingWebhook| {
        let WebhookClientConfig { service, url, .. } = &entry.client_config;
        let service = service
            .as_ref()
            .map(|service| (service.namespace.clone(), service.name.clone()));
        let url: Option<http::Uri> = url.as_ref().and_then(|url| url.parse().ok());
        (service, url.and_then(|url| url.authority().cloned()))
    };
    let (live, wanted) = (entries(live), entries(wanted));
    match (live.first(), wanted.first()) {
        (None, _) => Some("no webhook is registered"),
        (Some(live), Some(wanted)) if base(live) != base(wanted) => {
            Some("another address is registered")
        }
        _ => None,
    }
}

/// Whether a guard with this address and this CA wrote it.
pub(super) fn is_ours(
    live: &ValidatingWebhookConfiguration,
    expected: impl Fn(&ValidatingWebhook) -> WebhookClientConfig,
    ca_bundle: Option<&str>,
) -> bool {
    let address = |config: &WebhookClientConfig| (config.service.clone(), config.url.clone());
    let labels = live.metadata.labels.as_ref();
    labels
        .and_then(|labels| labels.get(MANAGED_BY))
        .is_some_and(|value| value == FIELD_MANAGER)
        && entries(live).iter().all(|entry| {
            address(&entry.client_config) == address(&expected(entry))
                && trust::holds(entry.client_config.ca_bundle.as_ref(), ca_bundle)
        })
}
