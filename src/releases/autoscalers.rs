//! Whether a release declares the autoscaler of an object.
//!
//! Needed only when an autoscaler changes declared replicas. The index knows the kinds and namespaces of
//! each manifest, so only the few with an autoscaler in the object's namespace are read.

use std::{ops::ControlFlow, sync::Arc, time::Instant};

use helm_guard_core::{
    guard::{Claimant, ObjectRef, Reach, Trusts, Witness, claimant::WITNESSES},
    helm::identity::DeclaredObject,
};
use serde::Deserialize;

use super::{
    body::Body,
    candidates::{ELSEWHERE_AT_A_TIME, ELSEWHERE_PATIENCE},
    handle::Releases,
    pack::PackError,
    read_through::{ReadThrough, ReadThroughError},
    view::{ReleaseView, RevisionContent},
};

/// Concurrent reads, so that one request does not flood the API server.
const AT_A_TIME: usize = 8;

/// Kinds whose `spec.scaleTargetRef` names their target. KEDA creates a `HorizontalPodAutoscaler` for its
/// own kinds.
const KINDS: [(&str, &str); 3] = [
    ("autoscaling", "HorizontalPodAutoscaler"),
    ("keda.sh", "ScaledObject"),
    ("http.keda.sh", "HTTPScaledObject"),
];

/// Why the result is unknown.
#[derive(Debug, thiserror::Error)]
pub enum AutoscalerError {
    /// A record could not be read.
    #[error(transparent)]
    Read(#[from] ReadThroughError),
    /// A release in the namespace has a record that cannot be read.
    #[error("a release record that may declare an autoscaler cannot be read")]
    Unreadable,
}

/// Whether the index contains an object's autoscaler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Autoscaling {
    /// A release declares it.
    Declared,
    /// A release with records elsewhere may declare it: its claim needs a witness.
    InQuestion,
    /// No release declares it.
    Undeclared,
}

/// Whether the records declare an object's autoscaler.
#[derive(Debug, Default)]
pub struct Autoscalers {
    /// A release whose claim counts declares it.
    pub(crate) is_declared: bool,
    /// Releases with records elsewhere that declare it; the autoscalers are the witnesses.
    pub(crate) in_question: Vec<Claimant>,
}

impl Releases {
    /// Whether the index contains a release that declares the object's autoscaler.
    pub fn autoscaling(&self, object: &ObjectRef<'_>, trusts: Trusts<'_>) -> Autoscaling {
        let directory = &self.shared.directory;
        let mut answer = Autoscaling::Undeclared;
        for view in directory.releases() {
            if !view.has_autoscalers_in(object.namespace) {
                continue;
            }
            let is_own = *view.storage.namespace == *object.namespace;
            match directory.reach(&view, is_own, trusts) {
                Reach::Copy => {}
                Reach::Elsewhere => answer = Autoscaling::InQuestion,
                _ if view.autoscales(object) == Some(true) => return Autoscaling::Declared,
                _ => {}
            }
        }
        answer
    }
}

impl ReadThrough {
    /// Whether a release declares the object's autoscaler, by its current records. Reads the releases
    /// that have records or objects in the namespace, by the index. Records elsewhere that cannot be read
    /// declare nothing.
    ///
    /// # Errors
    /// When none is found, and some records that would count could not be read.
    pub async fn autoscalers(
        &self,
        object: &ObjectRef<'_>,
        trusts: Trusts<'_>,
        deadline: Instant,
    ) -> Result<Autoscalers, AutoscalerError> {
        let directory = &self.releases().directory;
        let candidates = directory.whose_records_speak(trusts, |view| {
            let is_own = *view.storage.namespace == *object.namespace;
            (is_own || view.has_autoscalers_in(object.namespace)).then_some(is_own)
        });
        let (mut found, mut failure) = (Autoscalers::default(), None);
        let reading = self.read_each(candidates.counting, AT_A_TIME, deadline, |answer| {
            match answer.map(|view| view.autoscales(object)) {
                Ok(Some(true)) => {
                    found.is_declared = true;
                    return ControlFlow::Break(());
                }
                Ok(Some(false)) => {}
                Ok(None) => failure = Some(AutoscalerError::Unreadable),
                Err(error) => failure = Some(error.into()),
            }
            ControlFlow::Continue(())
        });
        reading.await?;
        if found.is_declared {
            return Ok(found);
        }
        let soon = deadline.min(Instant::now() + ELSEWHERE_PATIENCE);
        let reading = self.read_each(candidates.elsewhere, ELSEWHERE_AT_A_TIME, soon, |answer| {
            if let Ok(view) = answer
                && directory.reach(&view, false, trusts) == Reach::Elsewhere
            {
                found.in_question.extend(view.autoscaler_of(object));
            }
            ControlFlow::Continue(())
        });
        if let Err(late) = reading.await {
            tracing::debug!(error = %late, "failed to read records elsewhere that may declare an autoscaler");
        }
        match failure {
            Some(failure) if found.in_question.is_empty() => Err(failure),
            _ => Ok(found),
        }
    }
}

