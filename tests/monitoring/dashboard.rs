//! The dashboard.

use std::{collections::BTreeSet, fs};

use serde_json::Value;

use super::{folder, items, text};

fn dashboard() -> Value {
    let text = fs::read_to_string(folder().join("dashboard.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// The queries of the dashboard, as Prometheus gets them.
pub fn queries() -> Vec<String> {
    let dashboard = dashboard();
    let targets = items(&dashboard["panels"]).flat_map(|panel| items(&panel["targets"]));
    let queries: Vec<String> = targets
        .map(|target| text(&target["expr"]).replace("$__rate_interval", "5m"))
        .collect();
    assert!(queries.len() > 30, "{queries:?}");
    queries
}

/// The series that a variable of the dashboard takes its values from: `label_values(SERIES, LABEL)`.
pub fn variables() -> Vec<String> {
    let dashboard = dashboard();
    let variables: Vec<String> = items(&dashboard["templating"]["list"])
        .filter(|variable| variable["type"] == "query")
        .map(|variable| {
            let values = text(&variable["definition"]);
            let inner = values.strip_prefix("label_values(").unwrap();
            inner.rsplit_once(", ").unwrap().0.to_owned()
        })
        .collect();
    assert_eq!(variables.len(), 2);
    variables
}

#[test]
fn panels_do_not_overlap() {
    let dashboard = dashboard();
    let mut taken = BTreeSet::new();
    for panel in items(&dashboard["panels"]) {
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_u64().unwrap());
        assert!(x + w <= 24, "{panel}");
        for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(taken.insert(cell), "{panel}");
        }
    }
    assert!(!taken.is_empty());
}
