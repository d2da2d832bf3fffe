//! `helm-guard policy import`: converts existing rules into a policy.
//!
//! | from | what |
//! |---|---|
//! | Flux `HelmRelease` | `spec.driftDetection.ignore`, for that release |
//! | Argo CD `Application` | `spec.ignoreDifferences`; its globs become regular expressions |
//!
//! Rules without an equivalent are left out and listed on standard error: a rule with a different meaning
//! is worse than none.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use anyhow::{Context, bail};
use helm_guard_core::{
    api::{
        self, GuardPolicySpec, ObjectScope, ReleaseRef,
        policy::ignore::{IgnoreRule, IgnoreTarget},
    },
    policy::Policy,
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::cli::{
    documents::Source,
    output::{self, print},
};

/// The imported rules.
#[derive(Debug, Default)]
struct Imported {
    rules: Vec<IgnoreRule>,
    warnings: Vec<String>,
}

/// Reads the file and prints the policy.
pub(super) fn run(source: &Source) -> anyhow::Result<ExitCode> {
    let mut imported = Imported::default();
    let mut found = 0;
    for document in source.documents()? {
        found += usize::from(imported.take(&document)?);
    }
    if found == 0 {
        bail!(
            "failed to find a HelmRelease or an Application in {}",
            source.name()
        );
    }
    for warning in &imported.warnings {
        // An error of stderr cannot be reported anywhere.
        let _ = writeln!(io::stderr().lock(), "warning: {warning}");
    }
    print(text(&imported.rules)?.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn text(rules: &[IgnoreRule]) -> anyhow::Result<String> {
    Ok(output::yaml(&json!({
        "apiVersion": format!("{}/{}", api::GROUP, api::VERSION),
        "kind": "GuardPolicy",
        "metadata": {"name": api::POLICY_NAME},
        "spec": {"ignore": serde_json::to_value(rules)?},
    })))
}

#[derive(Deserialize)]
struct Named {
    name: String,
    #[serde(default)]
    namespace: String,
}

#[derive(Deserialize)]
struct HelmRelease {
    metadata: Named,
    spec: HelmReleaseSpec,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HelmReleaseSpec {
    release_name: Option<String>,
    target_namespace: Option<String>,
    #[serde(default)]
    drift_detection: DriftDetection,
}

#[derive(Default, Deserialize)]
struct DriftDetection {
    mode: Option<String>,
    #[serde(default)]
    ignore: Vec<FluxRule>,
}

#[derive(Deserialize)]
struct FluxRule {
    #[serde(default)]
    paths: Vec<String>,
    target: Option<IgnoreTarget>,
}

#[derive(Deserialize)]
struct Application {
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
    /// Imports the document; false if it is another kind.
    fn take(&mut self, document: &Value) -> anyhow::Result<bool> {
        let text = |field: &str| {
            document
                .get(field)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let group = text("apiVersion").split('/').next().unwrap_or_default();
        match (group, text("kind")) {
            ("helm.toolkit.fluxcd.io", "HelmRelease") => {
                let release = serde_json::from_value(document.clone());
                self.flux(release.context("failed to read a HelmRelease")?);
            }
            ("argoproj.io", "Application") => {
                let application = serde_json::from_value(document.clone());
                self.argo(application.context("failed to read an Application")?);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn flux(&mut self, release: HelmRelease) {
        let HelmRelease { metadata, spec } = release;
        let about = format!("HelmRelease {}/{}", metadata.namespace, metadata.name);
        if let Some(mode) = spec.drift_detection.mode {
            self.warnings.push(format!(
                "{about}: driftDetection.mode {mode} says what Flux does; see spec.mode and spec.overrides"
            ));
        }
        // Flux includes the target namespace in the release name if it differs.
        let name = spec
            .release_name
            .unwrap_or_else(|| match &spec.target_namespace {
                Some(target) => format!("{target}-{}", metadata.name),
                None => metadata.name.clone(),
            });
        let scope = ObjectScope {
            releases: vec![ReleaseRef {
                namespace: spec.target_namespace.unwrap_or(metadata.namespace),
                name: Some(name),
            }],
            ..ObjectScope::default()
        };
        for (n, rule) in spec.drift_detection.ignore.into_iter().enumerate() {
            let place = format!("{about}: driftDetection.ignore[{n}]");
            self.add(
                &place,
                IgnoreRule {
                    paths: rule.paths,
                    target: rule.target,
                    scope: scope.clone(),
                    ..IgnoreRule::default()
                },
            );
        }
    }

    fn argo(&mut self, application: Application) {
        let Application { metadata, spec } = application;
        let about = format!("Application {}/{}", metadata.namespace, metadata.name);
        self.warnings.push(format!(
            "{about}: Argo CD installs no Helm releases; the rules are for the objects of releases, \
             whoever installs them"
        ));
        for (n, rule) in spec.ignore_differences.into_iter().enumerate() {
            let place = format!("{about}: ignoreDifferences[{n}]");
            let target = IgnoreTarget {
                group: Some(expression(&rule.group)),
                kind: Some(expression(&rule.kind)),
                name: rule.name.as_deref().map(expression),
                namespace: rule.namespace.as_deref().map(expression),
                ..IgnoreTarget::default()
            };
            self.add(
                &place,
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

    /// Adds the parts of a rule that are supported here.
    fn add(&mut self, place: &str, mut rule: IgnoreRule) {
        let only = |part: IgnoreRule| {
            let spec = GuardPolicySpec {
                ignore: vec![part],
                ..GuardPolicySpec::default()
            };
            Policy::compile(&spec).map_err(|error| error.problems)
        };
        let mut understood = |texts: Vec<String>, part: &dyn Fn(String) -> IgnoreRule| {
            let mut kept = Vec::new();
            for text in texts {
                match only(part(text.clone())) {
                    Ok(_) => kept.push(text),
                    Err(problems) => {
                        let why = problems.first().map(|problem| problem.what.clone());
                        let why = why.unwrap_or_default();
                        self.warnings
                            .push(format!("{place}: left out {text:?}: {why}"));
                    }
                }
            }
            kept
        };
        rule.paths = understood(rule.paths, &|path| IgnoreRule {
            paths: vec![path],
            ..IgnoreRule::default()
        });
        rule.json_pointers = understood(rule.json_pointers, &|path| IgnoreRule {
            paths: vec![path],
            ..IgnoreRule::default()
        });
        rule.jq_path_expressions = understood(rule.jq_path_expressions, &|text| IgnoreRule {
            jq_path_expressions: vec![text],
            ..IgnoreRule::default()
        });
        match only(rule.clone()) {
            Ok(_) => self.rules.push(rule),
            Err(problems) => {
                let why = problems
                    .first()
                    .map(ToString::to_string)
                    .unwrap_or_default();
                self.warnings.push(format!("{place}: left out: {why}"));
            }
        }
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

#[cfg(test)]
mod tests {
    use helm_guard_core::policy::document;

    use super::*;

    fn imported(document: &Value) -> Imported {
        let mut imported = Imported::default();
        assert!(imported.take(document).unwrap());
        imported
    }

    #[test]
    fn flux_rules_apply_to_their_release() {
        let imported = imported(&json!({
            "apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease",
            "metadata": {"name": "web", "namespace": "flux-system"},
            "spec": {"targetNamespace": "shop", "driftDetection": {"mode": "enabled", "ignore": [
                {"paths": ["/spec/replicas"], "target": {"kind": "Deployment"}},
                {"paths": ["broken"]},
            ]}},
        }));
        let [rule] = imported.rules.as_slice() else {
            panic!("{imported:?}");
        };
        assert_eq!(rule.paths, ["/spec/replicas"]);
        assert_eq!(rule.scope.releases[0].namespace, "shop");
        assert_eq!(rule.scope.releases[0].name.as_deref(), Some("shop-web"));
        let warnings = imported.warnings.join("\n");
        assert!(warnings.contains("mode enabled"), "{warnings}");
        assert!(
            warnings.contains("ignore[1]: left out \"broken\""),
            "{warnings}"
        );
        let policy = text(&imported.rules).unwrap();
        Policy::compile(&document::parse(&policy).unwrap()).unwrap();
    }

    #[test]
    fn supported_argo_cd_rules_are_imported() {
        let imported = imported(&json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Application",
            "metadata": {"name": "web", "namespace": "argocd"},
            "spec": {"ignoreDifferences": [
                {"group": "apps", "kind": "Deployment", "name": "web-*", "jsonPointers": ["/spec/replicas"],
                 "jqPathExpressions": [".spec.template.spec.containers[].image", ".. | .image"]},
                {"group": "*", "kind": "*", "managedFieldsManagers": ["kube-controller-manager"]},
            ]},
        }));
        assert_eq!(imported.rules.len(), 2);
        let first = &imported.rules[0];
        assert_eq!(
            first.jq_path_expressions,
            [".spec.template.spec.containers[].image"]
        );
        let target = first.target.as_ref().unwrap();
        assert_eq!(target.name.as_deref(), Some("web-.*"));
        assert!(
            imported
                .warnings
                .iter()
                .any(|warning| warning.contains(".."))
        );
    }

    #[test]
    fn other_documents_have_no_rules() {
        assert!(
            !Imported::default()
                .take(&json!({"kind": "ConfigMap"}))
                .unwrap()
        );
    }
}
