//! What all objects of a kind share: how the kind is served, the types of its fields, and where its replicas are.

use std::sync::Arc;

use helm_guard_core::{
    compare::schema::{Shape, builtin::builtin, crd::CrdShape},
    guard::Knowledge,
    scan::{report::ScanFailure, scanned::KindServing},
};

use super::{KindGroup, PassInput};
use crate::scanner::catalog::{CatalogEntry, Serving};

/// What all objects of a kind share.
pub(super) struct KindContext<'k> {
    /// None if it is not served, or unknown whether it is.
    pub(super) entry: Option<&'k CatalogEntry>,
    pub(super) serving: KindServing,
    crd: Option<Arc<CrdShape>>,
    has_schema: bool,
    /// Empty if it is not scaled.
    pub(super) replicas_path: Vec<String>,
}

impl<'k> KindContext<'k> {
    pub(super) async fn read(
        input: &PassInput<'k>,
        of: &KindGroup<'_>,
        failures: &mut Vec<ScanFailure>,
    ) -> Self {
        let (entry, serving) = match input.catalog.serving(of.group, of.version, of.kind) {
            Serving::AsDeclared(entry) => (Some(entry), KindServing::Served),
            Serving::OtherVersion(entry) => (Some(entry), KindServing::InOtherVersions),
            Serving::Absent => (None, KindServing::Nowhere),
            Serving::Unknown => (None, KindServing::Unknown),
        };
        let mut context = Self {
            entry,
            serving,
            crd: None,
            has_schema: true,
            replicas_path: Vec::new(),
        };
        if builtin().knows_group(of.group) {
            let is_scaled = matches!(
                of.kind,
                "Deployment" | "StatefulSet" | "ReplicaSet" | "ReplicationController"
            );
            if is_scaled {
                context.replicas_path = vec!["spec".to_owned(), "replicas".to_owned()];
            }
        } else if let Some(entry) = entry {
            match input.crds.shape(&entry.group, &entry.plural).await {
                Ok(crd) => {
                    let version = crd
                        .iter()
                        .flat_map(|crd| &crd.versions)
                        .find(|version| version.name == of.version);
                    let path = version.and_then(|version| version.spec_replicas_path.as_deref());
                    let steps = path.unwrap_or_default().split('.').skip(1);
                    context.replicas_path = steps.map(str::to_owned).collect();
                    context.crd = crd;
                }
                Err(error) => {
                    context.has_schema = false;
                    failures.push(ScanFailure {
                        kind: Some(format!("{}.{}", of.kind, of.group)),
                        namespace: None,
                        message: format!("failed to read the schema: {error}"),
                    });
                }
            }
        }
        context
    }

    pub(super) fn knowledge(&self, of: &KindGroup<'_>) -> Knowledge<'_> {
        if builtin().knows_group(of.group) {
            let shape = builtin().lookup(of.group, of.version, of.kind);
            return Knowledge::Builtin(shape.unwrap_or_else(Shape::plain));
        }
        if !self.has_schema {
            return Knowledge::Unavailable;
        }
        let shape = self.crd.as_ref().and_then(|crd| crd.shape(of.version));
        Knowledge::Custom(shape.unwrap_or_else(Shape::plain))
    }
}
