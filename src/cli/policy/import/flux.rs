//! The rules of a Flux `HelmRelease`: `spec.driftDetection.ignore`.

use helm_guard_core::api::{
    ObjectScope, ReleaseRef,
    policy::ignore::{IgnoreRule, IgnoreTarget},
};
use serde::Deserialize;

use super::{Imported, Named};

#[derive(Deserialize)]
pub(super) struct HelmRelease {
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

impl Imported {
    pub(super) fn flux(&mut self, release: HelmRelease) {
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
}
