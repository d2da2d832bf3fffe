//! How large and how deep a manifest may be.

use super::*;

#[test]
fn an_alias_bomb_is_bounded() {
    let levels = (1..12).map(|level| {
        let below = format!("*a{}", level - 1);
        format!(
            "a{level}: &a{level} [{}]\n",
            [below.as_str(); 10].join(", ")
        )
    });
    let bottom = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    let bomb = std::iter::once(bottom)
        .chain(levels)
        .collect::<Vec<_>>()
        .concat();
    let found = read(&format!("{TWO}---\n{bomb}"));
    assert_eq!(names(&found), ["Deployment/front", "Service/front"]);
    assert!(is_too_much(found.problems[0].error));
}

#[test]
fn aliases_of_a_large_text_are_a_problem_and_the_neighbors_are_declared() {
    let aliases: Vec<_> = (0..118).map(|n| format!("  k{n}: *a\n")).collect();
    let bomb = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: bomb}}\ndata:\n  a: &a {:?}\n{}",
        "x".repeat(1 << 20),
        aliases.concat()
    );
    let found = read(&format!("{bomb}---\n{TWO}"));
    assert_eq!(names(&found), ["Deployment/front", "Service/front"]);
    assert!(is_too_much(found.problems[0].error), "{:?}", found.problems);
}

#[test]
fn the_total_expansion_of_aliases_is_bounded() {
    let text = "x".repeat(60_000);
    let documents: Vec<_> = (0..100)
        .map(|n| {
            format!(
                "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c{n}}}\n\
                 data: {{a: &a {text}, b: *a}}\n"
            )
        })
        .collect();
    let found = read(&documents.concat());
    let declared = found.objects.len();
    assert!((40..60).contains(&declared), "{declared}");
    assert_eq!(found.problem_count(), 100 - declared);
    assert!(
        found
            .problems
            .iter()
            .all(|problem| is_too_much(problem.error))
    );
}

/// Templates have a few.
#[test]
fn aliases_of_ordinary_templates_are_read() {
    let found = read(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, labels: &l {app: a, tier: b}}\n\
         spec: [{labels: *l}, {labels: *l}, {<<: *l, tier: c}]\n",
    );
    assert_eq!((found.objects.len(), found.problem_count()), (1, 0));
}

fn is_too_much(error: DocumentError) -> bool {
    matches!(
        error,
        DocumentError::Yaml(YamlError {
            fault: Fault::TooMuch,
            ..
        })
    )
}

fn config_map(name: &str, text: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{a: {text:?}}}\n"
    )
}

#[rstest]
#[case::the_largest(0, true)]
#[case::one_byte_more(1, false)]
#[case::many_more(10 << 20, false)]
fn an_object_may_be_as_large_as_any_that_is_stored(#[case] more: usize, #[case] is_declared: bool) {
    let empty = read(&config_map("big", "")).objects[0].json.len();
    let text = "x".repeat(OBJECT_BYTES - empty + more);
    let found = read(&(config_map("big", &text) + &config_map("small", "x")));
    let expected: &[&str] = if is_declared {
        &["ConfigMap/big", "ConfigMap/small"]
    } else {
        &["ConfigMap/small"]
    };
    assert_eq!(names(&found), expected);
    let errors: Vec<_> = found.problems.iter().map(|problem| problem.error).collect();
    let problem = (!is_declared).then_some(DocumentError::ObjectTooLarge);
    assert_eq!(errors, Vec::from_iter(problem));
}

/// The JSON counts: a text of control characters is six times as large there.
#[test]
fn an_object_that_is_too_large_as_json_only_is_a_problem() {
    let text = "\\0".repeat(1 << 20);
    let document = config_map("big", "PLACE").replace("PLACE", &text);
    assert!(document.len() < OBJECT_BYTES);
    let found = read(&document);
    assert_eq!(found.problems[0].error, DocumentError::ObjectTooLarge);
}

#[test]
fn an_item_of_a_list_that_is_too_large_leaves_its_neighbors() {
    let item = |name: &str, text: &str| {
        format!(
            "- {{apiVersion: v1, kind: ConfigMap, metadata: {{name: {name}}}, data: {{a: {text}}}}}\n"
        )
    };
    let big = "x".repeat(OBJECT_BYTES);
    let list = format!(
        "apiVersion: v1\nkind: List\nitems:\n{}{}{}",
        item("a", "x"),
        item("big", &big),
        item("b", "x")
    );
    let found = read(&list);
    assert_eq!(names(&found), ["ConfigMap/a", "ConfigMap/b"]);
    assert_eq!(found.problem_count(), 1);
}

