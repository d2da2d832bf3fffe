//! **`RecordLost`** and **`RecordUnreadable`**: the record of a revision was deleted, or overwritten.

use rstest::rstest;
use serde_json::{Value, json};
use testbed::{Chart, HelmVersion, Invocation, scene::record_name};

use super::unguarded::{INCOMPLETE, Unguarded};
use crate::{charts::single, scene::Screen};

/// With the value `more`, another key and another object.
fn growing() -> Chart {
    single(GROWING).values("more: false\n")
}

const GROWING: &str = "\
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data:
  colour: blue
  {{- if .Values.more }}
  shape: round
  {{- end }}
{{- if .Values.more }}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: more}
{{- end }}
";

fn delete_record(unguarded: &Unguarded, revision: u32) {
    let record = record_name("myapp", revision);
    unguarded
        .scene
        .kubectl(&format!("delete secret {record}"))
        .ok();
}

fn lost(revision: u32) -> String {
    format!(
        "RecordLost Secret/{}: Leaked",
        record_name("myapp", revision)
    )
}

#[rstest]
fn an_upgrade_forgets_what_the_revision_added_whose_record_is_lost(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
) {
    let unguarded = Unguarded::of("scan-lost", version, &growing());
    let scene = &unguarded.scene;
    unguarded.upgrade("--set more=true").quiet();
    delete_record(&unguarded, 2);
    let more = "Orphaned ConfigMap/more: Leaked".to_owned();
    assert_eq!(unguarded.found(), [more.clone(), lost(2)]);

    unguarded.upgrade("").quiet();
    assert_eq!(unguarded.found(), [more]);
    // Server-side apply knows from the object what Helm applied.
    let shape = unguarded.either(json!("round"), Value::Null);
    assert_eq!(scene.at("configmap/settings", "/data/shape"), shape);
    scene.kubectl("delete configmap more").ok();
    assert_eq!(unguarded.found(), [""; 0]);
}

/// Helm wrote the value for the lost revision, so nothing changed it at admission.
#[rstest]
fn what_the_lost_revision_changed_differs_from_the_one_before(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
) {
    let unguarded = Unguarded::new("scan-forgotten", version);
    delete_record(&unguarded, 3);
    let memory = ".spec.template.spec.containers[name=server].resources.limits.memory";
    let changed = format!("Changed Deployment/myapp {memory} by helm: Reverted");
    assert_eq!(unguarded.found(), [changed, lost(3)]);
    // With the values of revision 2, which is the newest now.
    unguarded.upgrade("--set memory=2Gi").quiet();
    assert_eq!(unguarded.found(), [""; 0]);
}

fn overwrite(unguarded: &Unguarded, revision: u32) -> Invocation {
    let garbage = json!({"data": {"release": "bm90IGEgcmVjb3Jk"}});
    let what = format!("secret/{}", record_name("myapp", revision));
    unguarded.scene.patch(&what, "merge", &garbage)
}

/// Helm skips a record that it cannot read, and then cannot store the next one, which would have its name.
#[rstest]
fn nothing_is_known_of_a_release_whose_newest_record_cannot_be_read(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
) {
    let unguarded = Unguarded::new("scan-unread", version);
    let scene = &unguarded.scene;
    overwrite(&unguarded, 3).ok();
    let record = record_name("myapp", 3);
    let unread = [
        format!("RecordUnreadable Secret/{record}: Blocks"),
        INCOMPLETE.to_owned(),
    ];
    unguarded.confirm(&unread);
    scene.helm("rollback myapp 1").refused();
    assert_eq!(unguarded.found(), unread);

    // Without it, the one before it counts.
    delete_record(&unguarded, 3);
    assert!(unguarded.found().contains(&lost(3)));
    scene.helm("rollback myapp 1").quiet();
    assert_eq!(unguarded.found(), [""; 0]);
}

#[rstest]
fn an_older_record_that_cannot_be_read_blocks_nothing(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
) {
    let unguarded = Unguarded::new("scan-old-unread", version);
    overwrite(&unguarded, 2).ok();
    let record = record_name("myapp", 2);
    assert_eq!(
        unguarded.found(),
        [format!("RecordUnreadable Secret/{record}: Unknown")]
    );
    unguarded.upgrade("").quiet();
}
