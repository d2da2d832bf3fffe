//! What releases declare about the object, and how the live object compares.

use helm_guard_core::{
    api::reported::{ReportedField, ReportedRelease, ReportedValue},
    compare::{
        Json,
        lookup::select,
        path::FieldPath,
        redact::{Redactor, Sensitivity},
        rules::EmptyListPolicy,
        schema::{Shape, builtin::builtin},
    },
    guard::{Claim, RevisionObject},
    helm::{identity::DeclaredObject, record::ApplyMethod},
    scan::{KindFacts, declared_fields, drift, writers::last_writer},
};
use kube::Client;
use serde_json::Value;

use super::{
    line,
    report::{Declaration, Declares, ExplainedField},
};
use crate::{
    cli::resource::{KnownResource, version_of},
    review::Sources,
};

/// Where the text of manifests is, for the lines of fields.
#[derive(Clone, Copy)]
pub(super) enum Manifests<'a> {
    /// In the records of the cluster, which are read again.
    Cluster(&'a Client),
    /// In records from files, of which the text is gone.
    Records,
}

/// Shows values: the object is masked before anything is taken from it.
#[derive(Clone, Copy)]
pub(super) struct Shown<'a> {
    pub(super) redactor: &'a Redactor,
    pub(super) sensitivity: Sensitivity,
}

impl Shown<'_> {
    pub(super) fn value(self, object: &Value, path: &FieldPath) -> Option<Value> {
        select(&self.object(object), path.steps()).cloned()
    }

    fn object(self, object: &Value) -> Value {
        let mut shown = object.clone();
        if self.sensitivity == Sensitivity::Secret {
            self.redactor.mask_secret(&mut shown);
        }
        shown
    }
}

/// What each active revision of each release declares.
pub(super) async fn declarations(
    claims: &[Claim],
    path: Option<&FieldPath>,
    shown: Shown<'_>,
    manifests: Manifests<'_>,
) -> Vec<Declaration> {
    let mut declarations = Vec::new();
    for claim in claims {
        for revision in &claim.revisions {
            let mut declaration = Declaration {
                release: ReportedRelease {
                    name: claim.release.name.clone(),
                    namespace: claim.release.namespace.clone(),
                    chart: claim.chart.to_string(),
                    revision: revision.revision,
                    server_side_apply: claim.apply_method == ApplyMethod::ServerSide,
                },
                phase: format!("{:?}", claim.phase).to_lowercase(),
                template: None,
                line: None,
                declares: Declares::Nothing,
                declared: None,
            };
            match &revision.held {
                RevisionObject::Absent => {}
                RevisionObject::Unreadable => declaration.declares = Declares::Unknown,
                RevisionObject::Declared(object) => {
                    declare(&mut declaration, object, path, shown);
                    if let (Some(path), Some(_), Manifests::Cluster(client)) =
                        (path, &declaration.declared, manifests)
                    {
                        let manifest = line::manifest(client, claim, revision.revision).await;
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
    declarations
}

fn declare(
    declaration: &mut Declaration,
    object: &DeclaredObject,
    path: Option<&FieldPath>,
    shown: Shown<'_>,
) {
    declaration.template = object.source.as_deref().map(str::to_owned);
    declaration.line = Some(object.line);
    declaration.declares = Declares::Object;
    if let Some(path) = path {
        let manifest: Value = serde_json::from_str(&object.json).unwrap_or_default();
        declaration.declared = shown.value(&manifest, path);
        declaration.declares = match declaration.declared {
            Some(_) => Declares::Field,
            None => Declares::ObjectWithoutField,
        };
    }
}

/// Every field that the newest active revisions declare, and how the live object compares.
///
/// # Errors
/// When the schema of a custom resource cannot be read.
pub(super) async fn explained_fields<S: Sources>(
    sources: &S,
    resource: &KnownResource,
    claims: &[Claim],
    live: &Value,
    shown: Shown<'_>,
) -> anyhow::Result<Vec<ExplainedField>> {
    let crd;
    let version = version_of(live);
    let kind = match builtin().lookup(&resource.group, version, &resource.kind) {
        Some(shape) => KindFacts {
            shape,
            empties: EmptyListPolicy::Dropped,
        },
        None if builtin().knows_group(&resource.group) => KindFacts {
            shape: Shape::plain(),
            empties: EmptyListPolicy::Dropped,
        },
        None => {
            crd = sources
                .custom_resource(&resource.group, resource.plural())
                .await
                .map_err(|error| {
                    anyhow::anyhow!("failed to read the schema of {}: {error}", resource.kind)
                })?;
            let shape = crd.as_ref().and_then(|crd| crd.shape(version));
            KindFacts {
                shape: shape.unwrap_or_else(Shape::plain),
                empties: EmptyListPolicy::Kept,
            }
        }
    };
    let (text, live_shown) = (live.to_string(), shown.object(live));
    let mut explained = Vec::new();
    for claim in claims {
        let newest = claim
            .revisions
            .iter()
            .find_map(|revision| match &revision.held {
                RevisionObject::Declared(object) if object.version == version => Some(object),
                _ => None,
            });
        let Some(object) = newest else {
            continue;
        };
        let manifest: Value = serde_json::from_str(&object.json).unwrap_or_default();
        let manifest_shown = shown.object(&manifest);
        let differing = drift(Json::of(&object.json), Json::of(&text), kind);
        let differing: Vec<FieldPath> = differing.into_iter().map(|found| found.path).collect();
        for field in declared_fields(Json::of(&object.json), kind.shape) {
            let differs = differing.iter().any(|path| {
                let (steps, path) = (field.path.steps(), path.steps());
                steps.starts_with(path) || path.starts_with(steps)
            });
            let at = |object| select(object, field.path.steps());
            let (declared, live_value) = (at(&manifest_shown), at(&live_shown));
            let mut described = Vec::new();
            if declared != at(&manifest) {
                described.push(ReportedValue::Declared);
            }
            if live_value != at(live) {
                described.push(ReportedValue::Live);
            }
            explained.push(ExplainedField {
                field: ReportedField {
                    path: field.path.to_string(),
                    declared: declared.cloned(),
                    live: live_value.cloned(),
                    requested: None,
                    described,
                },
                differs,
                writer: last_writer(live, field.path.steps()),
            });
        }
    }
    Ok(explained)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case::value(".data.password")]
    #[case::all_values(".data")]
    #[case::copy(".metadata.annotations")]
    fn a_secrets_value_is_never_shown(#[case] path: &str) {
        let redactor = Redactor::new(b"key");
        let shown = Shown {
            redactor: &redactor,
            sensitivity: Sensitivity::Secret,
        };
        let last = "kubectl.kubernetes.io/last-applied-configuration";
        let secret = json!({
            "metadata": {"annotations": {last: "aHVudGVyMg=="}},
            "data": {"password": "aHVudGVyMg=="},
        });
        let shown = shown.value(&secret, &path.parse().unwrap()).unwrap();
        assert!(!shown.to_string().contains("aHVudGVyMg"), "{shown}");
    }
}
