//! The granted rights, from the cluster's roles, and the used ones, from its audit log.

use std::fs;

use serde_json::{Value, json};
use testbed::shared;

use crate::duties::admin;

const ACCOUNT: &str = "system:serviceaccount:helm-guard:helm-guard";

/// One verb on one resource, granted by one rule.
#[derive(Debug)]
pub struct Right {
    pub role: String,
    /// The namespace of the binding; `None` for the whole cluster.
    namespace: Option<String>,
    group: String,
    /// With its subresource.
    pub resource: String,
    /// `None` for every name.
    name: Option<String>,
    pub verb: String,
}

/// A request of the guard.
#[derive(Debug)]
pub struct Request {
    pub verb: String,
    group: String,
    resource: String,
    namespace: String,
    name: String,
    has_created: bool,
    pub is_refused: bool,
}

impl Request {
    pub fn is_of(&self, resource: &str) -> bool {
        self.resource == resource
    }
}

impl Right {
    /// Whether a request needs it or is covered by it.
    pub fn covers(&self, request: &Request) -> bool {
        // Server-side apply needs the right to create if the object is missing.
        let is_verb = request.verb == self.verb || request.has_created && self.verb == "create";
        is_verb
            && self.group == request.group
            && self.resource == request.resource
            && self
                .namespace
                .as_ref()
                .is_none_or(|namespace| *namespace == request.namespace)
            && self.name.as_ref().is_none_or(|name| *name == request.name)
    }
}

fn strings(value: &Value) -> Vec<String> {
    let items = value.as_array().into_iter().flatten();
    items
        .map(|item| item.as_str().unwrap().to_owned())
        .collect()
}

/// The rights that the bindings in the cluster grant the account.
pub fn granted() -> Vec<Right> {
    let list = admin("get clusterrolebindings,rolebindings -A -o json")
        .ok()
        .json();
    let is_ours = |subject: &Value| {
        subject["kind"] == "ServiceAccount"
            && subject["name"] == "helm-guard"
            && subject["namespace"] == "helm-guard"
    };
    let mut rights = Vec::new();
    for binding in list["items"].as_array().unwrap() {
        if !binding["subjects"]
            .as_array()
            .into_iter()
            .flatten()
            .any(is_ours)
        {
            continue;
        }
        let role = binding["roleRef"]["name"].as_str().unwrap();
        let namespace = binding["metadata"]["namespace"].as_str();
        let kind = binding["roleRef"]["kind"].as_str().unwrap();
        let line = format!(
            "get {kind} {role} -n {} -o json",
            namespace.unwrap_or("default")
        );
        let rules = admin(&line).ok().json()["rules"].clone();
        for rule in rules.as_array().into_iter().flatten() {
            rights.extend(of_rule(role, namespace, rule));
        }
    }
    assert!(rights.len() > 20, "{rights:?}");
    rights
}

fn of_rule(holder: &str, namespace: Option<&str>, rule: &Value) -> Vec<Right> {
    let mut names: Vec<Option<String>> = strings(&rule["resourceNames"])
        .into_iter()
        .map(Some)
        .collect();
    if names.is_empty() {
        names.push(None);
    }
    let mut rights = Vec::new();
    for group in strings(&rule["apiGroups"]) {
        for resource in strings(&rule["resources"]) {
            for verb in strings(&rule["verbs"]) {
                rights.extend(names.iter().map(|name| Right {
                    role: holder.to_owned(),
                    namespace: namespace.map(str::to_owned),
                    group: group.clone(),
                    resource: resource.clone(),
                    name: name.clone(),
                    verb: verb.clone(),
                }));
            }
        }
    }
    rights
}

/// The requests of the account. Discovery, which everybody may read, is left out.
pub fn requests() -> Vec<Request> {
    let log = fs::read_to_string(shared().audit_log_path()).unwrap();
    let events = log
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let requests: Vec<Request> = events
        .filter(|event| event["user"]["username"] == ACCOUNT && event["objectRef"].is_object())
        .map(|event| of_event(&event))
        .collect();
    assert!(requests.len() > 50, "{}", requests.len());
    requests
}

fn of_event(event: &Value) -> Request {
    let about = &event["objectRef"];
    let text = |key: &str| about[key].as_str().unwrap_or_default().to_owned();
    let resource = match about["subresource"].as_str() {
        Some(part) => format!("{}/{part}", text("resource")),
        None => text("resource"),
    };
    Request {
        verb: event["verb"].as_str().unwrap().to_owned(),
        group: text("apiGroup"),
        resource,
        namespace: text("namespace"),
        name: text("name"),
        has_created: event["responseStatus"]["code"] == json!(201),
        is_refused: event["annotations"]["authorization.k8s.io/decision"] == "forbid"
            || event["responseStatus"]["code"] == json!(403),
    }
}
