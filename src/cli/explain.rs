//! `helm-guard explain`: which release declares an object or one of its fields, where, and how the
//! webhook would answer a change. Changes are evaluated as in the webhook.

mod change;
mod line;
mod report;
mod resource;
mod writer;

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use clap::Parser;
use helm_guard_core::{
    compare::{
        lookup::{child, select},
        path::{FieldPath, Step},
        redact::{Redactor, Sensitivity},
    },
    guard::{Claim, NamedOwner, RevisionObject, settle, subject::owner_of},
    helm::identity::DeclaredObject,
    policy::Policy,
};
use kube::api::ObjectMeta;
use serde_json::{Value, json};

use self::{
    change::changes,
    report::{Consequence, Declaration, Explanation, table},
    resource::KnownResource,
    writer::last_writer,
};
use super::{
    documents::text_of,
    output::{self, Format, print},
    process,
    reviewing::Cluster,
    target::{StorageDriver, TargetArgs},
};
use crate::{
    cluster::client::KubeconfigSelection,
    review::{Entry, Reviewer, Sources},
    webhook::envelope,
};

const DEADLINE: Duration = Duration::from_secs(30);

/// Explain an object or a field: which release and revision declare it, in which template and line, who
/// wrote it last, and what the webhook would answer (in Deny mode) if it were changed.
#[derive(Debug, Parser)]
#[command(after_help = "Exit codes: 0 success, 1 error.")]
pub struct Explain {
    /// The object, as for kubectl: deploy/web, hpa.autoscaling/web
    #[arg(value_name = "KIND/NAME")]
    pub object: String,
    /// A field of it: .spec.template.spec.containers[name=web].image
    #[arg(value_name = "FIELD")]
    pub field: Option<String>,
    /// Namespace; default: that of the kubeconfig's context
    #[arg(short, long, value_name = "NAMESPACE")]
    pub namespace: Option<String>,
    /// Output format
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub output: Format,
    /// Storage drivers of Helm (`HELM_DRIVER`), separated by commas
    #[arg(
        long,
        value_name = "DRIVER",
        value_delimiter = ',',
        default_value = "secrets"
    )]
    pub storage_drivers: Vec<StorageDriver>,
    /// The cluster.
    #[command(flatten)]
    pub target: TargetArgs,
}

