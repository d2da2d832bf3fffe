//! Entries for one version of one resource, through which the API server converts for us.
//!
//! An entry with `apiVersions: [v1]` and `matchPolicy: Equivalent` is called for requests made
//! through v2 as well, with both objects converted to v1 (Kubernetes, "Dynamic Admission Control",
//! `matchPolicy`). The main entry takes every version as it is and so never gets one converted.
//!
//! A match condition keeps away what needs no conversion: for that the main entry is called.

use std::collections::BTreeSet;

use helm_guard_core::names;
use k8s_openapi::api::admissionregistration::v1::{
    RuleWithOperations, ValidatingWebhook, ValidatingWebhookConfiguration,
};

use super::{
    Registration, client_config,
    conditions::{condition, copied_marks, marked},
    entries, entry,
};
use crate::webhook::paths::Route;

/// What the names of these entries end with.
const SUFFIX: &str = ".versions.helm-guard.dev";

/// A version of a resource that objects are to be converted to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pin {
    /// API group; never the core group, which has but one version.
    pub group: String,
    /// API version: `v1`.
    pub version: String,
    /// Resource: `horizontalpodautoscalers`.
    pub plural: String,
}

impl Pin {
    /// Any.
    pub(super) fn example() -> Self {
        Self {
            group: "example.com".to_owned(),
            version: "v1".to_owned(),
            plural: "examples".to_owned(),
        }
    }

    /// The name of its entry; none where it would be longer than the API server takes.
    pub fn entry_name(&self) -> Option<String> {
        let Self {
            group,
            version,
            plural,
        } = self;
        let name = format!("{plural}.{version}.{group}{SUFFIX}");
        (name.len() <= names::LONGEST_NAME).then_some(name)
    }

    /// Its entry. UPDATE alone: a DELETE compares nothing, and a Scale has one version.
    pub(super) fn entry(&self, registration: &Registration) -> Option<ValidatingWebhook> {
        let name = self.entry_name()?;
        let mut conditions = vec![condition(
            "converted",
            "request.kind.version != request.requestKind.version || \
             request.kind.group != request.requestKind.group"
                .to_owned(),
        )];
        conditions.extend(copied_marks());
        conditions.push(marked());
        Some(ValidatingWebhook {
            client_config: client_config(registration, Route::Version, &name),
            match_conditions: Some(conditions),
            rules: Some(vec![RuleWithOperations {
                api_groups: Some(vec![self.group.clone()]),
                api_versions: Some(vec![self.version.clone()]),
                operations: Some(vec!["UPDATE".to_owned()]),
                resources: Some(vec![self.plural.clone()]),
                scope: Some("*".to_owned()),
            }]),
            ..entry(registration, &name, &["UPDATE"], "*")
        })
    }

    fn of_entry(entry: &ValidatingWebhook) -> Option<Self> {
        let rule = entry.rules.as_deref()?.first()?;
        let only = |values: &Option<Vec<String>>| match values.as_deref() {
            Some([value]) => Some(value.clone()),
            _ => None,
        };
        let pin = Self {
            group: only(&rule.api_groups)?,
            version: only(&rule.api_versions)?,
            plural: only(&rule.resources)?,
        };
        (pin.entry_name().as_ref() == Some(&entry.name)).then_some(pin)
    }
}

/// Which versions to convert to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The versions.
    pub pins: BTreeSet<Pin>,
    /// What of the others that are registered.
    pub others: Others,
}

/// What happens to registered versions that nobody here asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Others {
    /// They stay: it is not known yet, or not for every group, what is needed. A guard that has
    /// just started must not take away what the other replicas rely on.
    #[default]
    Keep,
    /// They go.
    Remove,
}

impl Wanted {
    /// What the configuration is to have, where it is as `live` now.
    pub(super) fn at(&self, live: Option<&ValidatingWebhookConfiguration>) -> BTreeSet<Pin> {
        let mut pins = self.pins.clone();
        if self.others == Others::Keep {
            pins.extend(live.into_iter().flat_map(entries).filter_map(Pin::of_entry));
        }
        pins
    }
}

/// Whether an entry is one of these.
pub(super) fn is_pin(entry: &ValidatingWebhook) -> bool {
    entry.name.ends_with(SUFFIX)
}
