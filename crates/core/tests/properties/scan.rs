//! Scans of releases with one object, as it stands in a cluster.

use std::{cell::Cell, sync::Arc};

use helm_guard_core::{
    compare::{redact::Redactor, rules::EmptyListPolicy, schema::ResourceScope},
    guard::{HELM_WRITERS, Knowledge, RecordsAt},
    helm::{
        ReleaseName,
        identity::DeclaredObject,
        lifecycle::RevisionStatus,
        manifest::{Manifest, marks},
        record::{ApplyMethod, Chart},
        storage::Driver,
    },
    policy::Policy,
    scan::{
        DriftFinding, FindingClass, LiveObject, Observed, ReleaseScan, ScanRules, ScannedRelease,
        emergencies::OpenEmergencies,
        repair,
        report::ReleaseReport,
        scanned::{KindServing, ReadRecord, RecordContent, ScannedRevision},
    },
};
use jiff::{SignedDuration, Timestamp};
use json_patch::{Patch, PatchOperation};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    edit::{changed, nodes, removed},
    for_all, is_leaf, is_unwitnessed,
    model::KindUnderTest,
    server::roll,
};

fn release() -> ReleaseName {
    ReleaseName {
        namespace: "shop".to_owned(),
        name: "web".to_owned(),
    }
}

/// The object with the marks of the release.
fn marked(object: &Value) -> Value {
    let mut marked = object.clone();
    let marks = marks(&release());
    for map in ["labels", "annotations"] {
        let own = marks["metadata"][map].as_object().unwrap();
        for (key, value) in own {
            marked["metadata"][map][key] = value.clone();
        }
    }
    marked
}

fn scan(subject: &KindUnderTest, declared: &Value, live: &Value) -> ReleaseReport {
    let release = release();
    let manifest = Manifest {
        objects: vec![DeclaredObject {
            group: String::new(),
            version: "v1".to_owned(),
            kind: subject.name.to_owned(),
            namespace: None,
            name: "web".to_owned(),
            source: None,
            line: 1,
            keep: false,
            json: Arc::from(declared.to_string()),
        }],
        ..Manifest::default()
    };
    let chart = Chart::default();
    let revisions = [ScannedRevision {
        revision: 1,
        status: RevisionStatus::Deployed,
        created: None,
        content: RecordContent::Read(ReadRecord {
            chart: &chart,
            apply_method: ApplyMethod::ServerSide,
            last_deployed: None,
            deleted: None,
            rolled_back_to: None,
            objects: &manifest.objects,
            unread_documents: 0,
            hooks: &[],
        }),
    }];
    let records = RecordsAt {
        driver: Driver::Secret,
        namespace: "shop".into(),
    };
    let scanned = ScannedRelease {
        name: &release,
        records: &records,
        revisions: &revisions,
        highest_seen: None,
    };
    let rules = ScanRules {
        policy: &Policy::default(),
        redactor: &Redactor::new(b"key").keeping_values(),
        writers: HELM_WRITERS,
        emergencies: &OpenEmergencies::default(),
        now: Timestamp::UNIX_EPOCH,
        pending_grace: SignedDuration::from_mins(10),
    };
    let json = live.to_string();
    ReleaseScan::new(&scanned, &rules).run(|_| Observed {
        live: LiveObject::Present {
            json: &json,
            version: "v1",
        },
        scope: Some(ResourceScope::Namespaced),
        knowledge: match subject.empties {
            EmptyListPolicy::Dropped => Knowledge::Builtin(subject.shape),
            EmptyListPolicy::Kept => Knowledge::Custom(subject.shape),
        },
        serving: KindServing::Served,
        replicas_path: &[],
        autoscaler: None,
    })
}

#[test]
fn an_object_that_equals_its_declaration_has_no_finding_whatever_is_added() {
    for_all(|subject, object, seed| {
        let declared = marked(object);
        for drops in [None, Some(roll(seed, "", "drops"))] {
            let live = subject.live(&declared, seed, true, drops);
            let report = scan(subject, &declared, &live);
            prop_assert!(report.findings.is_empty(), "{live}: {:#?}", report.findings);
        }
        Ok(())
    });
}

#[test]
fn a_change_of_any_declared_leaf_is_one_finding_there() {
    for_all(|subject, object, seed| {
        let declared = marked(object);
        for node in nodes(&subject.ty, object) {
            if !is_leaf(object, &node) || node.is_key || is_unwitnessed(object, &node) {
                continue;
            }
            let live = subject.lived_in(&changed(&declared, &node), seed);
            let report = scan(subject, &declared, &live);
            prop_assert!(!report.findings.is_empty(), "{} is missed", node.path);
            for found in &report.findings {
                let is_class = matches!(found.class, FindingClass::Changed | FindingClass::Removed);
                let path = found.path.as_deref().unwrap_or_default();
                let is_there = node.path.to_string().starts_with(path);
                prop_assert!(is_class && is_there, "{}: {found:#?}", node.path);
                let text = json!(found).to_string();
                let is_shown = subject.name == "Secret" && text.contains("aGVs");
                prop_assert!(!is_shown, "{text}");
            }
        }
        Ok(())
    });
}

/// As the API server does it: a test of null passes where nothing is.
fn apply(patch: &Patch, object: &mut Value) -> Result<(), String> {
    let is_absent = |one: &PatchOperation| match one {
        PatchOperation::Test(test) => {
            test.value.is_null() && object.pointer(test.path.as_str()).is_none()
        }
        _ => false,
    };
    let rest: Vec<_> = patch
        .iter()
        .filter(|one| !is_absent(one))
        .cloned()
        .collect();
    json_patch::patch(object, &rest).map_err(|error| format!("{patch}: {error}"))
}

#[test]
fn what_is_repaired_is_as_declared() {
    let (repaired, others) = (Cell::new(0), Cell::new(0));
    for_all(|subject, object, seed| {
        let declared = marked(object);
        for node in nodes(&subject.ty, object) {
            // A few places of each object are enough, because two scans of each take long.
            let edited = match roll(seed, &node.path.to_string(), "edit") % 8 {
                0 => changed(&declared, &node),
                1 => removed(&declared, &node),
                _ => continue,
            };
            let mut live = subject.lived_in(&edited, seed);
            let before = scan(subject, &declared, &live).findings;
            let repair = |found: &DriftFinding| found.exact.as_ref()?.repair.clone().ok();
            let repairs: Vec<_> = before.iter().filter_map(repair).collect();
            let patch = repair::patch(&repairs);
            let applied = apply(&patch, &mut live);
            prop_assert!(applied.is_ok(), "{applied:?}");
            let after = scan(subject, &declared, &live).findings;
            // A patch may restore more, such as the marks in a map.
            for left in &after {
                let was = before.iter().find(|found| found.id == left.id);
                let is_repaired = was.is_none_or(|found| repair(found).is_some());
                prop_assert!(!is_repaired, "{patch}\n{live}\n{left:#?}");
            }
            repaired.set(repaired.get() + repairs.len());
            others.set(others.get() + after.len());
        }
        Ok(())
    });
    // Not patched are Secrets and fields that the API server never changes.
    let (repaired, others) = (repaired.get(), others.get());
    assert!(repaired > others, "{repaired} of {}", repaired + others);
}