/// Runs the subcommand.
pub(super) fn run(args: &Explain) -> anyhow::Result<ExitCode> {
    let Some((kind, name)) = args.object.split_once('/') else {
        bail!("invalid object {:?}: expected KIND/NAME", args.object);
    };
    let path = args
        .field
        .as_deref()
        .map(str::parse::<FieldPath>)
        .transpose()?;
    let target = KubeconfigSelection::from(&args.target);
    let explanation = process::runtime()?.block_on(async {
        let cluster = Cluster::connect(&target, &[], &args.storage_drivers).await?;
        let resource = KnownResource::find(&cluster.client, kind).await?;
        let given = args.namespace.as_deref();
        let given = given.unwrap_or_else(|| cluster.client.default_namespace());
        let subject = ExplainedObject {
            namespace: resource.namespace(given),
            name,
            resource: &resource,
        };
        explain(&cluster, &subject, path.as_ref()).await
    })?;
    let text = match output::encode(args.output, &explanation)? {
        Some(text) => text,
        None => table(&explanation),
    };
    print(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

struct ExplainedObject<'a> {
    resource: &'a KnownResource,
    namespace: &'a str,
    name: &'a str,
}

async fn explain(
    cluster: &Cluster,
    subject: &ExplainedObject<'_>,
    path: Option<&FieldPath>,
) -> anyhow::Result<Explanation> {
    let ExplainedObject {
        resource,
        namespace,
        name,
    } = *subject;
    let claims = cluster
        .releases
        .claims(&resource.group, &resource.kind, namespace, name);
    // In the version of the manifest: the API server converts, as it does for the webhook.
    let version = claims.iter().find_map(Claim::version);
    let version = version.unwrap_or(&resource.version).to_owned();
    let live = match resource
        .get(&cluster.client, &version, namespace, name)
        .await
    {
        // A version that is no longer served cannot be compared.
        Err(_) if version != resource.version => {
            resource
                .get(&cluster.client, &resource.version, namespace, name)
                .await?
        }
        got => got?,
    };
    let metadata = live.get("metadata").cloned().unwrap_or_default();
    let metadata: ObjectMeta = serde_json::from_value(metadata).unwrap_or_default();
    let owner = NamedOwner::Known(owner_of(&metadata.annotations.unwrap_or_default()));
    // A policy may trust more namespaces; this is the result without one.
    let claims = settle(claims, &owner, |_| false).counting;
    let path = path.map(|path| by_name(&live, path));
    let reviewer = cluster.reviewer(Policy::default())?;
    let redactor = &reviewer.redactor;
    let sensitivity = Sensitivity::of(&resource.group, &resource.kind);
    let show = |object: &Value, path: &FieldPath| shown(redactor, sensitivity, object, path);
    let mut declarations = Vec::new();
    for claim in &claims {
        for revision in &claim.revisions {
            let mut declaration = Declaration {
                release: claim.release.name.clone(),
                namespace: claim.release.namespace.clone(),
                chart: claim.chart.to_string(),
                revision: revision.revision,
                phase: format!("{:?}", claim.phase).to_lowercase(),
                template: None,
                line: None,
                holds: "nothing",
                declared: None,
            };
            match &revision.held {
                RevisionObject::Absent => {}
                RevisionObject::Unreadable => {
                    declaration.holds = "unknown: the record cannot be read";
                }
                RevisionObject::Declared(object) => {
                    declare(&mut declaration, object, path.as_ref(), &show);
                    if let (Some(path), Some(_)) = (&path, &declaration.declared) {
                        let manifest =
                            line::manifest(&cluster.client, claim, revision.revision).await;
                        let found = manifest.and_then(|manifest| {
                            line::line_of(&manifest, object.line, path.steps())
                        });
                        declaration.line = found.or(declaration.line);
                    }
                }
            }
            declarations.push(declaration);
        }
    }
    let mut explanation = Explanation {
        api_version: text_of(&live, "apiVersion"),
        kind: resource.kind.clone(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        field: path.as_ref().map(ToString::to_string),
        releases: declarations,
        live: path.as_ref().and_then(|path| show(&live, path)),
        last_writer: path
            .as_ref()
            .and_then(|path| last_writer(&live, path.steps())),
        if_changed: Vec::new(),
    };
    for (change, changed) in changes(&live, path.as_ref()) {
        let asked = review(subject, &live, changed.as_ref());
        let (verdict, reason) = decided(&reviewer, &asked).await?;
        explanation.if_changed.push(Consequence {
            change,
            verdict,
            reason,
        });
    }
    Ok(explanation)
}

fn declare(
    declaration: &mut Declaration,
    object: &DeclaredObject,
    path: Option<&FieldPath>,
    show: &impl Fn(&Value, &FieldPath) -> Option<Value>,
) {
    declaration.template = object.source.as_deref().map(str::to_owned);
    declaration.line = Some(object.line);
    declaration.holds = "the object";
    if let Some(path) = path {
        let manifest: Value = serde_json::from_str(&object.json).unwrap_or_default();
        declaration.declared = show(&manifest, path);
        declaration.holds = match declaration.declared {
            Some(_) => "the field",
            None => "the object without the field",
        };
    }
}

/// An item that was given by its position is named by its `name`, since its position in the manifest
/// may be another one.
fn by_name(live: &Value, path: &FieldPath) -> FieldPath {
    let mut at = Some(live);
    let mut named = FieldPath::root();
    for step in path.steps() {
        at = at.and_then(|at| child(at, step));
        let name = at.and_then(|at| at.get("name")).and_then(Value::as_str);
        named = named.join(match (step, name) {
            (Step::Index(_), Some(name)) => Step::Item(vec![("name".to_owned(), name.to_owned())]),
            _ => step.clone(),
        });
    }
    named
}

/// The value at a path, redacted: the object is masked before the value is selected.
fn shown(
    redactor: &Redactor,
    sensitivity: Sensitivity,
    object: &Value,
    path: &FieldPath,
) -> Option<Value> {
    match sensitivity {
        Sensitivity::Open => select(object, path.steps()).cloned(),
        Sensitivity::Secret => {
            let mut masked = object.clone();
            redactor.mask_secret(&mut masked);
            select(&masked, path.steps()).cloned()
        }
    }
}

/// The review that the API server would send for the change, for a user without exemptions.
fn review(subject: &ExplainedObject<'_>, live: &Value, changed: Option<&Value>) -> Value {
    let ExplainedObject {
        resource,
        namespace,
        name,
    } = *subject;
    let api_version = text_of(live, "apiVersion");
    let version = api_version.rsplit('/').next().unwrap_or_default();
    let (group, kind) = (&resource.group, &resource.kind);
    json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "explain", "dryRun": true,
            "operation": if changed.is_some() { "UPDATE" } else { "DELETE" },
            "name": name, "namespace": namespace,
            "kind": {"group": group, "version": version, "kind": kind},
            "resource": {"group": group, "version": version, "resource": resource.plural()},
            "userInfo": {"username": "", "groups": []},
            "oldObject": live, "object": changed,
        },
    })
}

/// The decision, and the reason for it.
async fn decided<S: Sources>(
    reviewer: &Reviewer<S>,
    review: &Value,
) -> anyhow::Result<(&'static str, &'static str)> {
    let body = serde_json::to_vec(review)?;
    let request = envelope::parse(&body).context("failed to build the review of a change")?;
    let deadline = Instant::now() + DEADLINE;
    let review = reviewer
        .review(&request, Entry::AsRequested, deadline)
        .await;
    Ok((review.decision.as_str(), review.verdict.reason.as_str()))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn live() -> Value {
        json!({"spec": {
            "replicas": 3, "paused": true, "containers": [{"name": "db"}, {"name": "web", "image": "a"}],
        }})
    }

    #[test]
    fn an_index_becomes_the_name_of_the_item() {
        let path = by_name(&live(), &".spec.containers[1].image".parse().unwrap());
        assert_eq!(path.to_string(), ".spec.containers[name=web].image");
        let unknown = ".spec.containers[7].image";
        let path = by_name(&live(), &unknown.parse().unwrap());
        assert_eq!(path.to_string(), unknown);
    }

    #[rstest]
    #[case::value(".data.password")]
    #[case::all_values(".data")]
    #[case::copy(".metadata.annotations")]
    fn values_of_secrets_are_never_shown(#[case] path: &str) {
        let redactor = Redactor::new(b"key");
        let last = "kubectl.kubernetes.io/last-applied-configuration";
        let secret = json!({
            "metadata": {"annotations": {last: "aHVudGVyMg=="}},
            "data": {"password": "aHVudGVyMg=="},
        });
        let path: FieldPath = path.parse().unwrap();
        let shown = shown(&redactor, Sensitivity::Secret, &secret, &path).unwrap();
        assert!(!shown.to_string().contains("aHVudGVyMg"), "{shown}");
    }
}
