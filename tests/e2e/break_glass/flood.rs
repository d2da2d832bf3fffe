//! An identity that makes very many emergency changes does not cause a page for each of them.

use serde_json::{Value, json};

use super::{
    night::{EMERGENCY_OPS, Night},
    sinks::sinks,
};
use crate::scene::{Screen, eventually};

/// The pages about changes of the emergency account, each with the number of changes in it. Other tests leave
/// changes of other users behind.
fn pages(path: &str) -> Vec<(u64, Value)> {
    let posts = sinks().posts(path).into_iter().map(|post| post.body);
    let broke = posts.filter(|body| body["payload"]["class"] == "BreakGlass");
    let counted = broke.map(|body| {
        let details = body["payload"]["custom_details"].clone();
        let count = details["count"]
            .as_str()
            .map_or(1, |count| count.parse().unwrap());
        (count, details)
    });
    counted
        .filter(|(_, details)| details["user"] == EMERGENCY_OPS)
        .collect()
}

#[test]
fn many_changes_of_one_identity_share_alerts_even_across_processes() {
    let mut alerts = sinks().of_each_sort("flood");
    alerts["breakGlass"] = json!({"above": 1, "within": "20s"});
    let night = Night::with_alerts("flood", &json!({}), &alerts);
    for memory in ["2Gi", "3Gi", "4Gi", "5Gi"] {
        night.raise(memory).warned(&["recorded as myapp-"]);
    }
    let path = "/flood/pagerduty";
    let (_, summary) = eventually("an alert about several changes", || {
        pages(path)
            .into_iter()
            .find(|(_, details)| details["count"].is_string())
    });
    let fields = summary["fields"].as_str().unwrap();
    let object = format!("Update of Deployment {}/myapp", night.ns());
    assert!(fields.contains(&object), "{fields}");
    let list = format!("changes --all-namespaces --all --user {EMERGENCY_OPS}");
    assert!(fields.contains(&list), "{fields}");

    // The next leader sends what waits for the end of the window.
    let night = night.restart();
    eventually("alerts that are noted in every change", || {
        let changes = night.changes();
        assert_eq!(changes.len(), 4, "{changes:?}");
        let is_noted = |change: &Value| {
            let announced = change["status"]["announced"].as_array();
            announced.is_some_and(|pages| pages.contains(&json!("BreakGlass")))
        };
        changes.iter().all(is_noted).then_some(())
    });
    let pages: u64 = pages(path).iter().map(|(count, _)| count).sum();
    assert!(pages >= 4, "{pages}");
}
