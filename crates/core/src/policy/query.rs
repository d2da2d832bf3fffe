//! jq expressions that select fields, as Argo CD's `jqPathExpressions` have them: the part of jq that
//! always terminates.
//!
//! jq is a programming language, and no budget can distinguish a slow program from an endless one. So
//! only steps down a document are supported: fields, items, `[]`, `select` with comparisons. Every step
//! narrows the document, so the work is bounded by its size. Everything else (`def`, `recurse`,
//! `range`, `env`, …) is rejected by name when the policy is compiled.
//!
//! An expression runs on the release's *manifest*: in a live object, anyone could change what it
//! selects.
//!
//! | understood | |
//! |---|---|
//! | `.a.b`, `."a-b"`, `.["a.b/c"]`, `.[0]` | steps; a `?` after one means nothing, since nothing is an error |
//! | `.[]`, `.a[]` | every item or value |
//! | `x \| y`, `x, y` | one after the other; both |
//! | `select(c)` | what meets a condition |
//! | `.a == "b"`, `!=`, `and`, `or`, `not`, `.a \| startswith("b")`, `endswith`, `contains`, `test`, `has` | conditions |

mod parse;

use std::{
    collections::{HashMap, HashSet},
    rc::Rc,
    sync::Arc,
};

use regex::Regex;
use serde_json::Value;

use crate::compare::path::{FieldPath, Step};

pub(crate) use parse::QueryError;

/// The most fields that an expression selects: far more than a manifest of a mebibyte needs.
const MOST: usize = 10_000;

/// A compiled expression.
#[derive(Clone, Debug)]
pub struct Query(Arc<[Pipeline]>);

/// Stages, one after the other.
type Pipeline = Vec<Stage>;

#[derive(Clone, Debug)]
enum Stage {
    Field(String),
    Index(usize),
    Each,
    Select(Condition),
}

#[derive(Clone, Debug)]
enum Condition {
    All(Vec<Condition>),
    Any(Vec<Condition>),
    Not(Box<Condition>),
    /// Some value that the stages select passes the test.
    Test(Pipeline, Test),
}

#[derive(Clone, Debug)]
enum Test {
    /// Neither null nor false.
    IsTrue,
    Equals(Value),
    Differs(Value),
    StartsWith(String),
    EndsWith(String),
    Contains(String),
    Matches(Regex),
    Has(String),
}

/// A step into a document.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Seg {
    Key(String),
    At(usize),
}

impl Query {
    /// Reads an expression.
    pub fn new(text: &str) -> Result<Self, QueryError> {
        parse::query(text).map(|pipelines| Self(pipelines.into()))
    }

    fn select(&self, document: &Value) -> HashSet<Vec<Seg>> {
        let mut found = HashSet::new();
        for pipeline in self.0.iter() {
            let at = Spot {
                value: document,
                way: Vec::new(),
            };
            let mut add = |spot: Spot<'_>| {
                found.insert(spot.way);
            };
            run(pipeline, at, &mut add, &mut { MOST });
        }
        found
    }
}

/// The selections in one document: each expression runs once, however many paths are checked.
#[derive(Default)]
pub(super) struct Selected(HashMap<*const Pipeline, (Query, Ways)>);

/// The paths that an expression selects.
pub(super) type Ways = Rc<HashSet<Vec<Seg>>>;

impl Selected {
    pub(super) fn by(&mut self, query: &Query, document: &Value) -> Ways {
        // The expression is kept with its selection, so that no other gets its address.
        let known = self.0.entry(query.0.as_ptr());
        let (_, selected) =
            known.or_insert_with(|| (query.clone(), Rc::new(query.select(document))));
        Rc::clone(selected)
    }
}

