//! The line number of a field in a manifest.

use helm_guard_core::{
    compare::{path::Step, unquoted},
    guard::Claim,
    helm::{
        manifest,
        record::{self, RecordLimits},
        storage::{DATA_KEY, Driver, record_name},
    },
    yaml::lines::LocatedNode,
};
use k8s_openapi::{
    ByteString,
    api::core::v1::{ConfigMap, Secret},
};
use kube::{Api, Client};

/// The manifest of a revision. It is read again for its text, because the index only stores objects. `None`
/// if it is gone or cannot be read; then the line of the object is shown.
pub(super) async fn manifest(client: &Client, claim: &Claim, revision: u32) -> Option<String> {
    let name = record_name(&claim.release.name, revision);
    let namespace = &claim.records.namespace;
    let payload = match claim.records.driver {
        Driver::Secret => {
            let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
            let ByteString(payload) = api.get(&name).await.ok()?.data?.remove(DATA_KEY)?;
            payload
        }
        Driver::ConfigMap => {
            let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
            let payload = api.get(&name).await.ok()?.data?.remove(DATA_KEY)?;
            payload.into_bytes()
        }
    };
    Some(
        record::decode(&payload, &RecordLimits::default())
            .ok()?
            .manifest,
    )
}

/// The line of the field at `steps`, in the document that starts on line `start`; both counted from 1 in
/// the manifest. `None` for a field without a line, such as a label that Helm adds.
pub(super) fn line_of(manifest: &str, start: u32, steps: &[Step]) -> Option<u32> {
    let (_, text) = manifest::documents(manifest).find(|(line, _)| *line == start)?;
    let mut node = &LocatedNode::root(text)?;
    let mut line = node.line;
    for step in steps {
        (line, node) = child(node, step)?;
    }
    Some(start + line.saturating_sub(1))
}

/// The node that one step leads to, and its line.
fn child<'n>(node: &'n LocatedNode, step: &Step) -> Option<(u32, &'n LocatedNode)> {
    let mut items = node.items().iter();
    let found = match step {
        Step::Field(name) => return node.field(name),
        Step::Index(index) => items.nth(*index),
        Step::Value(text) => items.find(|item| item.is(&unquoted(text))),
        Step::Item(keys) => items.find(|item| {
            let is = |(key, text): &(String, String)| {
                let value = item.field(key);
                value.is_none_or(|(_, value)| value.is(text))
            };
            keys.iter().all(is)
        }),
    }?;
    Some((found.line, found))
}

#[cfg(test)]
mod tests {
    use helm_guard_core::compare::path::FieldPath;
    use rstest::rstest;

    use super::*;

    const MANIFEST: &str = "---
# Source: web/templates/a.yaml
kind: ConfigMap
---
# Source: web/templates/b.yaml
kind: Deployment
spec:
  replicas: 3
  template:
    spec:
      containers:
      - name: db
        image: db:1
      - image: web:1
        name: web
        args: [a,
          b]
";

    #[rstest]
    #[case::field(".spec.replicas", Some(8))]
    #[case::what_is_below(".spec.template", Some(9))]
    #[case::item(".spec.template.spec.containers[name=web]", Some(14))]
    #[case::in_an_item(".spec.template.spec.containers[name=web].image", Some(14))]
    #[case::position(".spec.template.spec.containers[0].image", Some(13))]
    #[case::flow(".spec.template.spec.containers[name=web].args[1]", Some(17))]
    #[case::value(".spec.template.spec.containers[name=web].args[b]", Some(17))]
    #[case::nowhere(".metadata.labels", None)]
    fn the_line_of_a_field_is_found(#[case] path: &str, #[case] expected: Option<u32>) {
        let documents: Vec<u32> = manifest::documents(MANIFEST)
            .map(|(line, _)| line)
            .collect();
        let path: FieldPath = path.parse().unwrap();
        assert_eq!(line_of(MANIFEST, documents[1], path.steps()), expected);
    }
}
