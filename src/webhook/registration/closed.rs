//! Namespaces that fail closed: a write is denied if no replica answers or the verdict is indeterminate.
//!
//! Namespaces opt in by a label. Each entry for namespaced objects becomes three, and the API server calls
//! exactly one of them for each request, so that nothing is evaluated or recorded twice:
//!
//! | entry | `failurePolicy` | called for |
//! |---|---|---|
//! | the original | `Ignore` | namespaces without the label, and cluster-scoped objects |
//! | `fail-closed.…` | `Fail` | namespaced objects in namespaces with the label |
//! | `left-open.…` | `Ignore` | namespaces with the label that never fail closed: [`NEVER`], the guard's own namespace, the Namespace object itself |
//!
//! So there can be only one label: no selector is the exact complement of a selector with two labels.
//!
//! These never fail closed: cluster-scoped objects (nodes, and the Namespace, whose label can be removed in an
//! emergency), evictions and bindings, because drains and Pod starts must not depend on the guard.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use helm_guard_core::{
    names,
    policy::selector::{Selector, SelectorError},
};
use k8s_openapi::{
    api::admissionregistration::v1::{MatchCondition, RuleWithOperations, ValidatingWebhook},
    apimachinery::pkg::apis::meta::v1::LabelSelectorRequirement,
};
use thiserror::Error;

use super::{
    NAMESPACE_NAME, OBJECTS_WEBHOOK, Registration, SCALE_WEBHOOK, SUBRESOURCES_WEBHOOK,
    UNLABELED_WEBHOOK, client_config, conditions::condition, foreign::ToleratedLabels,
    release_infrastructure::RECORDS_WEBHOOK, route_of, version_entries::is_version_entry,
};

/// Namespaces that never fail closed: they have what restarts a cluster, and the leases of its nodes.
pub(crate) const NEVER: [&str; 2] = ["kube-system", "kube-node-lease"];

/// Prefix of the names of entries that fail closed.
const CLOSED: &str = "fail-closed.";

/// Prefix of the names of entries for labeled namespaces that never fail closed.
const OPEN: &str = "left-open.";

/// Namespaces that fail closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailClosed {
    key: String,
    /// The accepted values; any if empty.
    values: Vec<String>,
    never: BTreeSet<String>,
}

/// An invalid selection of namespaces that fail closed.
#[derive(Debug, Error)]
pub enum FailClosedError {
    /// Not a selector.
    #[error(transparent)]
    Selector(#[from] SelectorError),
    /// Namespaces opt in by having a label, and the complement must be a selector too.
    #[error("namespaces opt in by one label that they have: KEY=VALUE, KEY, or KEY in (A,B)")]
    NotOneLabel,
    /// The API server would reject the whole registration.
    #[error("{0:?} is not a valid label")]
    Label(String),
    /// Foreign requirements on this label stay.
    #[error(
        "{0:?} is in --tolerate-namespace-requirements, so others may exclude namespaces by it: choose another \
         label"
    )]
    Tolerated(String),
}

impl FailClosed {
    /// From a label as `kubectl -l` takes it, and the namespace of the guard, if it is known. It must not be
    /// one by which others may exclude namespaces.
    pub fn new(
        text: &str,
        own_namespace: Option<&str>,
        tolerated: &ToleratedLabels,
    ) -> Result<Self, FailClosedError> {
        let selector = Selector::parse(text)?;
        let (key, values) = selector
            .single_label()
            .ok_or(FailClosedError::NotOneLabel)?;
        let wrong = values.iter().find(|value| !names::is_label_value(value));
        if tolerated.has_key(key) {
            return Err(FailClosedError::Tolerated(key.to_owned()));
        }
        if let Some(wrong) = wrong
            .map(String::as_str)
            .or((!names::is_label_key(key)).then_some(key))
        {
            return Err(FailClosedError::Label(wrong.to_owned()));
        }
        let never = NEVER.into_iter().chain(own_namespace);
        Ok(Self {
            key: key.to_owned(),
            values: values.to_vec(),
            never: never.map(str::to_owned).collect(),
        })
    }

    fn requirement(&self, operators: [&str; 2]) -> LabelSelectorRequirement {
        let [with_values, without] = operators;
        let has_values = !self.values.is_empty();
        LabelSelectorRequirement {
            key: self.key.clone(),
            operator: if has_values { with_values } else { without }.to_owned(),
            values: has_values.then(|| self.values.clone()),
        }
    }