/// A path in a document, up to where the document has it. `position` finds list items.
pub(super) fn segments(
    path: &FieldPath,
    position: impl Fn(&[Step], &Step) -> Option<usize>,
) -> Vec<Seg> {
    let steps = path.steps();
    let mut segments = Vec::with_capacity(steps.len());
    for (depth, step) in steps.iter().enumerate() {
        let segment = match step {
            Step::Field(name) => Some(Seg::Key(name.clone())),
            Step::Index(index) => Some(Seg::At(*index)),
            Step::Item(_) | Step::Value(_) => steps
                .get(..depth)
                .and_then(|parents| position(parents, step))
                .map(Seg::At),
        };
        match segment {
            Some(segment) => segments.push(segment),
            None => break,
        }
    }
    segments
}

struct Spot<'v> {
    value: &'v Value,
    way: Vec<Seg>,
}

impl<'v> Spot<'v> {
    fn below(&self, value: &'v Value, step: Seg) -> Self {
        let mut way = self.way.clone();
        way.push(step);
        Self { value, way }
    }
}

/// Passes everything that the stages select from `at` to `found`.
fn run<'v>(stages: &[Stage], at: Spot<'v>, found: &mut dyn FnMut(Spot<'v>), left: &mut usize) {
    let Some((stage, rest)) = stages.split_first() else {
        if *left > 0 {
            *left -= 1;
            found(at);
        }
        return;
    };
    match stage {
        Stage::Field(name) => {
            if let Some(value) = at.value.get(name.as_str()) {
                run(rest, at.below(value, Seg::Key(name.clone())), found, left);
            }
        }
        Stage::Index(index) => {
            if let Some(value) = at.value.get(*index) {
                run(rest, at.below(value, Seg::At(*index)), found, left);
            }
        }
        Stage::Each => match at.value {
            Value::Array(items) => {
                for (n, item) in items.iter().enumerate() {
                    run(rest, at.below(item, Seg::At(n)), found, left);
                }
            }
            Value::Object(fields) => {
                for (name, value) in fields {
                    run(rest, at.below(value, Seg::Key(name.clone())), found, left);
                }
            }
            _ => {}
        },
        Stage::Select(condition) => {
            if condition.holds(at.value) {
                run(rest, at, found, left);
            }
        }
    }
}

impl Condition {
    fn holds(&self, value: &Value) -> bool {
        match self {
            Self::All(all) => all.iter().all(|one| one.holds(value)),
            Self::Any(any) => any.iter().any(|one| one.holds(value)),
            Self::Not(one) => !one.holds(value),
            Self::Test(stages, test) => {
                let mut passes = false;
                let mut is_there = false;
                let at = Spot {
                    value,
                    way: Vec::new(),
                };
                let mut look = |spot: Spot<'_>| {
                    is_there = true;
                    passes |= test.passes(spot.value);
                };
                run(stages, at, &mut look, &mut { MOST });
                // To jq, a missing value is null.
                passes || !is_there && test.passes(&Value::Null)
            }
        }
    }
}

impl Test {
    fn passes(&self, value: &Value) -> bool {
        let text = value.as_str();
        match self {
            Self::IsTrue => !matches!(value, Value::Null | Value::Bool(false)),
            Self::Equals(wanted) => value == wanted,
            Self::Differs(wanted) => value != wanted,
            Self::StartsWith(part) => text.is_some_and(|text| text.starts_with(part)),
            Self::EndsWith(part) => text.is_some_and(|text| text.ends_with(part)),
            Self::Contains(part) => text.is_some_and(|text| text.contains(part)),
            Self::Matches(expression) => text.is_some_and(|text| expression.is_match(text)),
            Self::Has(key) => value.get(key).is_some(),
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::policy::tree::Tree;

    const MANIFEST: &str = r#"{"metadata":{"annotations":{"a.b/c":"x"}},"spec":{"replicas":1,
        "containers":[{"name":"web","image":"nginx:1"},{"name":"sidecar","image":"envoy:2"}]}}"#;