#[test]
fn a_manifest_that_is_too_large_declares_what_fits() {
    let text = "x".repeat(2 << 20);
    let documents: Vec<_> = (0..7)
        .map(|n| config_map(&format!("c{n}"), &text))
        .collect();
    let found = read(&documents.concat());
    assert_eq!((found.objects.len(), found.problem_count()), (7, 0));
    // Each text is twice as large in JSON.
    let text = "\\t".repeat(1 << 20).replace("\\t", "\t\t");
    let documents: Vec<_> = (0..6)
        .map(|n| format!("---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c{n}}}\ndata:\n  a: |-\n    x{text}\n"))
        .collect();
    let found = read(&documents.concat());
    assert_eq!(found.objects.len() + found.problem_count(), 6);
    let total: usize = found.objects.iter().map(|object| object.json.len()).sum();
    assert!(total <= MANIFEST_BYTES, "{total}");
}

#[test]
fn a_manifest_whose_text_is_too_large_is_not_read() {
    let found = read(&"a: 1\n".repeat(MANIFEST_BYTES / 5 + 1));
    assert_eq!(found.problems[0].error, DocumentError::ManifestTooLarge);
    assert_eq!((found.objects.len(), found.problem_count()), (0, 1));
}

#[test]
fn objects_beyond_those_that_a_manifest_may_have_are_problems() {
    let documents: Vec<_> = (0..OBJECTS + 40)
        .map(|n| config_map(&format!("c{n}"), "x"))
        .collect();
    let found = read(&documents.concat());
    assert_eq!((found.objects.len(), found.problem_count()), (OBJECTS, 40));
    assert_eq!((found.problems.len(), found.more_problems), (32, 8));
}

#[test]
fn only_a_few_of_many_problems_are_kept() {
    let found = read(&(TWO.to_owned() + &"---\n1\n".repeat(100_000)));
    assert_eq!(names(&found), ["Deployment/front", "Service/front"]);
    assert_eq!((found.problems.len(), found.more_problems), (32, 99_968));
}

#[rstest]
#[case::kind("apiVersion: v1\nkind: LONG\nmetadata: {name: a}", "kind")]
#[case::version("apiVersion: LONG\nkind: A\nmetadata: {name: a}", "apiVersion")]
#[case::group("apiVersion: LONG/v1\nkind: A\nmetadata: {name: a}", "apiVersion")]
#[case::name("apiVersion: v1\nkind: A\nmetadata: {name: LONG}", "metadata.name")]
#[case::namespace(
    "apiVersion: v1\nkind: A\nmetadata: {name: a, namespace: LONG}",
    "metadata.namespace"
)]
fn a_name_that_is_too_long_is_a_problem(#[case] document: &str, #[case] field: &'static str) {
    let found = read(&document.replace("LONG", &"x".repeat(2_000)));
    assert_eq!(found.problems[0].error, DocumentError::TooLong(field));
}

#[test]
fn a_source_of_any_length_is_not_kept() {
    let long = "x".repeat(1 << 20);
    let found = read(&format!(
        "# Source: {long}\napiVersion: v1\nkind: A\nmetadata: {{name: a}}\n"
    ));
    assert_eq!(found.objects[0].source, None);
}

#[test]
fn nesting_is_bounded_beyond_ordinary_templates() {
    let nested = |depth| {
        let spec = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        read(&format!(
            "apiVersion: v1\nkind: A\nmetadata: {{name: x}}\nspec: {spec}\n"
        ))
    };
    assert_eq!(nested(100).objects.len(), 1);
    assert!(is_too_much(nested(200).problems[0].error));
}

#[test]
fn outdented_lines_of_a_quoted_scalar_are_bounded() {
    let lines = "x\n".repeat(20_000);
    let found = read(&format!("{TWO}---\na:\n  b: \"{lines}\"\n"));
    assert_eq!(names(&found), ["Deployment/front", "Service/front"]);
    assert!(is_too_much(found.problems[0].error));
}

#[test]
fn five_hundred_objects_in_one_mebibyte_are_read() {
    let text = "x".repeat(2000);
    let documents: Vec<_> = (0..500)
        .map(|n| format!("---\n# Source: c/templates/{n}.yaml\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: c{n}\ndata:\n  text: |\n    {text}\n"))
        .collect();
    let manifest = documents.concat();
    assert!(manifest.len() > 1 << 20);
    let found = read(&manifest);
    assert_eq!((found.objects.len(), found.problems.len()), (500, 0));
}
