//! Which objects an autoscaler scales, and whether a release declares it.

use std::collections::HashMap;

use helm_guard_core::{
    compare::{dig, unquoted},
    policy::license::Autoscaler,
    scan::{key::LiveKey, report::ScanFailure},
};
use kube::Client;

use super::{
    catalog::{Catalog, Serving},
    listing::{ListQuery, ListedPart, each_object},
};

const GROUP: &str = "autoscaling";
const KIND: &str = "HorizontalPodAutoscaler";

/// Objects with an autoscaler.
#[derive(Debug, Default)]
pub(super) struct Autoscaled {
    /// By namespace, kind and name.
    targets: HashMap<(String, String, String), Autoscaler>,
    failure: Option<ScanFailure>,
}

impl Autoscaled {
    /// Lists the autoscalers. If they cannot be listed, whether an object has one is unknown, which is a failure of the
    /// scan.
    pub(super) async fn read(
        client: &Client,
        catalog: &Catalog,
        namespace: Option<&str>,
        is_declared: impl Fn(LiveKey<'_>) -> bool,
    ) -> Self {
        let (Serving::AsDeclared(entry) | Serving::OtherVersion(entry)) =
            catalog.serving(GROUP, "v2", KIND)
        else {
            return Self::default();
        };
        let query = ListQuery {
            kind: entry,
            namespace,
            labels: "",
            fields: "",
            part: ListedPart::Whole,
        };
        let mut found = Self::default();
        let listed = each_object(client, &query, |json| {
            let text = |path: &[&str]| {
                let found = dig(json, path);
                found.map_or_else(String::new, |text| unquoted(text).into_owned())
            };
            let namespace = text(&["metadata", "namespace"]);
            let declared = is_declared(LiveKey {
                group: GROUP,
                kind: KIND,
                namespace: &namespace,
                name: &text(&["metadata", "name"]),
            });
            let target = (
                namespace,
                text(&["spec", "scaleTargetRef", "kind"]),
                text(&["spec", "scaleTargetRef", "name"]),
            );
            let autoscaler = if declared {
                Autoscaler::Declared
            } else {
                Autoscaler::Undeclared
            };
            found.targets.insert(target, autoscaler);
        });
        if let Err(error) = listed.await {
            found.failure = Some(ScanFailure {
                kind: Some(format!("{KIND}.{GROUP}")),
                namespace: namespace.map(str::to_owned),
                message: format!(
                    "failed to list, so what autoscalers change counts as drift: {error}"
                ),
            });
        }
        found
    }

    /// The autoscaler of an object.
    pub(super) fn of(&self, key: LiveKey<'_>) -> Option<Autoscaler> {
        let target = (key.namespace.into(), key.kind.into(), key.name.into());
        self.targets.get(&target).copied()
    }

    /// Why it is not known which objects are scaled.
    pub(super) fn failure(&self) -> Option<ScanFailure> {
        self.failure.clone()
    }
}
