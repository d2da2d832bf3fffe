//! The line number of a field in a manifest.

use granit_parser::{Event, Parser};
use helm_guard_core::{
    compare::{path::Step, unquoted},
    guard::Claim,
    helm::{
        manifest,
        record::{self, RecordLimits},
        storage::{DATA_KEY, Driver, record_name},
    },
};
use k8s_openapi::{
    ByteString,
    api::core::v1::{ConfigMap, Secret},
};
use kube::{Api, Client};

/// Deeper than any object of Kubernetes.
const MAX_DEPTH: usize = 120;

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
    let mut at = &tree(text)?;
    let mut line = at.line;
    for step in steps {
        (line, at) = at.child(step)?;
    }
    Some(start + line.saturating_sub(1))
}

/// A node of a document, and the line that it starts on.
struct YamlNode {
    line: u32,
    content: NodeContent,
}

enum NodeContent {
    Scalar(String),
    List(Vec<YamlNode>),
    /// Keys and values in turn.
    Map(Vec<YamlNode>),
}

impl YamlNode {
    fn is(&self, text: &str) -> bool {
        matches!(&self.content, NodeContent::Scalar(found) if found == text)
    }

    /// The value of a field, and the line of its key.
    fn field(&self, name: &str) -> Option<(u32, &Self)> {
        let NodeContent::Map(nodes) = &self.content else {
            return None;
        };
        let mut fields = nodes.chunks_exact(2).rev();
        // Of two equal keys, the last one is in force.
        fields.find_map(|field| match field {
            [key, value] if key.is(name) => Some((key.line, value)),
            _ => None,
        })
    }

    fn child(&self, step: &Step) -> Option<(u32, &Self)> {
        let items = match (&self.content, step) {
            (_, Step::Field(name)) => return self.field(name),
            (NodeContent::List(items), _) => items,
            _ => return None,
        };
        let found = match step {
            Step::Index(index) => items.get(*index),
            Step::Value(text) => items.iter().find(|item| item.is(&unquoted(text))),
            Step::Item(keys) => items.iter().find(|item| {
                let is = |(key, text): &(String, String)| {
                    let value = item.field(key);
                    value.is_none_or(|(_, value)| value.is(text))
                };
                keys.iter().all(is)
            }),
            Step::Field(_) => None,
        }?;
        Some((found.line, found))
    }
}

/// The nodes of a document, built with an explicit stack.
fn tree(text: &str) -> Option<YamlNode> {
    let options = granit_parser::options! {
        emit_comments: false,
    };
    let mut open: Vec<YamlNode> = Vec::new();
    for event in Parser::new_from_str_with_options(text, options) {
        let (event, span) = event.ok()?;
        let node = |content| YamlNode {
            line: u32::try_from(span.start.line()).unwrap_or(u32::MAX),
            content,
        };
        let complete = match event {
            Event::MappingStart(..) => {
                open.push(node(NodeContent::Map(Vec::new())));
                None
            }
            Event::SequenceStart(..) => {
                open.push(node(NodeContent::List(Vec::new())));
                None
            }
            Event::MappingEnd | Event::SequenceEnd => open.pop(),
            Event::Scalar(text, ..) => Some(node(NodeContent::Scalar(text.into_owned()))),
            Event::Alias(..) => Some(node(NodeContent::Scalar(String::new()))),
            _ => None,
        };
        if open.len() > MAX_DEPTH {
            return None;
        }
        let Some(complete) = complete else {
            continue;
        };
        match open.last_mut().map(|parent| &mut parent.content) {
            Some(NodeContent::List(nodes) | NodeContent::Map(nodes)) => nodes.push(complete),
            Some(NodeContent::Scalar(_)) => return None,
            None => return Some(complete),
        }
    }
    None
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
