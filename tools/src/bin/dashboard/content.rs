//! What the dashboard shows: a section for each question, with its panels.
//!
//! Queries drop the labels of replicas (`max by (namespace, release)`), because each replica reports the releases. A
//! panel whose query has no data says so: nothing here replaces missing data by a zero, except to count what is missing
//! next to a series that is there. `{releases` in a query is the filter by the variables `namespace` and `release`.

mod guard;
mod releases;

use super::grafana::Section;

pub fn sections() -> Vec<Section> {
    let section = |title, panels| Section { title, panels };
    vec![
        section("Drift", releases::drift()),
        section("Releases", releases::inventory()),
        section("Guard", guard::availability()),
        section("Decisions", guard::decisions()),
        section("Emergencies and alerts", guard::emergencies()),
        section("Scan", releases::scan()),
    ]
}
