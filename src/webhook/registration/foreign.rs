//! Requirements and match conditions that others add to the entries of the registration.
//!
//! A single one can exclude every namespace, although calls continue and the registration looks healthy. So only
//! those on tolerated labels stay. For a controller that adds others again and again, [`Handling::Report`] leaves
//! them, too, and reports them.
//!
//! Invariants
//! - An entry has all requirements and conditions of the guard, as the guard writes them.
//! - Requirements of the guard itself are not foreign, even of an older version or with other flags:
//!   [`OWN_REQUIREMENTS`] lists them. Without the annotation, nothing counts as foreign.
//! - Items that stay keep their position, so that the guard and a controller do not reorder them in turns.
//!
//! Start at [`with_tolerated`].

use std::collections::{BTreeMap, BTreeSet};

use helm_guard_core::names;
use k8s_openapi::{
    api::admissionregistration::v1::{
        MatchCondition, ValidatingWebhook, ValidatingWebhookConfiguration as Configuration,
    },
    apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement as Requirement},
};
use serde::Serialize;
use thiserror::Error;

use super::{entries, trust::fingerprint};

/// The annotation with the fingerprints of the guard's own requirements and conditions, for
/// [`Handling::Report`].
pub(crate) const OWN_REQUIREMENTS: &str = "helm-guard.dev/own-requirements";

/// Labels by which AKS excludes its own namespaces from every webhook.
pub(crate) const AKS_LABELS: [&str; 2] = ["control-plane", "kubernetes.azure.com/managedby"];

/// The limit of the API server (`maxMatchConditions`).
const MAX_CONDITIONS: usize = 64;

/// Which foreign requirements stay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ForeignRequirements {
    /// Labels by which others may exclude namespaces.
    pub tolerated: ToleratedLabels,
    /// How all others are treated.
    pub(crate) handling: Handling,
}

/// What to do with foreign requirements that are not tolerated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Handling {
    /// Remove them.
    #[default]
    Correct,
    /// Leave and report them.
    Report,
}

/// Labels by which others may exclude namespaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToleratedLabels(BTreeMap<String, Values>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Values {
    Any,
    OneOf(BTreeSet<String>),
}

/// A label that no namespace can have.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{0:?} is not a label such as KEY or KEY=VALUE")]
pub struct ToleratedLabelError(String);

impl Default for ToleratedLabels {
    fn default() -> Self {
        let any = |key: &str| (key.to_owned(), Values::Any);
        Self(AKS_LABELS.map(any).into())
    }
}

impl ToleratedLabels {
    /// From labels, each `KEY` or `KEY=VALUE`. A key without a value allows all its values.
    pub fn parse<'t>(
        labels: impl IntoIterator<Item = &'t str>,
    ) -> Result<Self, ToleratedLabelError> {
        let mut tolerated = BTreeMap::new();
        for label in labels {
            let (key, value) = match label.split_once('=') {
                Some((key, value)) => (key, Some(value)),
                None => (label, None),
            };
            if !names::is_label_key(key) || !value.is_none_or(names::is_label_value) {
                return Err(ToleratedLabelError(label.to_owned()));
            }
            let values = tolerated
                .entry(key.to_owned())
                .or_insert_with(|| Values::OneOf(BTreeSet::new()));
            match (value, values) {
                (None, values) => *values = Values::Any,
                (Some(value), Values::OneOf(values)) => drop(values.insert(value.to_owned())),
                (Some(_), Values::Any) => {}
            }
        }
        Ok(Self(tolerated))
    }

    /// Whether some requirement on this label is tolerated.
    pub(super) fn has_key(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// A tolerated requirement excludes only namespaces that have the label.
    fn tolerates(&self, requirement: &Requirement) -> bool {
        let excluded = requirement.values.as_deref().unwrap_or_default();
        match (self.0.get(&requirement.key), requirement.operator.as_str()) {
            (Some(Values::Any), "NotIn" | "DoesNotExist") => true,
            (Some(Values::OneOf(values)), "NotIn") => {
                excluded.iter().all(|value| values.contains(value))
            }
            _ => false,
        }
    }
}

/// The value of [`OWN_REQUIREMENTS`] of these entries.
pub(super) fn fingerprints<'w>(entries: impl IntoIterator<Item = &'w ValidatingWebhook>) -> String {
    let mut all = BTreeSet::new();
    for entry in entries {
        let selectors = [&entry.namespace_selector, &entry.object_selector];
        for selector in selectors.into_iter().flatten() {
            all.extend(requirements(selector).iter().map(fingerprint_of));
        }
        all.extend(entry.match_conditions.iter().flatten().map(fingerprint_of));
    }
    Vec::from_iter(all).join(" ")
}

fn fingerprint_of(item: &impl Serialize) -> String {
    fingerprint(&serde_json::to_vec(item).unwrap_or_default())
}

/// All requirements of a selector: a match label is one too.
fn requirements(selector: &LabelSelector) -> Vec<Requirement> {
    let labels = selector.match_labels.iter().flatten();
    let labels = labels.map(|(key, value)| equals(key, value));
    let expressions = selector.match_expressions.iter().flatten();
    labels.chain(expressions.cloned()).collect()
}

fn equals(key: &str, value: &str) -> Requirement {
    Requirement {
        key: key.to_owned(),
        operator: "In".to_owned(),
        values: Some(vec![value.to_owned()]),
    }
}

