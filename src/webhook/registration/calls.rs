//! Which entries of a registration the API server calls for a request, by its rules and selectors.
//!
//! For commands that show what would happen to a change. Match conditions are expressions, which are not
//! evaluated in general: those that the guard writes itself are known by their name and text, others are
//! reported as unknown.
//!
//! Kubernetes rules: `apiserver/pkg/admission/plugin/webhook/predicates`.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::admissionregistration::v1::{
        RuleWithOperations, ValidatingWebhook, ValidatingWebhookConfiguration,
    },
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};
use serde_json::Value;

use super::{
    Registration, UNLABELED_WEBHOOK, closed, configuration, entries, is_version_entry, route_of,
};
use crate::webhook::{
    endpoint::Endpoint,
    marks::MANAGED_BY,
    paths::{PathKey, Route},
    tls::Pair,
};

/// Helm's annotations on an object, each of which names its release.
const OWNER_ANNOTATIONS: [&str; 2] = [
    "/metadata/annotations/meta.helm.sh~1release-name",
    "/metadata/annotations/meta.helm.sh~1release-namespace",
];

/// A request of an ordinary user.
#[derive(Clone, Copy, Debug)]
pub struct OrdinaryRequest<'a> {
    /// `UPDATE` or `DELETE`.
    pub operation: &'a str,
    /// Group of the resource.
    pub group: &'a str,
    /// Version of the resource.
    pub version: &'a str,
    /// The resource, in the plural.
    pub resource: &'a str,
    /// `scale`, or empty.
    pub sub_resource: &'a str,
    /// Namespace of the object; empty for a cluster-scoped one.
    pub namespace: &'a str,
    /// Labels of that namespace; none if they cannot be read.
    pub(crate) namespace_labels: Option<&'a BTreeMap<String, String>>,
    /// The object before the change.
    pub old: &'a Value,
    /// The object after the change; null for a DELETE.
    pub new: &'a Value,
}

/// An entry of the registration that the API server calls for a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CalledEntry {
    /// The name of the webhook in the registration.
    pub name: String,
    /// What it asks.
    pub route: Route,
    /// Why it is not certain that it is called, where that is so.
    pub(crate) doubt: Option<String>,
}

/// The entries that are called. Those for single versions are left out: they repeat what the others ask.
pub fn called(
    live: &ValidatingWebhookConfiguration,
    request: &OrdinaryRequest<'_>,
) -> Vec<CalledEntry> {
    let own = usual();
    let known = entries(&own);
    entries(live)
        .iter()
        .filter(|entry| !is_version_entry(entry))
        .filter_map(|entry| {
            let rules = entry.rules.as_deref().unwrap_or_default();
            if !rules.iter().any(|rule| covers(rule, request)) {
                return None;
            }
            let mut doubt = selects_namespace(entry, request).ok()?;
            if !selects_object(entry, request) {
                return None;
            }
            let (name, _) = closed::original(&entry.name);
            let usual = known.iter().find(|known| known.name == name);
            if has_other_conditions(entry, usual) {
                doubt.get_or_insert_with(|| {
                    "it has match conditions that this command does not evaluate".to_owned()
                });
            }
            if name == UNLABELED_WEBHOOK && !is_only_annotated(request) {
                return None;
            }
            Some(CalledEntry {
                name: entry.name.clone(),
                route: route_of(entry),
                doubt,
            })
        })
        .collect()
}

/// The registration of a guard without options, for a cluster that has none.
pub fn usual() -> ValidatingWebhookConfiguration {
    let endpoint = Endpoint::Service {
        namespace: "helm-guard".to_owned(),
        name: "helm-guard".to_owned(),
    };
    let paths = PathKey::of(&Pair {
        chain: String::new(),
        key: String::new(),
        ca_bundle: None,
    });
    configuration(
        &Registration::new(endpoint, paths),
        &std::collections::BTreeSet::new(),
    )
}

