//! The objects that a rule selects.

use regex::{Regex, RegexBuilder};

use super::{RuleObject, problem::Problems, selector::Selector, tree::Tree};
use crate::api::policy::ignore::IgnoreTarget as Document;

/// The most memory that a compiled expression may take: far more than a name needs.
const EXPRESSION_BYTES: usize = 64 << 10;

/// Some objects.
#[derive(Clone, Debug, Default)]
pub(crate) struct ObjectSelector {
    group: Option<Regex>,
    version: Option<Regex>,
    kind: Option<Regex>,
    name: Option<Regex>,
    namespace: Option<Regex>,
    labels: Option<Selector>,
    annotations: Option<Selector>,
}

impl ObjectSelector {
    /// Compiles a target.
    pub(crate) fn compile(document: &Document, at: &str, problems: &mut Problems) -> Self {
        let mut expression = |field: &str, text: &Option<String>| {
            let text = text.as_ref()?;
            problems.take(&format!("{at}.{field}"), anchored(text))
        };
        let mut target = Self {
            group: expression("group", &document.group),
            version: expression("version", &document.version),
            kind: expression("kind", &document.kind),
            name: expression("name", &document.name),
            namespace: expression("namespace", &document.namespace),
            labels: None,
            annotations: None,
        };
        let mut selector = |field: &str, text: &Option<String>| {
            let text = text.as_ref()?;
            problems.take(&format!("{at}.{field}"), Selector::parse(text))
        };
        target.labels = selector("labelSelector", &document.label_selector);
        target.annotations = selector("annotationSelector", &document.annotation_selector);
        target
    }

    /// Whether the object is selected. Labels and annotations are those of the release's manifest:
    /// anyone could have written those of the live object.
    pub(crate) fn holds(&self, object: &RuleObject<'_>) -> bool {
        let is = |expression: &Option<Regex>, text: &str| {
            expression
                .as_ref()
                .is_none_or(|expression| expression.is_match(text))
        };
        is(&self.group, object.place.group)
            && is(&self.version, object.version)
            && is(&self.kind, object.place.kind)
            && is(&self.name, object.name)
            && is(&self.namespace, object.place.namespace)
            && selects(self.labels.as_ref(), object.manifest, "labels")
            && selects(self.annotations.as_ref(), object.manifest, "annotations")
    }
}

/// Flux and Kustomize anchor these expressions too.
fn anchored(text: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(&format!("^(?:{text})$"))
        .size_limit(EXPRESSION_BYTES)
        .build()
}

fn selects(selector: Option<&Selector>, manifest: Option<&Tree<'_>>, field: &str) -> bool {
    selector.is_none_or(|selector| selector.holds(|name| manifest?.metadata(field, name)))
}
