//! The rules of Argo CD: `spec.ignoreDifferences` of an `Application`, and the `ConfigMap` `argocd-cm`.

use anyhow::Context;
use helm_guard_core::{
    api::policy::ignore::{IgnoreRule, IgnoreTarget},
    yaml::{self, Allowance},
};
use serde::Deserialize;
use serde_json::Value;

use super::{Imported, Named};

/// A key of argocd-cm with rules for a kind.
const ARGO_CM_KEY: &str = "resource.customizations.ignoreDifferences.";

pub(super) fn is_argo_cm(document: &Value) -> bool {
    document.pointer("/metadata/name").and_then(Value::as_str) == Some("argocd-cm")
}

#[derive(Deserialize)]
pub(super) struct Application {
    metadata: Named,
    spec: ApplicationSpec,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ApplicationSpec {
    #[serde(default)]
    ignore_differences: Vec<ArgoRule>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ArgoRule {
    #[serde(default)]
    group: String,
    #[serde(default)]
    kind: String,
    name: Option<String>,
    namespace: Option<String>,
    #[serde(default)]
    json_pointers: Vec<String>,
    #[serde(default)]
    jq_path_expressions: Vec<String>,
    #[serde(default)]
    managed_fields_managers: Vec<String>,
}

impl Imported {
    /// The system-wide rules of Argo CD, for every release.
    pub(super) fn argo_cm(&mut self, document: &Value) -> anyhow::Result<()> {
        let data = document.get("data").and_then(Value::as_object);
        for (key, value) in data.into_iter().flatten() {
            let Some(subject) = key.strip_prefix(ARGO_CM_KEY) else {
                continue;
            };
            let place = format!("argocd-cm: {key}");
            let text = value.as_str().unwrap_or_default();
            let rule = yaml::read(text, &Allowance::default())
                .with_context(|| format!("failed to read {place}"))?;
            let rule: ArgoRule =
                serde_json::from_value(rule).with_context(|| format!("failed to read {place}"))?;
            // `apps_Deployment`; `_Service` for the core group; `all`.
            let (group, kind) = match subject {
                "all" => ("*", "*"),
                subject => subject.rsplit_once('_').unwrap_or(("", subject)),
            };
            self.argo_rule(
                &place,
                ArgoRule {
                    group: group.to_owned(),
                    kind: kind.to_owned(),
                    ..rule
                },
            );
        }
        Ok(())
    }

    pub(super) fn argo(&mut self, application: Application) {
        let Application { metadata, spec } = application;
        let about = format!("Application {}/{}", metadata.namespace, metadata.name);
        self.warnings.push(format!(
            "{about}: Argo CD installs no Helm releases; the rules are for the objects of releases, \
             whoever installs them"
        ));
        for (n, rule) in spec.ignore_differences.into_iter().enumerate() {
            self.argo_rule(&format!("{about}: ignoreDifferences[{n}]"), rule);
        }
    }

    fn argo_rule(&mut self, place: &str, rule: ArgoRule) {
        let target = IgnoreTarget {
            group: Some(expression(&rule.group)),
            kind: Some(expression(&rule.kind)),
            name: rule.name.as_deref().map(expression),
            namespace: rule.namespace.as_deref().map(expression),
            ..IgnoreTarget::default()
        };
        self.add(
            place,
            IgnoreRule {
                json_pointers: rule.json_pointers,
                jq_path_expressions: rule.jq_path_expressions,
                managed_fields_managers: rule.managed_fields_managers,
                target: Some(target),
                ..IgnoreRule::default()
            },
        );
    }
}

/// A glob as a regular expression.
fn expression(glob: &str) -> String {
    let mut text = String::new();
    for char in glob.chars() {
        match char {
            '*' => text.push_str(".*"),
            '?' => text.push('.'),
            char if char.is_alphanumeric() || char == '-' => text.push(char),
            char => {
                text.push('\\');
                text.push(char);
            }
        }
    }
    text
}