fn covers(rule: &RuleWithOperations, request: &OrdinaryRequest<'_>) -> bool {
    let holds = |words: &Option<Vec<String>>, wanted: &str| {
        words
            .iter()
            .flatten()
            .any(|word| word == "*" || word == wanted)
    };
    let is_cluster_scoped = request.namespace.is_empty() || request.resource == "namespaces";
    let scope = match rule.scope.as_deref() {
        Some("Cluster") => is_cluster_scoped,
        Some("Namespaced") => !is_cluster_scoped,
        _ => true,
    };
    scope
        && holds(&rule.api_groups, request.group)
        && holds(&rule.api_versions, request.version)
        && holds(&rule.operations, request.operation)
        && rule
            .resources
            .iter()
            .flatten()
            .any(|pattern| is_resource(pattern, request))
}

/// `*` is every resource without its subresources.
fn is_resource(pattern: &str, request: &OrdinaryRequest<'_>) -> bool {
    let (resource, sub_resource) = pattern.split_once('/').unwrap_or((pattern, ""));
    (resource == "*" || resource == request.resource)
        && (sub_resource == request.sub_resource
            || sub_resource == "*" && (!request.sub_resource.is_empty() || resource == "*"))
}

/// Whether the namespace selector matches, with a doubt where the labels are unknown.
///
/// # Errors
/// When it does not.
fn selects_namespace(
    entry: &ValidatingWebhook,
    request: &OrdinaryRequest<'_>,
) -> Result<Option<String>, ()> {
    let Some(selector) = &entry.namespace_selector else {
        return Ok(None);
    };
    if request.namespace.is_empty() && request.resource != "namespaces" {
        return Ok(None);
    }
    if is_empty(selector) {
        return Ok(None);
    }
    let labels = match (request.resource, request.namespace_labels) {
        ("namespaces", _) => labels(request.old).unwrap_or_default(),
        (_, Some(labels)) => labels.clone(),
        (_, None) => {
            let doubt = "it selects namespaces by their labels, which you may not read";
            return Ok(Some(doubt.to_owned()));
        }
    };
    if matches(selector, &labels) {
        Ok(None)
    } else {
        Err(())
    }
}

/// The API server asks of the old and of the new object, and one match is enough. An object without
/// metadata matches nothing but an empty selector.
fn selects_object(entry: &ValidatingWebhook, request: &OrdinaryRequest<'_>) -> bool {
    let Some(selector) = entry.object_selector.as_ref().filter(|all| !is_empty(all)) else {
        return true;
    };
    [request.old, request.new]
        .into_iter()
        .filter_map(labels)
        .any(|labels| matches(selector, &labels))
}

fn is_empty(selector: &LabelSelector) -> bool {
    selector.match_labels.iter().flatten().next().is_none()
        && selector.match_expressions.iter().flatten().next().is_none()
}

/// The labels of an object; none if there is no object.
fn labels(object: &Value) -> Option<BTreeMap<String, String>> {
    object.as_object()?;
    let labels = object
        .pointer("/metadata/labels")
        .and_then(Value::as_object);
    let labels = labels
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())));
    Some(labels.collect())
}

fn matches(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    let has_all = selector
        .match_labels
        .iter()
        .flatten()
        .all(|(key, value)| labels.get(key) == Some(value));
    has_all
        && selector.match_expressions.iter().flatten().all(|wanted| {
            let found = labels.get(&wanted.key);
            let is_listed = found
                .is_some_and(|found| wanted.values.iter().flatten().any(|value| value == found));
            match wanted.operator.as_str() {
                "In" => is_listed,
                "NotIn" => !is_listed,
                "Exists" => found.is_some(),
                "DoesNotExist" => found.is_none(),
                _ => false,
            }
        })
}

/// Whether an entry has other conditions than the guard gives it.
fn has_other_conditions(entry: &ValidatingWebhook, usual: Option<&ValidatingWebhook>) -> bool {
    let conditions = entry.match_conditions.iter().flatten();
    let mut known = usual
        .and_then(|usual| usual.match_conditions.as_deref())
        .unwrap_or_default()
        .iter();
    conditions
        .filter(|condition| !known.any(|known| known == *condition))
        .count()
        > 0
}

