//! Whether a release declares the autoscaler of an object.
//!
//! Asked only when an autoscaler changes declared replicas. Manifests know their kinds and namespaces, so
//! only the few that have an autoscaler in the object's namespace are read.

use std::{sync::Arc, time::Instant};

use futures_util::StreamExt;
use serde::Deserialize;
use tokio::time::timeout_at;

use super::{
    Body, ReadThrough, ReadThroughError, Releases,
    pack::PackError,
    view::{Content, ReleaseView},
};
use crate::guard::ObjectRef;

/// Reads under way at a time, so that one request does not flood the API server.
const AT_A_TIME: usize = 8;

/// Kinds whose `spec.scaleTargetRef` names what they scale. KEDA makes a `HorizontalPodAutoscaler` of its
/// own kinds.
const KINDS: [(&str, &str); 3] = [
    ("autoscaling", "HorizontalPodAutoscaler"),
    ("keda.sh", "ScaledObject"),
    ("http.keda.sh", "HTTPScaledObject"),
];

/// Why nobody can say.
#[derive(Debug, thiserror::Error)]
pub enum AutoscalerError {
    /// A record could not be read again.
    #[error(transparent)]
    Read(#[from] ReadThroughError),
    /// A release in the namespace has a record that cannot be read.
    #[error("a release record that may declare an autoscaler cannot be read")]
    Unreadable,
}

impl Releases {
    /// Whether the index knows of a release that declares the object's autoscaler.
    pub fn is_autoscaled(&self, object: &ObjectRef<'_>) -> bool {
        let views = self.shared.directory.releases();
        views
            .iter()
            .any(|view| view.autoscales(object).unwrap_or_default())
    }
}

impl ReadThrough {
    /// Whether a release declares the object's autoscaler, by its records as they are now. Asked of those
    /// with records or objects in the namespace by the index.
    ///
    /// # Errors
    /// When none is found and not all could be read.
    pub async fn is_autoscaled(
        &self,
        object: &ObjectRef<'_>,
        deadline: Instant,
    ) -> Result<bool, AutoscalerError> {
        let storages: Vec<_> = self
            .releases()
            .directory
            .releases()
            .into_iter()
            .filter(|view| {
                *view.storage.namespace == *object.namespace
                    || view.bodies().any(|body| body.is_in(object.namespace))
            })
            .map(|view| Arc::clone(&view.storage))
            .collect();
        let mut reads = futures_util::stream::iter(storages)
            .map(|storage| async move { self.read(&storage).await })
            .buffer_unordered(AT_A_TIME);
        let mut failure = None;
        loop {
            match timeout_at(deadline.into(), reads.next()).await {
                Ok(Some(Ok(view))) => match view.autoscales(object) {
                    Some(true) => return Ok(true),
                    Some(false) => {}
                    None => failure = failure.or(Some(AutoscalerError::Unreadable)),
                },
                Ok(Some(Err(error))) => failure = Some(error.into()),
                Ok(None) => return failure.map_or(Ok(false), Err),
                Err(_) => return Err(ReadThroughError::Deadline.into()),
            }
        }
    }
}

impl ReleaseView {
    /// Whether an active manifest declares the object's autoscaler; none if one that may cannot be read.
    fn autoscales(&self, object: &ObjectRef<'_>) -> Option<bool> {
        self.phase?;
        let mut is_readable = true;
        for revision in &self.revisions {
            match &revision.content {
                Content::Body(body) => match body.autoscales(object) {
                    Ok(true) => return Some(true),
                    Ok(false) => {}
                    Err(_logged) => is_readable = false,
                },
                Content::Unreadable => is_readable = false,
            }
        }
        is_readable.then_some(false)
    }
}

impl Body {
    fn autoscales(&self, object: &ObjectRef<'_>) -> Result<bool, PackError> {
        let is_autoscaler = |group: &str, kind: &str| KINDS.contains(&(group, kind));
        let mut kinds = self.kinds().iter();
        if !self.is_in(object.namespace)
            || !kinds.any(|known| is_autoscaler(&known.group, &known.kind))
        {
            return Ok(false);
        }
        let objects = self.objects()?;
        Ok(objects.iter().any(|declared| {
            let namespace = match declared.namespace.as_deref() {
                None | Some("") => &*self.release().namespace,
                Some(namespace) => namespace,
            };
            is_autoscaler(&declared.group, &declared.kind)
                && namespace == object.namespace
                && targets(&declared.json, object)
        }))
    }
}

#[derive(Deserialize)]
struct Autoscaler {
    spec: Spec,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    scale_target_ref: Target,
}

/// KEDA's kinds leave out what says Deployment.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Target {
    api_version: Option<String>,
    kind: Option<String>,
    name: Option<String>,
    /// The name, in older versions of the HTTP add-on.
    deployment: Option<String>,
}

fn targets(autoscaler: &str, object: &ObjectRef<'_>) -> bool {
    let Ok(Autoscaler { spec }) = serde_json::from_str(autoscaler) else {
        return false;
    };
    let target = spec.scale_target_ref;
    let kind = target.kind.as_deref().unwrap_or("Deployment");
    let name = target.name.or(target.deployment);
    // Deployments were in `extensions` once, and autoscalers still say so.
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
    fn an_autoscaler_names_what_it_scales(#[case] target: Value, #[case] expected: bool) {
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