    /// The namespace has the label.
    fn labeled(&self) -> LabelSelectorRequirement {
        self.requirement(["In", "Exists"])
    }

    /// The namespace does not have the label.
    fn unlabeled(&self) -> LabelSelectorRequirement {
        self.requirement(["NotIn", "DoesNotExist"])
    }

    fn by_name(&self) -> LabelSelectorRequirement {
        LabelSelectorRequirement {
            key: NAMESPACE_NAME.to_owned(),
            operator: "NotIn".to_owned(),
            values: Some(self.never.iter().cloned().collect()),
        }
    }

    /// Where the label has no effect. Names of namespaces need no quoting in CEL.
    fn does_not_count(&self) -> MatchCondition {
        let names: Vec<String> = self.never.iter().map(|name| format!("'{name}'")).collect();
        condition(
            "where-nothing-fails-closed",
            format!(
                "request.namespace in [{}] || request.resource.group == '' && \
                 request.resource.resource == 'namespaces'",
                names.join(", ")
            ),
        )
    }
}

/// Splits each entry that may fail closed into three; the others stay as they are.
pub(super) fn divide(
    webhooks: Vec<ValidatingWebhook>,
    fail_closed: &FailClosed,
    registration: &Registration,
) -> Vec<ValidatingWebhook> {
    let mut divided = Vec::with_capacity(webhooks.len() * 2);
    let mut further = Vec::new();
    for mut entry in webhooks {
        if may_fail_closed(&entry) {
            further.push(closed(&entry, fail_closed, registration));
            further.push(open(&entry, fail_closed, registration));
            require(&mut entry, [fail_closed.unlabeled()]);
        }
        divided.push(entry);
    }
    divided.extend(further);
    divided
}

fn may_fail_closed(entry: &ValidatingWebhook) -> bool {
    let names = [
        OBJECTS_WEBHOOK,
        UNLABELED_WEBHOOK,
        SCALE_WEBHOOK,
        SUBRESOURCES_WEBHOOK,
        RECORDS_WEBHOOK,
    ];
    let fits = entry.name.len() + CLOSED.len().max(OPEN.len()) <= names::LONGEST_NAME;
    names.contains(&&*entry.name) || is_version_entry(entry) && fits
}

fn closed(
    entry: &ValidatingWebhook,
    fail_closed: &FailClosed,
    registration: &Registration,
) -> ValidatingWebhook {
    let mut closed = renamed(entry, CLOSED, registration);
    let namespaced = |rule: &RuleWithOperations| RuleWithOperations {
        scope: Some("Namespaced".to_owned()),
        ..rule.clone()
    };
    let rules = entry.rules.iter().flatten();
    closed.rules = Some(rules.map(namespaced).collect());
    closed.failure_policy = Some("Fail".to_owned());
    require(&mut closed, [fail_closed.labeled(), fail_closed.by_name()]);
    closed
}

fn open(
    entry: &ValidatingWebhook,
    fail_closed: &FailClosed,
    registration: &Registration,
) -> ValidatingWebhook {
    let mut open = renamed(entry, OPEN, registration);
    let conditions = open.match_conditions.get_or_insert_default();
    conditions.insert(0, fail_closed.does_not_count());
    require(&mut open, [fail_closed.labeled()]);
    open
}

fn renamed(
    entry: &ValidatingWebhook,
    prefix: &str,
    registration: &Registration,
) -> ValidatingWebhook {
    let mut renamed = entry.clone();
    renamed.name = format!("{prefix}{}", entry.name);
    renamed.client_config = client_config(registration, route_of(&renamed), &renamed.name);
    renamed
}

fn require(
    entry: &mut ValidatingWebhook,
    requirements: impl IntoIterator<Item = LabelSelectorRequirement>,
) {
    let selector = entry.namespace_selector.get_or_insert_default();
    let expressions = selector.match_expressions.get_or_insert_default();
    expressions.extend(requirements);
}

/// The name of the original entry, and whether this one fails closed.
pub(super) fn original(name: &str) -> (&str, bool) {
    match (name.strip_prefix(CLOSED), name.strip_prefix(OPEN)) {
        (Some(name), _) => (name, true),
        (None, Some(name)) => (name, false),
        (None, None) => (name, false),
    }
}