    #[rstest]
    #[case(".spec.replicas", ".spec.replicas", true)]
    #[case(".spec", ".spec.replicas", true)]
    #[case(".", ".spec.replicas", true)]
    #[case(".spec.other", ".spec.replicas", false)]
    #[case(
        ".spec.containers[].image",
        ".spec.containers[name=sidecar].image",
        true
    )]
    #[case(
        ".spec.containers[0].image",
        ".spec.containers[name=sidecar].image",
        false
    )]
    #[case(
        ".spec.containers[1].image",
        ".spec.containers[name=sidecar].image",
        true
    )]
    #[case(".spec.containers[]?.image?", ".spec.containers[name=web].image", true)]
    #[case(
        r#".spec.containers[] | select(.name == "web") | .image"#,
        ".spec.containers[name=web].image",
        true
    )]
    #[case(
        r#".spec.containers[] | select(.name == "web") | .image"#,
        ".spec.containers[name=sidecar].image",
        false
    )]
    #[case(
        r#".spec.containers[] | select(.name != "web")"#,
        ".spec.containers[name=sidecar].image",
        true
    )]
    #[case(
        r#".spec.containers[] | select(.image | startswith("envoy"))"#,
        ".spec.containers[name=sidecar].image",
        true
    )]
    #[case(r#".spec.containers[] | select(.image | test("^envoy:[0-9]$") and (.name == "x" or .name == "sidecar"))"#, ".spec.containers[name=sidecar].image", true)]
    #[case(
        r#".spec.containers[] | select(.name == "web" | not)"#,
        ".spec.containers[name=web].image",
        false
    )]
    #[case(
        r#".spec.containers[] | select(has("command"))"#,
        ".spec.containers[name=web].image",
        false
    )]
    #[case(
        ".spec.containers[] | select(.command == null)",
        ".spec.containers[name=web].image",
        true
    )]
    #[case(
        r#".metadata.annotations["a.b/c"]"#,
        ".metadata.annotations[\"a.b/c\"]",
        true
    )]
    #[case(
        r#".metadata.annotations."a.b/c""#,
        ".metadata.annotations[\"a.b/c\"]",
        true
    )]
    #[case(".spec.replicas, .metadata", ".metadata.annotations[\"a.b/c\"]", true)]
    #[case(".spec[]", ".spec.replicas", true)]
    fn an_expression_selects_in_the_manifest(
        #[case] query: &str,
        #[case] path: &str,
        #[case] covered: bool,
    ) {
        let manifest = Tree::of(MANIFEST);
        let query = Query::new(query).unwrap();
        assert_eq!(manifest.selects(&query, &path.parse().unwrap()), covered);
    }

    #[rstest]
    #[case::never_ends("def f: f; f", "def")]
    #[case::never_ends_either("recurse(.)", "recurse")]
    #[case::everywhere(".. | .image", "..")]
    #[case::counting("range(0; 1000000000000)", "range")]
    #[case::repeating("repeat(.)", "repeat")]
    #[case::until("until(false; .)", "until")]
    #[case::the_environment("env.HOME", "env")]
    #[case::a_variable("$__prog_args", "$")]
    #[case::reading("input", "input")]
    #[case::reducing("reduce .[] as $x (0; . + $x)", "reduce")]
    #[case::arithmetic(".a + 1", "+")]
    #[case::nothing("", "end")]
    #[case::unfinished(".spec.containers[", "end")]
    #[case::unfinished_text(".[\"a", "string")]
    #[case::unfinished_condition("select(.a", "end")]
    #[case::no_expression_of_a_test("select(.a | test(\"(\"))", "(")]
    #[case::a_construction("{a: .b}", "{")]
    fn unsupported_jq_is_rejected_by_name(#[case] query: &str, #[case] says: &str) {
        let error = Query::new(query).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }

    #[test]
    fn deep_expressions_are_rejected_and_wide_documents_cost_their_size() {
        let deep = format!("select({}.a{})", "(".repeat(10_000), ")".repeat(10_000));
        assert!(Query::new(&deep).is_err());
        let wide = format!("[{}]", vec!["[[1],[2]]"; 50_000].join(","));
        let manifest = Tree::of(&wide);
        let query = Query::new(".[][][]").unwrap();
        assert!(!manifest.selects(&query, &FieldPath::of(["spec"])));
    }
}
