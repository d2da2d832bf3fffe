//! The records of a release.

use rstest::rstest;
use serde_json::json;

use super::scene::{DEPLOYED, ReleaseScene};
use crate::{
    helm::lifecycle::RevisionStatus::{
        self, Deployed, Failed, PendingInstall, PendingRollback, PendingUpgrade, Superseded,
        Uninstalled, Uninstalling,
    },
    scan::{Consequence, FindingClass, FindingSeverity, report::DriftState, scanned::KindServing},
};

#[rstest]
#[case::install(PendingInstall)]
#[case::upgrade(PendingUpgrade)]
#[case::rollback(PendingRollback)]
#[case::uninstall(Uninstalling)]
fn an_operation_that_does_not_end_is_stuck(#[case] status: RevisionStatus) {
    let mut scene = ReleaseScene::deployed();
    scene.revision(3).status = status;
    let finding = scene.only();
    assert_eq!(finding.class, FindingClass::StuckPending);
    assert_eq!(finding.consequence, Consequence::Blocks);
    assert_eq!(finding.since.as_deref(), Some(DEPLOYED));
    assert_eq!(finding.object.name, "sh.helm.release.v1.web.v3");
    assert_eq!(scene.scan().state, DriftState::Drifted);
    scene.now = "2026-01-01T10:05:00Z".parse().unwrap();
    scene.live.clear();
    let report = scene.scan();
    assert_eq!(
        (report.state, report.findings),
        (DriftState::Pending, Vec::new())
    );
}

#[test]
fn a_superseded_newest_revision_means_that_a_record_is_lost() {
    let mut scene = ReleaseScene::deployed();
    scene.revision(3).status = Superseded;
    let finding = scene.only();
    assert_eq!(finding.class, FindingClass::RecordLost);
    assert_eq!(finding.object.name, "sh.helm.release.v1.web.v4");
    assert_eq!(finding.severity, FindingSeverity::Critical);
    assert_eq!(finding.consequence, Consequence::Leaked);
}

/// The lost revision may have changed the value, and an upgrade changes it back.
#[test]
fn nothing_was_changed_at_admission_while_a_record_is_lost() {
    let mut scene = ReleaseScene::deployed();
    scene.object("Deployment/web")["spec"]["replicas"] = json!(4);
    assert_eq!(scene.only().class, FindingClass::MutatedAtAdmission);
    scene.revision(3).status = Superseded;
    let findings = scene.scan().findings;
    let changed = findings.iter().find(|one| one.path.is_some()).unwrap();
    assert_eq!(changed.class, FindingClass::Changed);
    assert_eq!(changed.consequence, Consequence::Reverted);
}

#[test]
fn a_record_that_was_seen_and_is_gone_is_lost() {
    let mut scene = ReleaseScene::deployed();
    scene.highest_seen = Some(3);
    assert_eq!(scene.found(), [""; 0]);
    scene.highest_seen = Some(5);
    assert_eq!(scene.only().class, FindingClass::RecordLost);
    scene.revisions.clear();
    assert_eq!(scene.only().class, FindingClass::RecordLost);
}

#[test]
fn an_active_record_that_cannot_be_read_is_an_error() {
    let mut scene = ReleaseScene::deployed();
    scene.revision(3).unreadable = Some("failed to inflate the record");
    let report = scene.scan();
    assert_eq!(report.state, DriftState::Error);
    let finding = scene.only();
    assert_eq!(finding.class, FindingClass::RecordUnreadable);
    assert_eq!(finding.severity, FindingSeverity::Critical);
    assert_eq!(finding.consequence, Consequence::Unknown);
    assert!(
        finding.message.contains("failed to inflate"),
        "{}",
        finding.message
    );
}

#[rstest]
#[case::newest(3, Consequence::Blocks)]
#[case::older(2, Consequence::Unknown)]
fn the_newest_record_blocks_upgrades_if_helm_cannot_read_it_either(
    #[case] revision: u32,
    #[case] expected: Consequence,
) {
    let mut scene = ReleaseScene::deployed();
    scene.add(2, Superseded, "");
    let record = scene.revision(revision);
    record.unreadable = Some("not base64");
    record.is_damaged = true;
    let finding = scene.only();
    assert_eq!(finding.class, FindingClass::RecordUnreadable);
    assert_eq!(finding.consequence, expected);
}

#[test]
fn an_old_record_that_cannot_be_read_is_no_error() {
    let mut scene = ReleaseScene::deployed();
    scene.add(2, Superseded, "");
    scene.revision(2).unreadable = Some("corrupt");
    let finding = scene.only();
    assert_eq!(finding.class, FindingClass::RecordUnreadable);
    assert_eq!(finding.severity, FindingSeverity::Low);
    assert_eq!(scene.scan().state, DriftState::Drifted);
}

#[test]
fn a_document_that_cannot_be_read_is_an_error() {
    let mut scene = ReleaseScene::deployed();
    scene.revision(3).manifest.push_str("---\nkind: Nothing\n");
    assert_eq!(scene.only().class, FindingClass::RecordUnreadable);
}

#[rstest]
#[case::other_versions(KindServing::InOtherVersions, 3)]
#[case::gone_from_kubernetes(KindServing::Nowhere, 3)]
#[case::not_known(KindServing::Unknown, 0)]
fn a_version_that_is_not_served_blocks_upgrades(
    #[case] serving: KindServing,
    #[case] expected: usize,
) {
    let mut scene = ReleaseScene::deployed();
    scene.serving = serving;
    let report = scene.scan();
    // All but the Widget.
    assert_eq!(report.findings.len(), expected);
    for finding in report.findings {
        assert_eq!(finding.class, FindingClass::RemovedApi);
        assert_eq!(finding.consequence, Consequence::Blocks);
        assert_eq!(finding.severity, FindingSeverity::Critical);
    }
}

#[rstest]
#[case::uninstalled(Uninstalled, 0)]
#[case::failed(Failed, 4)]
#[case::deployed(Deployed, 4)]
fn an_uninstalled_release_declares_nothing(#[case] status: RevisionStatus, #[case] count: usize) {
    let mut scene = ReleaseScene::deployed();
    scene.revision(3).status = status;
    let report = scene.scan();
    assert_eq!(report.findings, []);
    assert_eq!(report.objects, count);
}
