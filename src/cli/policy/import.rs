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

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context, bail};
use clap::Parser;
use helm_guard_core::{
    api::{
        GuardPolicySpec, ObjectScope, ReleaseRef,
        policy::ignore::{IgnoreRule, IgnoreTarget},
    },
    policy::Policy,
    text::suggest::nearest,
    yaml::{self, Allowance},
};
use serde::Deserialize;
use serde_json::Value;

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

/// A key of argocd-cm with rules for a kind.
const ARGO_CM_KEY: &str = "resource.customizations.ignoreDifferences.";

fn is_argo_cm(document: &Value) -> bool {
    document.pointer("/metadata/name").and_then(Value::as_str) == Some("argocd-cm")
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

    /// The system-wide rules of Argo CD, for every release.
    fn argo_cm(&mut self, document: &Value) -> anyhow::Result<()> {
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