/// The foreign requirements that stay in one registration.
struct Rule<'r> {
    tolerated: &'r ToleratedLabels,
    /// The guard's own requirements; `None` if foreign requirements do not stay.
    own: Option<BTreeSet<&'r str>>,
}

impl Rule<'_> {
    fn is_left(&self, item: &impl Serialize) -> bool {
        let own = self.own.as_ref();
        own.is_some_and(|own| !own.contains(&*fingerprint_of(item)))
    }
}

/// `wanted` with the foreign requirements of `live` that stay, and their descriptions.
pub(super) fn with_tolerated(
    live: &Configuration,
    mut wanted: Configuration,
    foreign: &ForeignRequirements,
) -> (Configuration, Vec<String>) {
    let written = live.metadata.annotations.as_ref();
    let written = written.and_then(|annotations| annotations.get(OWN_REQUIREMENTS));
    let rule = Rule {
        tolerated: &foreign.tolerated,
        own: match foreign.handling {
            Handling::Correct => None,
            Handling::Report => written.map(|text| text.split(' ').collect()),
        },
    };
    let mut kept = Vec::new();
    for entry in wanted.webhooks.iter_mut().flatten() {
        if let Some(live) = entries(live).iter().find(|live| live.name == entry.name) {
            kept.extend(keep_in(entry, live, &rule));
        }
    }
    (wanted, kept)
}

fn keep_in(
    entry: &mut ValidatingWebhook,
    live: &ValidatingWebhook,
    rule: &Rule<'_>,
) -> Vec<String> {
    let namespaces = keep_requirements(
        &mut entry.namespace_selector,
        live.namespace_selector.as_ref(),
        |requirement| rule.tolerated.tolerates(requirement) || rule.is_left(requirement),
    );
    let objects = keep_requirements(
        &mut entry.object_selector,
        live.object_selector.as_ref(),
        |requirement| rule.is_left(requirement),
    );
    let conditions = keep_conditions(entry, live, rule);
    let name = &entry.name;
    let namespaces = namespaces
        .into_iter()
        .map(|requirement| format!("{name} only covers namespaces where {}", text(requirement)));
    let objects = objects
        .into_iter()
        .map(|requirement| format!("{name} only covers objects where {}", text(requirement)));
    // The expression may be long, and is not the guard's.
    let conditions = conditions.into_iter().map(|condition| {
        format!("{name} only covers requests that meet the match condition {condition:?}")
    });
    namespaces.chain(objects).chain(conditions).collect()
}

fn text(requirement: Requirement) -> String {
    let Requirement {
        key,
        operator,
        values,
    } = requirement;
    let values = values.unwrap_or_default().join(", ");
    format!("{key} {operator} ({values})")
}

fn keep_requirements(
    wanted: &mut Option<LabelSelector>,
    live: Option<&LabelSelector>,
    stays: impl Fn(&Requirement) -> bool,
) -> Vec<Requirement> {
    let Some(live) = live else {
        return Vec::new();
    };
    let selector = wanted.get_or_insert_default();
    let theirs = live.match_expressions.as_deref().unwrap_or_default();
    let own = selector.match_expressions.take().unwrap_or_default();
    let (expressions, mut added) = unite(own, theirs, &stays);
    selector.match_expressions = (!expressions.is_empty()).then_some(expressions);
    for (key, value) in live.match_labels.iter().flatten() {
        let requirement = equals(key, value);
        let is_own = |labels: &BTreeMap<_, _>| labels.contains_key(key);
        if !selector.match_labels.as_ref().is_some_and(is_own) && stays(&requirement) {
            let labels = selector.match_labels.get_or_insert_default();
            labels.insert(key.clone(), value.clone());
            added.push(requirement);
        }
    }
    added
}

fn keep_conditions(
    entry: &mut ValidatingWebhook,
    live: &ValidatingWebhook,
    rule: &Rule<'_>,
) -> Vec<String> {
    let theirs = live.match_conditions.as_deref().unwrap_or_default();
    let own = entry.match_conditions.take().unwrap_or_default();
    let own_names: BTreeSet<_> = own.iter().map(|condition| condition.name.clone()).collect();
    let mut foreign: Vec<&MatchCondition> = theirs
        .iter()
        .filter(|condition| !own_names.contains(&condition.name) && rule.is_left(condition))
        .collect();
    foreign.truncate(MAX_CONDITIONS.saturating_sub(own.len()));
    let (conditions, added) = unite(own, theirs, |condition| foreign.contains(&condition));
    entry.match_conditions = (!conditions.is_empty()).then_some(conditions);
    added.into_iter().map(|condition| condition.name).collect()
}

/// Merges own items and foreign ones that stay, in the order of the live list. Also returns the foreign ones.
fn unite<T: Clone + PartialEq>(
    own: Vec<T>,
    live: &[T],
    stays: impl Fn(&T) -> bool,
) -> (Vec<T>, Vec<T>) {
    let mut added = live.to_vec();
    added.retain(|item| !own.contains(item) && stays(item));
    if added.is_empty() {
        return (own, added);
    }
    let mut all = live.to_vec();
    all.retain(|item| own.contains(item) || added.contains(item));
    let missing = own.into_iter().filter(|item| !live.contains(item));
    all.extend(missing);
    (all, added)
}

#[cfg(test)]
mod tests;
