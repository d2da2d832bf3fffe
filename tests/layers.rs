//! The structure in ARCHITECTURE.md, where Cargo and the compiler do not enforce it already.

#[path = "layers/circles.rs"]
mod circles;
#[path = "layers/modules.rs"]
mod modules;
#[path = "layers/type_names.rs"]
mod type_names;

use std::{collections::BTreeMap, path::Path, process::Command};

use rstest::rstest;

/// Crates that give access to a network, a runtime or a cluster.
const IO: [&str; 7] = [
    "hyper",
    "kube-client",
    "kube-runtime",
    "reqwest",
    "rustls",
    "socket2",
    "tokio",
];

#[rstest]
#[case::core("helm-guard-core", &IO)]
#[case::alerts("helm-guard-alerts", &["helm-guard", "kube-client", "kube-runtime", "reqwest"])]
fn a_crate_depends_on_nothing_that_it_must_not_reach(
    #[case] package: &str,
    #[case] forbidden: &[&str],
) {
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--locked", "--package", package])
        .args(["--edges", "normal", "--prefix", "none", "--format", "{p}"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(
        tree.status.success(),
        "{}",
        String::from_utf8_lossy(&tree.stderr)
    );
    let tree = String::from_utf8(tree.stdout).unwrap();
    let names: Vec<&str> = tree
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    assert!(names.contains(&package), "{tree}");
    assert!(names.contains(&"serde_json"), "{tree}");
    let found = names.iter().filter(|name| forbidden.contains(name));
    let found: Vec<_> = found.collect();
    assert!(found.is_empty(), "{package} depends on {found:?}");
}

#[rstest]
#[case::core("crates/core/src")]
#[case::guard("src")]
fn no_module_uses_a_sibling_that_uses_it(#[case] sources: &str) {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join(sources);
    let uses = modules::uses(&sources);
    let count: usize = uses.values().map(std::collections::BTreeSet::len).sum();
    assert!(
        uses.len() > 50 && count > 100,
        "{} modules, {count} uses",
        uses.len()
    );
    let found = circles::circles(&uses);
    assert!(found.is_empty(), "circles:\n{}", found.join("\n"));
}

#[rstest]
#[case::none(&[("a", "b"), ("b", "c")], &[])]
#[case::two(&[("a", "b"), ("b", "a")], &[": a, b"])]
#[case::by_way_of_a_third(&[("a", "b"), ("b", "c"), ("c", "a")], &[": a, b, c"])]
#[case::below(&[("a::b::x", "a::c::y"), ("a::c::z", "a::b")], &["a: b, c"])]
#[case::child_and_parent(&[("a", "a::b"), ("a::b", "a")], &[])]
#[case::two_circles(&[("a", "b"), ("b", "a"), ("b", "c"), ("c", "d"), ("d", "c")], &[": a, b", ": c, d"])]
fn circles_are_found(#[case] uses: &[(&str, &str)], #[case] expected: &[&str]) {
    let module = |path: &str| {
        path.split("::")
            .map(str::to_owned)
            .collect::<modules::Module>()
    };
    let mut graph = modules::Uses::new();
    for (user, used) in uses {
        graph.entry(module(user)).or_default().insert(module(used));
    }
    assert_eq!(circles::circles(&graph), expected);
}

/// A name says what the value is without its module (docs/style.md).
#[test]
fn no_name_is_given_to_three_types() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut names = BTreeMap::new();
    for sources in ["src", "crates"] {
        type_names::count(&root.join(sources), &mut names);
    }
    assert!(names.len() > 400, "{} names", names.len());
    names.retain(|_, count| *count >= 3);
    assert!(names.is_empty(), "used three times or more: {names:?}");
}

#[rstest]
#[case::public("pub struct Policy {", Some("Policy"))]
#[case::of_the_crate("pub(crate) enum Mode<'a> {", Some("Mode"))]
#[case::private_in_a_module("    struct Unit;", Some("Unit"))]
#[case::tuple("struct Bytes(Vec<u8>);", Some("Bytes"))]
#[case::alias("type Result<T> = std::result::Result<T, Error>;", Some("Result"))]
#[case::bounds("pub trait Sources: Sync {", Some("Sources"))]
#[case::associated("    type Item = u8;", None)]
#[case::field("    pub kind: Kind,", None)]
#[case::comment("// struct of arrays", None)]
fn types_are_found(#[case] line: &str, #[case] expected: Option<&str>) {
    assert_eq!(type_names::defined(line).next(), expected);
}
