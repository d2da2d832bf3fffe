//! Findings about the records of a release: **`RecordLost`**, **`RecordUnreadable`** and **`StuckPending`**; and
//! **`RemovedAPI`** of the newest one.

use super::{
    examined::ExaminedObject,
    finding::{Consequence, DriftFinding, FindingClass, FindingSeverity},
    history::{History, began},
    key::LiveKey,
    scanned::{KindServing, RecordContent, ScanRules, ScannedRelease, ScannedRevision},
};
use crate::{
    compare::schema::builtin::builtin,
    helm::{
        lifecycle::{Phase, RevisionStatus},
        storage::record_name,
    },
    text::{counted, second},
};

/// The findings about the records of a release.
pub(super) fn records(
    release: &ScannedRelease<'_>,
    history: &History<'_>,
    rules: &ScanRules<'_>,
) -> Vec<DriftFinding> {
    let mut found: Vec<DriftFinding> = lost(release, history).into_iter().collect();
    found.extend(stuck(release, history, rules));
    let unread = release
        .revisions
        .iter()
        .filter_map(|one| unreadable(release, history, one));
    found.extend(unread);
    found
}

/// Helm supersedes a revision after it stored the next one, so the newest is never superseded. An upgrade from such
/// a record forgets what the lost revision added.
fn lost(release: &ScannedRelease<'_>, history: &History<'_>) -> Option<DriftFinding> {
    let newest = history.newest;
    let number = newest.map_or(0, |newest| newest.revision);
    let is_superseded = newest.is_some_and(|newest| newest.status == RevisionStatus::Superseded);
    let seen = release.highest_seen.filter(|seen| *seen > number);
    let (lost, message) = match (seen, is_superseded) {
        (Some(seen), _) => (
            seen,
            format!("the record of revision {seen} was there and is gone"),
        ),
        (None, true) => (
            number + 1,
            format!("revision {number} is superseded, and the record of the next revision is gone"),
        ),
        (None, false) => return None,
    };
    Some(about(
        release,
        lost,
        FindingClass::RecordLost,
        Consequence::Leaked,
        message,
    ))
}

/// Helm refuses every operation while the newest revision is pending (`pkg/action/upgrade.go`), and does not
/// upgrade a release that is being uninstalled.
fn stuck(
    release: &ScannedRelease<'_>,
    history: &History<'_>,
    rules: &ScanRules<'_>,
) -> Option<DriftFinding> {
    let is_busy = matches!(history.phase(), Phase::Pending | Phase::Uninstalling);
    let newest = history.newest.filter(|_| is_busy && !history.is_working)?;
    let began = began(newest);
    let age = began.map(|began| rules.now.duration_since(began).as_mins());
    let age = age.map_or_else(String::new, |minutes| {
        format!(" for {}", counted(minutes, "minute"))
    });
    let (number, status) = (newest.revision, newest.status);
    let message = format!("revision {number} is {status}{age}, so Helm refuses every upgrade");
    let mut finding = about(
        release,
        number,
        FindingClass::StuckPending,
        Consequence::Blocks,
        message,
    );
    finding.since = began.map(|began| second(began).to_string());
    Some(finding)
}

fn unreadable(
    release: &ScannedRelease<'_>,
    history: &History<'_>,
    one: &ScannedRevision<'_>,
) -> Option<DriftFinding> {
    let number = one.revision;
    let is_active = history
        .active
        .is_some_and(|active| active.revisions().any(|of| of == number));
    let message = match &one.content {
        RecordContent::Unreadable(why) | RecordContent::Damaged(why) => {
            format!("the record of revision {number} cannot be read: {why}")
        }
        RecordContent::NotRead if is_active => {
            format!("the record of revision {number} was not read")
        }
        RecordContent::Read(record) if is_active && record.unread_documents > 0 => {
            let documents = counted(record.unread_documents, "document");
            format!("the manifest of revision {number} has {documents} that cannot be read")
        }
        RecordContent::NotRead | RecordContent::Read(_) => return None,
    };
    // Helm skips what it cannot decode, and gives the next revision a number and a name that exist already.
    let is_newest = history
        .newest
        .is_some_and(|newest| newest.revision == number);
    let consequence = match &one.content {
        RecordContent::Damaged(_) if is_newest => Consequence::Blocks,
        _ => Consequence::Unknown,
    };
    let class = FindingClass::RecordUnreadable;
    let mut finding = about(release, number, class, consequence, message);
    if !is_active {
        finding.severity = FindingSeverity::Low;
    }
    Some(finding)
}

/// Helm reads the newest manifest before it upgrades or rolls back, and fails on a version that is not served, or a
/// kind that is gone:
/// `unable to build kubernetes objects from current release manifest`.
pub(super) fn removed_api(of: &ExaminedObject<'_>) -> Option<DriftFinding> {
    of.scanned.newest?;
    let is_removed = match of.observed.serving {
        KindServing::InOtherVersions => true,
        // A custom resource without its CRD is unreadable.
        KindServing::Nowhere => builtin().knows_group(of.key.group),
        KindServing::Served | KindServing::Unknown => false,
    };
    let message = || {
        format!(
            "revision {} declares {} in {}, which the API server no longer serves",
            of.revision(),
            of.called(),
            of.scanned.api_version()
        )
    };
    is_removed.then(|| of.finding(FindingClass::RemovedApi, Consequence::Blocks, message()))
}

/// A finding about the record of a revision.
fn about(
    release: &ScannedRelease<'_>,
    revision: u32,
    class: FindingClass,
    consequence: Consequence,
    message: String,
) -> DriftFinding {
    let name = record_name(&release.name.name, revision);
    let key = LiveKey {
        group: "",
        kind: release.records.driver.kind(),
        namespace: &release.records.namespace,
        name: &name,
    };
    DriftFinding::new(
        class,
        release.name,
        (key, "v1".to_owned()),
        consequence,
        message,
    )
}