impl ReleaseView {
    /// Whether it may declare autoscalers in a namespace, without unpacking each object.
    fn has_autoscalers_in(&self, namespace: &str) -> bool {
        self.phase.is_some() && self.bodies().any(|body| body.has_autoscalers_in(namespace))
    }

    /// Whether an active manifest declares the object's autoscaler; `None` if one that may declare it cannot be
    /// read.
    fn autoscales(&self, object: &ObjectRef<'_>) -> Option<bool> {
        self.phase?;
        let mut is_readable = true;
        for revision in &self.revisions {
            match &revision.content {
                RevisionContent::Body(body) => match body.autoscalers(object) {
                    Ok(found) if !found.is_empty() => return Some(true),
                    Ok(_) => {}
                    Err(_logged) => is_readable = false,
                },
                RevisionContent::Unreadable | RevisionContent::OverBudget { .. } => {
                    is_readable = false;
                }
            }
        }
        is_readable.then_some(false)
    }

    /// The release, if an active manifest declares the object's autoscaler, with the autoscaler as its witness.
    fn autoscaler_of(&self, object: &ObjectRef<'_>) -> Option<Claimant> {
        self.phase?;
        let bodies = self.bodies();
        let mut declaring = bodies.filter_map(|body| {
            let found = body.autoscalers(object).ok()?;
            (!found.is_empty()).then(|| (Arc::clone(body.release()), found))
        });
        let (release, found) = declaring.next()?;
        Some(Claimant {
            release,
            reach: Reach::Elsewhere,
            witnesses: found
                .iter()
                .take(WITNESSES)
                .map(|autoscaler| Witness::of(autoscaler, object.namespace))
                .collect(),
        })
    }
}

impl Body {
    fn has_autoscalers_in(&self, namespace: &str) -> bool {
        let mut kinds = self.kinds().iter();
        self.is_in(namespace) && kinds.any(|known| is_autoscaler(&known.group, &known.kind))
    }

    fn autoscalers(&self, object: &ObjectRef<'_>) -> Result<Vec<DeclaredObject>, PackError> {
        if !self.has_autoscalers_in(object.namespace) {
            return Ok(Vec::new());
        }
        let mut objects = self.objects()?;
        objects.retain(|declared| {
            let namespace = match declared.namespace.as_deref() {
                None | Some("") => &*self.release().namespace,
                Some(namespace) => namespace,
            };
            is_autoscaler(&declared.group, &declared.kind)
                && namespace == object.namespace
                && targets(&declared.json, object)
        });
        Ok(objects)
    }
}

fn is_autoscaler(group: &str, kind: &str) -> bool {
    KINDS.contains(&(group, kind))
}

#[derive(Deserialize)]
struct AutoscalerManifest {
    spec: AutoscalerSpec,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AutoscalerSpec {
    scale_target_ref: ScaleTarget,
}

/// KEDA's kinds may leave out `apiVersion` and `kind` for a Deployment.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ScaleTarget {
    api_version: Option<String>,
    kind: Option<String>,
    name: Option<String>,
    /// The name, in older versions of the HTTP add-on.
    deployment: Option<String>,
}

fn targets(autoscaler: &str, object: &ObjectRef<'_>) -> bool {
    let Ok(AutoscalerManifest { spec }) = serde_json::from_str(autoscaler) else {
        return false;
    };
    let target = spec.scale_target_ref;
    let kind = target.kind.as_deref().unwrap_or("Deployment");
    let name = target.name.or(target.deployment);
    // Deployments used to be in `extensions`, and autoscalers may still say so.
    let is_group = target.api_version.as_deref().is_none_or(|version| {
        let group = version.split_once('/').map_or("", |(group, _)| group);
        group == object.group || (group == "extensions" && object.group == "apps")
    });
    is_group && kind == object.kind && name.as_deref() == Some(&*object.name)
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    #[rstest]
    #[case::deployment(json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}), true)]
    #[case::old_group(json!({"apiVersion": "extensions/v1beta1", "kind": "Deployment", "name": "web"}), true)]
    #[case::keda(json!({"name": "web"}), true)]
    #[case::keda_http(json!({"deployment": "web"}), true)]
    #[case::other_name(json!({"name": "api"}), false)]
    #[case::other_kind(json!({"kind": "StatefulSet", "name": "web"}), false)]
    #[case::other_group(json!({"apiVersion": "example.com/v1", "kind": "Deployment", "name": "web"}), false)]
    #[case::nothing(json!({}), false)]
    fn an_autoscaler_names_its_target(#[case] target: Value, #[case] expected: bool) {
        let object = ObjectRef {
            group: "apps",
            kind: "Deployment",
            namespace: "shop",
            name: Cow::Borrowed("web"),
        };
        let text = json!({"spec": {"scaleTargetRef": target}}).to_string();
        assert_eq!(targets(&text, &object), expected);
    }
}
