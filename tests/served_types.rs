//! Compares the table of built-in types with the OpenAPI documents of a live API server.

use std::collections::BTreeMap;

use helm_guard_core::compare::schema::{
    builtin::TEXT,
    openapi,
    table::{KindName, Table},
    text,
};
use serde_json::Value;
use testbed::{Apis, ControlPlane};

/// The documents of all group versions.
fn documents(plane: &ControlPlane) -> Vec<String> {
    let get = |path: &str| {
        let raw = format!("--raw={path}");
        plane
            .kubectl()
            .cmd(plane.admin())
            .args(["get", &raw])
            .ok()
            .stdout
    };
    let index: Value = serde_json::from_str(&get("/openapi/v3")).unwrap();
    let groups = index["paths"].as_object().unwrap();
    groups
        .iter()
        .filter(|(path, _)| path.starts_with("api/v") || path.starts_with("apis/"))
        .map(|(_, group)| get(group["serverRelativeURL"].as_str().unwrap()))
        .collect()
}

/// The part of a table for these kinds.
fn reached(mut table: Table, kinds: &BTreeMap<KindName, String>) -> Table {
    table.kinds.retain(|name, _| kinds.contains_key(name));
    let roots: Vec<&str> = kinds.values().map(String::as_str).collect();
    table.prune(&roots)
}

/// Lines that only the first of two printed tables contains, each with the type of the field.
fn only_in(text: &str, other: &str) -> Vec<String> {
    let lines = |text: &str| {
        let mut ty = String::new();
        let lines = text.lines().map(|line| {
            if line.starts_with("  ") {
                format!("{ty}{line}")
            } else {
                line.clone_into(&mut ty);
                ty.clone()
            }
        });
        lines.collect::<Vec<_>>()
    };
    let others = lines(other);
    let mut lines = lines(text);
    lines.retain(|line| !others.contains(line));
    lines
}

#[test]
fn the_built_in_table_agrees_with_an_api_server_on_every_kind() {
    let plane = ControlPlane::start_serving(Apis::All).unwrap();
    let served = openapi::reduce(documents(&plane)).unwrap();
    let table = text::parse(TEXT).unwrap();

    let kinds: BTreeMap<KindName, String> = served
        .kinds
        .iter()
        .map(|(name, kind)| (name.clone(), kind.ty.clone()))
        .collect();
    let ours = reached(table.clone(), &kinds);
    let theirs = reached(served, &kinds);
    println!(
        "{} kinds compared, with {} types; the table has {} kinds",
        theirs.kinds.len(),
        theirs.types.len(),
        table.kinds.len(),
    );
    let (ours, theirs) = (text::print(&ours), text::print(&theirs));
    assert_eq!(only_in(&theirs, &ours), [""; 0], "served, not in the table");
    assert_eq!(only_in(&ours, &theirs), [""; 0], "in the table, not served");

    let unserved = table.kinds.keys().filter(|name| !kinds.contains_key(name));
    assert_eq!(unserved.collect::<Vec<_>>(), [] as [&KindName; 0]);
    assert!(kinds.len() > 80, "only {} kinds are served", kinds.len());

    let altered = ours.replacen("containers keyed(name)", "containers list", 1);
    assert_eq!(only_in(&theirs, &altered).len(), 1, "one key is missed");
}
