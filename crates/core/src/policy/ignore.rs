//! Fields that anyone may change: by path, jq expression, field manager, or annotation of the chart.

use std::sync::Arc;

use super::{
    PathChange, Requester, RuleObject, pattern::Pattern, problem::Problems, query::Query,
    rules::patterns, scope, scope::covers, target::ObjectSelector,
};
use crate::api::{
    ObjectScope,
    policy::{
        ignore::{IgnoreRule, IgnoreTarget as TargetDocument},
        overrides::Except,
    },
};

/// The annotation of a declared object with the paths that anyone may change, separated by commas.
const IGNORE_ANNOTATION: &str = "helm-guard.dev/ignore";

/// The most paths of it that count: each is compared with each change.
const MOST_BY_CHART: usize = 256;

/// The name of the rule in reports.
const BY_CHART: &str = "chart-annotation";

/// Fields of some objects that anyone may change.
#[derive(Clone, Debug)]
pub(crate) struct Ignored {
    name: Arc<str>,
    paths: Vec<Pattern>,
    queries: Vec<Query>,
    managers: Vec<String>,
    target: ObjectSelector,
    scope: ObjectScope,
}

/// Compiles the rules of a policy.
pub(crate) fn compile(rules: &[IgnoreRule], problems: &mut Problems) -> Vec<Ignored> {
    let mut compiled = Vec::with_capacity(rules.len());
    for (n, rule) in rules.iter().enumerate() {
        let at = format!("spec.ignore[{n}]");
        scope::check(&rule.scope, &format!("{at}.scope"), problems);
        let ignored = Ignored {
            name: match &rule.name {
                Some(name) => name.as_str().into(),
                None => format!("ignore[{n}]").into(),
            },
            paths: [
                patterns(&rule.paths, &format!("{at}.paths"), problems),
                patterns(&rule.json_pointers, &format!("{at}.jsonPointers"), problems),
            ]
            .concat(),
            queries: rule
                .jq_path_expressions
                .iter()
                .enumerate()
                .filter_map(|(q, text)| {
                    let at = format!("{at}.jqPathExpressions[{q}]");
                    problems.take(&at, Query::new(text))
                })
                .collect(),
            managers: rule.managed_fields_managers.clone(),
            target: target(rule.target.as_ref(), &at, problems),
            scope: rule.scope.clone(),
        };
        let says_something = [
            &rule.paths,
            &rule.json_pointers,
            &rule.jq_path_expressions,
            &rule.managed_fields_managers,
        ]
        .iter()
        .any(|list| !list.is_empty());
        if !says_something {
            problems.add(
                &at,
                "has neither paths nor jsonPointers nor jqPathExpressions nor \
                 managedFieldsManagers; an empty path is the object as a whole",
            );
        }
        compiled.push(ignored);
    }
    compiled
}

fn target(document: Option<&TargetDocument>, at: &str, problems: &mut Problems) -> ObjectSelector {
    document.map_or_else(ObjectSelector::default, |document| {
        ObjectSelector::compile(document, &format!("{at}.target"), problems)
    })
}

impl Ignored {
    pub(crate) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Whether this change is ignored.
    pub(crate) fn covers(
        &self,
        by: Requester<'_>,
        object: &RuleObject<'_>,
        change: PathChange<'_>,
    ) -> bool {
        covers(&self.scope, &object.place)
            && self.target.holds(object)
            && (self
                .paths
                .iter()
                .any(|path| object.has_at(path, change.path))
                || object.manifest.is_some_and(|manifest| {
                    self.queries
                        .iter()
                        .any(|query| manifest.selects(query, change.path))
                })
                || self.is_managed(by, change))
    }

    /// Argo CD trusts the managers of the live object. Here, it is the manager that writes, or the
    /// one that owns the overwritten value.
    fn is_managed(&self, by: Requester<'_>, change: PathChange<'_>) -> bool {
        let is_trusted = |manager: &str| self.managers.iter().any(|one| one == manager);
        !self.managers.is_empty()
            && (by.field_manager.is_some_and(is_trusted)
                || by
                    .old_object
                    .is_some_and(|old| old.is_owned_by(&self.managers, change.path)))
    }
}

/// Whether the object's own manifest allows anyone to change this. Invalid paths there are ignored.
pub(crate) fn by_chart(object: &RuleObject<'_>, change: PathChange<'_>) -> Option<Arc<str>> {
    let manifest = object.manifest?;
    let read = || {
        let paths = manifest.metadata("annotations", IGNORE_ANNOTATION);
        let paths = paths.into_iter().flat_map(|paths| paths.split(','));
        // An extra comma does not mean the whole object.
        let paths = paths.map(str::trim).filter(|path| !path.is_empty());
        let patterns = paths.filter_map(|path| Pattern::new(path).ok());
        patterns.take(MOST_BY_CHART).collect()
    };
    let mut patterns = manifest.patterns(read).iter();
    let is_ignored = patterns.any(|path| object.has_at(path, change.path));
    is_ignored.then(|| BY_CHART.into())
}

/// Undeclared fields of some objects that are allowed nevertheless.
#[derive(Clone, Debug)]
pub(crate) struct Exception {
    paths: Vec<Pattern>,
    target: ObjectSelector,
}

/// Compiles the exceptions of a policy.
pub(crate) fn exceptions(documents: &[Except], problems: &mut Problems) -> Vec<Exception> {
    let compile = |(n, document): (usize, &Except)| {
        let at = format!("spec.undeclared.except[{n}]");
        if document.paths.is_empty() {
            problems.add(format!("{at}.paths"), "must not be empty");
        }
        Exception {
            paths: patterns(&document.paths, &format!("{at}.paths"), problems),
            target: target(document.target.as_ref(), &at, problems),
        }
    };
    documents.iter().enumerate().map(compile).collect()
}

impl Exception {
    /// Whether this change is allowed.
    pub(crate) fn covers(&self, object: &RuleObject<'_>, change: PathChange<'_>) -> bool {
        self.target.holds(object)
            && self
                .paths
                .iter()
                .any(|path| object.has_at(path, change.path))
    }
}
