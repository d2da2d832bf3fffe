//! How much of each namespace belongs to releases: all objects of the kinds that releases declare, counted by their
//! metadata. What another object owns, and what Kubernetes or Helm itself puts into every namespace, does not count.

use std::collections::BTreeMap;

use helm_guard_core::{
    compare::{dig, unquoted},
    helm::storage::SECRET_TYPE,
    scan::{
        key::LiveKey,
        report::{CoverageCount, ScanFailure},
    },
};

use super::{KindGroup, PassInput, PassResult, names};
use crate::scanner::{
    catalog::{CatalogEntry, Serving},
    listing::{ListQuery, ListedPart, each_object},
};

/// What every namespace has: kind and name.
const IN_EVERY_NAMESPACE: [(&str, &str); 2] = [
    ("ConfigMap", "kube-root-ca.crt"),
    ("ServiceAccount", "default"),
];

/// Counts the objects. A kind that cannot be listed is a failure: a number without it would be too good.
pub(super) async fn coverage(
    input: &PassInput<'_>,
    groups: &[KindGroup<'_>],
    is_known: &(dyn Fn(LiveKey<'_>) -> bool + Sync),
    result: &mut PassResult,
) {
    let mut entries = BTreeMap::<_, &CatalogEntry>::new();
    for of in groups {
        let serving = input.catalog.serving(of.group, of.version, of.kind);
        if let Serving::AsDeclared(entry) | Serving::OtherVersion(entry) = serving
            && entry.is_namespaced
            && entry.is_listable
        {
            entries.entry((of.group, of.kind)).or_insert(entry);
        }
    }
    input.progress.expect(entries.len());
    let mut count = CoverageCount::default();
    for entry in entries.into_values() {
        let query = ListQuery {
            kind: entry,
            namespace: input.namespace,
            labels: "",
            fields: match (&*entry.group, &*entry.kind) {
                ("", "Secret") => &format!("type!={SECRET_TYPE}"),
                _ => "",
            },
            part: ListedPart::Metadata,
        };
        let mut found = BTreeMap::<(String, String), bool>::new();
        let take = |json: &str| {
            let (namespace, name) = names(json);
            if counts(json, &entry.kind, &name) {
                let is_declared = is_known(LiveKey {
                    group: &entry.group,
                    kind: &entry.kind,
                    namespace: &namespace,
                    name: &name,
                });
                // A list that was started again shows objects again.
                found.insert((namespace, name), is_declared);
            }
        };
        let listed = each_object(input.client, &query, take).await;
        input.progress.advance(found.len());
        for ((namespace, _), is_declared) in &found {
            count.add(namespace, *is_declared);
        }
        match listed {
            Ok(cost) => result.cost.add(cost),
            Err(error) => result.failures.push(ScanFailure {
                kind: Some(entry.kind.clone()),
                namespace: input.namespace.map(str::to_owned),
                message: format!("failed to count: {error}"),
            }),
        }
    }
    result.coverage = count.finish();
}

fn counts(json: &str, kind: &str, name: &str) -> bool {
    let has = |path: &[&str]| dig(json, path).is_some_and(|found| found != "null" && found != "[]");
    let is_record = || {
        let owner = dig(json, &["metadata", "labels", "owner"]).map(unquoted);
        kind == "ConfigMap" && owner.as_deref() == Some("helm")
    };
    !has(&["metadata", "ownerReferences"])
        && !IN_EVERY_NAMESPACE.contains(&(kind, name))
        && !is_record()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case::anybodys("ConfigMap", json!({"name": "a"}), true)]
    #[case::owned("Pod", json!({"name": "a", "ownerReferences": [{"kind": "ReplicaSet"}]}), false)]
    #[case::owned_by_none("Pod", json!({"name": "a", "ownerReferences": []}), true)]
    #[case::of_kubernetes("ConfigMap", json!({"name": "kube-root-ca.crt"}), false)]
    #[case::another_kind("Secret", json!({"name": "kube-root-ca.crt"}), true)]
    #[case::default_account("ServiceAccount", json!({"name": "default"}), false)]
    #[case::a_record("ConfigMap", json!({"name": "sh.helm.release.v1.a.v1", "labels": {"owner": "helm"}}), false)]
    #[case::of_a_release("ConfigMap", json!({"name": "a", "labels": {"app.kubernetes.io/managed-by": "Helm"}}), true)]
    fn what_somebody_put_there_counts(
        #[case] kind: &str,
        #[case] metadata: serde_json::Value,
        #[case] expected: bool,
    ) {
        let name = metadata["name"].as_str().unwrap().to_owned();
        let json = json!({"metadata": metadata}).to_string();
        assert_eq!(counts(&json, kind, &name), expected);
    }
}
