//! What the comparison takes from the heap: nothing, for an object that does not change.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use helm_guard::compare::{
    Agreement, Comparison, Declared, Json, compare, schema::builtin::builtin, values::Empties,
};
use serde_json::json;

#[global_allocator]
static HEAP: dhat::Alloc = dhat::Alloc;

fn deployment(image: &str) -> String {
    let containers: Vec<_> = (0..40)
        .map(|n| json!({"name": format!("c{n}"), "image": image, "args": ["--a", "--b"]}))
        .collect();
    json!({"spec": {"replicas": 3, "template": {"spec": {"containers": containers}}}}).to_string()
}

/// Heap blocks taken by a comparison, and how many violations it finds.
fn blocks(declared: &str, old: &str, new: &str) -> (u64, usize) {
    let shape = builtin().lookup("apps", "v1", "Deployment").unwrap();
    let before = dhat::HeapStats::get().total_blocks;
    let (declared, old, new) = (Json::of(declared), Json::of(old), Json::of(new));
    let comparison = Comparison {
        declared: Declared::One(declared),
        agreement: Agreement::Every,
        old,
        new,
        shape,
        empties: Empties::Dropped,
    };
    let found = compare(&comparison).len();
    (dhat::HeapStats::get().total_blocks - before, found)
}

#[test]
fn comparing_an_object_that_did_not_change_allocates_nothing() {
    let _profiler = dhat::Profiler::builder().testing().build();
    let (declared, live, edited) = (deployment("a"), deployment("a"), deployment("b"));
    assert_eq!(blocks(&declared, &live, &live.clone()), (0, 0));
    let (taken, found) = blocks(&declared, &live, &edited);
    assert!(
        taken > 0 && found == 40,
        "the measurement sees allocations: {taken} {found}"
    );
}
