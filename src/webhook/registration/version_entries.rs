//! Entries for one version of one resource, for which the API server converts objects.
//!
//! An entry with `apiVersions: [v1]` and `matchPolicy: Equivalent` is called for requests made
//! through v2 as well, with both objects converted to v1 (Kubernetes, "Dynamic Admission Control",
//! `matchPolicy`). The main entry accepts every version, so it never gets converted objects.
//!
//! A match condition excludes requests that need no conversion, which the main entry gets.

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

/// Suffix of the names of these entries.
const SUFFIX: &str = ".versions.helm-guard.dev";

/// A version of a resource to convert objects to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VersionEntry {
    /// API group; never the core group, which has only one version.
    pub group: String,
    /// API version: `v1`.
    pub version: String,
    /// Resource: `horizontalpodautoscalers`.
    pub plural: String,
}

impl VersionEntry {
    /// Any.
    pub(super) fn example() -> Self {
        Self {
            group: "example.com".to_owned(),
            version: "v1".to_owned(),
            plural: "examples".to_owned(),
        }
    }

    /// The name of its entry; `None` if it would be too long for the API server.
    pub(crate) fn entry_name(&self) -> Option<String> {
        let Self {
            group,
            version,
            plural,
        } = self;
        let name = format!("{plural}.{version}.{group}{SUFFIX}");
        (name.len() <= names::LONGEST_NAME).then_some(name)
    }

    /// Its entry. Only for UPDATE: a DELETE compares nothing, and a Scale has one version.
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
        let version_entry = Self {
            group: only(&rule.api_groups)?,
            version: only(&rule.api_versions)?,
            plural: only(&rule.resources)?,
        };
        (version_entry.entry_name().as_ref() == Some(&entry.name)).then_some(version_entry)
    }
}

/// The versions to convert to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VersionEntries {
    /// The declared versions that the API server converts requests to, each with an entry of its own.
    pub wanted: BTreeSet<VersionEntry>,
    /// How other registered versions are treated.
    pub(crate) unclaimed: UnclaimedEntries,
}

/// Treatment of registered versions that this guard does not need.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum UnclaimedEntries {
    /// Keep them, because the needed versions are not known yet for every group. A guard that has just started
    /// must not remove versions that other replicas need.
    #[default]
    Keep,
    /// Remove them.
    Remove,
}

impl VersionEntries {
    /// The versions of the wanted configuration, given the live one.
    pub(super) fn at(
        &self,
        live: Option<&ValidatingWebhookConfiguration>,
    ) -> BTreeSet<VersionEntry> {
        let mut all = self.wanted.clone();
        if self.unclaimed == UnclaimedEntries::Keep {
            all.extend(
                live.into_iter()
                    .flat_map(entries)
                    .filter_map(VersionEntry::of_entry),
            );
        }
        all
    }
}

/// Whether an entry is one of these.
pub(super) fn is_version_entry(entry: &ValidatingWebhook) -> bool {
    entry.name.ends_with(SUFFIX)
}