/// The guard's own condition for objects that lost Helm's label and still name their release.
fn is_only_annotated(request: &OrdinaryRequest<'_>) -> bool {
    let has_label = |object: &Value| {
        labels(object).is_some_and(|labels| labels.get(MANAGED_BY).is_some_and(|by| by == "Helm"))
    };
    let names_release = OWNER_ANNOTATIONS
        .iter()
        .any(|pointer| request.old.pointer(pointer).is_some());
    names_release && !has_label(request.old) && !has_label(request.new)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::admissionregistration::v1::MatchCondition;
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::webhook::registration::OBJECTS_WEBHOOK;

    fn helms(labels: &Value) -> Value {
        json!({"metadata": {"name": "web", "labels": labels,
            "annotations": {"meta.helm.sh/release-name": "shop"}}})
    }

    fn names(
        live: &ValidatingWebhookConfiguration,
        resource: &str,
        old: &Value,
        new: &Value,
    ) -> String {
        let (resource, sub_resource) = resource.split_once('/').unwrap_or((resource, ""));
        let request = OrdinaryRequest {
            operation: if new.is_null() { "DELETE" } else { "UPDATE" },
            group: match resource {
                "deployments" => "apps",
                "customresourcedefinitions" => "apiextensions.k8s.io",
                _ => "",
            },
            version: "v1",
            resource,
            sub_resource,
            namespace: if resource == "deployments" || resource == "secrets" {
                "shop"
            } else {
                ""
            },
            namespace_labels: None,
            old,
            new,
        };
        let called = called(live, &request);
        let name = |entry: CalledEntry| {
            let name = entry.name.split('.').next().unwrap().to_owned();
            if entry.doubt.is_some() {
                name + "?"
            } else {
                name
            }
        };
        called.into_iter().map(name).collect::<Vec<_>>().join(" ")
    }

    #[rstest]
    #[case::labeled("deployments", helms(&json!({MANAGED_BY: "Helm"})), "objects")]
    #[case::only_annotated("deployments", helms(&json!({})), "unlabeled")]
    #[case::of_nobody("deployments", json!({"metadata": {"name": "web"}}), "")]
    #[case::scale("deployments/scale", json!({"metadata": {"name": "web"}}), "scale")]
    #[case::record("secrets", json!({"metadata": {"labels": {"owner": "helm"}}}), "records")]
    #[case::namespace("namespaces", json!({"metadata": {}}), "namespaces")]
    #[case::crd("customresourcedefinitions", json!({"metadata": {}}), "definitions")]
    fn a_request_calls_the_entries_whose_rules_and_selectors_match(
        #[case] resource: &str,
        #[case] object: Value,
        #[case] expected: &str,
    ) {
        assert_eq!(names(&usual(), resource, &object, &object), expected);
    }

    #[test]
    fn an_object_that_loses_its_label_is_seen() {
        let (old, new) = (helms(&json!({MANAGED_BY: "Helm"})), helms(&json!({})));
        assert_eq!(names(&usual(), "deployments", &old, &new), "objects");
        assert_eq!(
            names(&usual(), "deployments", &old, &Value::Null),
            "objects"
        );
    }

    #[test]
    fn foreign_requirements_are_respected_or_reported() {
        let object = helms(&json!({MANAGED_BY: "Helm"}));
        let with = |change: fn(&mut ValidatingWebhook)| {
            let mut live = usual();
            for entry in live.webhooks.iter_mut().flatten() {
                if entry.name == OBJECTS_WEBHOOK {
                    change(entry);
                }
            }
            names(&live, "deployments", &object, &object)
        };
        let selecting = |entry: &mut ValidatingWebhook| {
            let labels = [("team".to_owned(), "shop".to_owned())];
            entry
                .namespace_selector
                .get_or_insert_default()
                .match_labels = Some(labels.into());
        };
        assert_eq!(with(selecting), "objects?");
        let conditional = |entry: &mut ValidatingWebhook| {
            entry
                .match_conditions
                .get_or_insert_default()
                .push(MatchCondition {
                    name: "foreign".to_owned(),
                    expression: "false".to_owned(),
                });
        };
        assert_eq!(with(conditional), "objects?");
        let excluding = |entry: &mut ValidatingWebhook| {
            let labels = [("team".to_owned(), "shop".to_owned())];
            entry.object_selector.get_or_insert_default().match_labels = Some(labels.into());
        };
        assert_eq!(with(excluding), "");
    }
}
