//! `helm-guard policy import`: converts existing rules into a policy.
//!
//! | from | what |
//! |---|---|
//! | Flux `HelmRelease` | `spec.driftDetection.ignore`, for that release |
//! | Argo CD `Application` | `spec.ignoreDifferences`; its globs become regular expressions |
//!
//! Rules without an equivalent are left out and listed on standard error: a rule with a different meaning
//! is worse than none.

#![allow(
    clippy::doc_markdown,
    reason = "comments on arguments are what --help prints"
)]

mod argo;
mod flux;

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context, bail};
use clap::Parser;
use helm_guard_core::{
    api::{GuardPolicySpec, policy::ignore::IgnoreRule},
    policy::Policy,
    text::suggest::nearest,
};
use serde::Deserialize;
use serde_json::Value;

use self::argo::is_argo_cm;
use super::base::{BaseArgs, BasePolicy};
use crate::cli::{
    documents::Source,
    output::{print, print_note},
    process,
    target::TargetArgs,
};

/// The imported rules.
#[derive(Debug, Default)]
struct Imported {
    rules: Vec<IgnoreRule>,
    warnings: Vec<String>,
}

/// Convert the rules of Flux HelmReleases and Argo CD Applications into a policy
///
/// The policy extends the one in force, so that applying it takes nothing away.
#[derive(Debug, Parser)]
pub(crate) struct ImportArgs {
    /// HelmReleases, Applications, and the ConfigMap argocd-cm, YAML or JSON; - is standard input
    #[arg(value_name = "FILE", default_value = "-")]
    pub(crate) files: Vec<PathBuf>,
    /// What is extended.
    #[command(flatten)]
    pub(crate) base: BaseArgs,
    /// The cluster.
    #[command(flatten)]
    pub(crate) target: TargetArgs,
}

/// Reads the files and prints the policy.
pub(super) fn run(args: &ImportArgs) -> anyhow::Result<ExitCode> {
    let mut imported = Imported::default();
    for file in &args.files {
        let source = Source::of(file);
        let mut found = 0;
        for document in source.documents()? {
            found += usize::from(imported.take(&document)?);
        }
        if found == 0 {
            bail!(
                "{} has no HelmRelease, no Application and no ConfigMap argocd-cm",
                source.name()
            );
        }
    }
    for warning in &imported.warnings {
        print_note(&format!("warning: {warning}"));
    }
    if imported.rules.is_empty() {
        bail!(
            "no rule to import: none of the documents has spec.driftDetection.ignore or spec.ignoreDifferences"
        );
    }
    let base = process::runtime()?.block_on(BasePolicy::find(&args.base, &args.target))?;
    print(text(&base, imported.rules)?.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn text(base: &BasePolicy, rules: Vec<IgnoreRule>) -> anyhow::Result<String> {
    base.print_with(&[], |spec| {
        let new: Vec<IgnoreRule> = rules
            .into_iter()
            .filter(|rule| !spec.ignore.contains(rule))
            .collect();
        spec.ignore.extend(new);
    })
}

/// `metadata` of a document.
#[derive(Deserialize)]
struct Named {
    name: String,
    #[serde(default)]
    namespace: String,
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
                self.check_keys(document, "/spec", &["driftDetection"]);
                self.check_keys(document, "/spec/driftDetection", &["mode", "ignore"]);
                let release = serde_json::from_value(document.clone());
                self.flux(release.context("failed to read a HelmRelease")?);
            }
            ("argoproj.io", "Application") => {
                self.check_keys(document, "/spec", &["ignoreDifferences"]);
                let application = serde_json::from_value(document.clone());
                self.argo(application.context("failed to read an Application")?);
            }
            ("v1", "ConfigMap") if is_argo_cm(document) => self.argo_cm(document)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Warns of keys that look misspelled, which would be ignored silently otherwise.
    fn check_keys(&mut self, document: &Value, at: &str, known: &[&str]) {
        let fields = document.pointer(at).and_then(Value::as_object);
        let unknown = fields
            .into_iter()
            .flat_map(|fields| fields.keys())
            .filter(|key| !known.contains(&key.as_str()));
        for key in unknown {
            if let Some(meant) = nearest(key, known.iter().copied()) {
                let place = at.trim_start_matches('/').replace('/', ".");
                self.warnings.push(format!(
                    "{place}.{key} is not read; did you mean {place}.{meant}?"
                ));
            }
        }
    }

    /// Takes the parts of a rule that mean something here.
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

#[cfg(test)]
mod tests {
    use helm_guard_core::policy::document;
    use serde_json::json;

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
        let policy = text(&BasePolicy::unknown("no cluster was asked"), imported.rules).unwrap();
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
    fn system_wide_rules_of_argo_cd_are_for_their_kind() {
        let imported = imported(&json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "argocd-cm"},
            "data": {
                "resource.customizations.ignoreDifferences.admissionregistration.k8s.io_MutatingWebhookConfiguration":
                    "jqPathExpressions:\n- .webhooks[].clientConfig.caBundle\n",
                "resource.customizations.ignoreDifferences.all": "managedFieldsManagers:\n- kube-controller-manager\n",
                "url": "https://argocd.example.com",
            },
        }));
        let kinds: Vec<_> = imported
            .rules
            .iter()
            .map(|rule| rule.target.as_ref().unwrap().kind.as_deref().unwrap())
            .collect();
        assert_eq!(kinds, ["MutatingWebhookConfiguration", ".*"]);
    }

    #[test]
    fn a_misspelled_key_is_named() {
        let imported = imported(&json!({
            "apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease",
            "metadata": {"name": "web", "namespace": "shop"},
            "spec": {"driftDetecton": {"ignore": [{"paths": ["/spec/replicas"]}]}},
        }));
        let warnings = imported.warnings.join("\n");
        assert!(
            warnings.contains("did you mean spec.driftDetection?"),
            "{warnings}"
        );
    }

    #[test]
    fn another_document_has_no_rules() {
        assert!(
            !Imported::default()
                .take(&json!({"kind": "ConfigMap"}))
                .unwrap()
        );
    }
}
