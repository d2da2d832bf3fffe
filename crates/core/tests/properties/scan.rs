//! Scans of releases with one object, as it stands in a cluster.

use std::sync::Arc;

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
        FindingClass, LiveObject, Observed, ReleaseScan, ScanRules, ScannedRelease,
        emergencies::OpenEmergencies,
        report::ReleaseReport,
        scanned::{KindServing, ReadRecord, RecordContent, ScannedRevision},
    },
};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    edit::{changed, nodes},
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
        redactor: &Redactor::new(b"key"),
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
