//! What operations of Helm left behind: **Leaked** and **`HookLeftover`**.
//!
//! - An abandoned revision's fields and objects leak, because an upgrade compares with the newest *deployed*
//!   revision (helm#13346). Its record has its manifest, so they are found exactly. A field counts only if Helm owns
//!   it: else it may be a default.
//! - A hook's object stays if Helm did not get to delete it, or if a later revision no longer has the hook. An object
//!   that the chart leaves there is a leftover too if the next run of the hook fails because of it.

use std::collections::HashSet;

use super::{
    drift,
    exact::DifferingTexts,
    examined::{ExaminedObject, MOST_FIELDS},
    finding::{Consequence, DriftFinding, FindingClass},
    orphans::{is_kept, kept},
    related::RelatedPaths,
    repair::NoRepair,
    scanned::ScannedHook,
    writers::FieldWriter,
};
use crate::{
    compare::{Json, Violation, dig, path::FieldPath},
    guard::subject::owner_in,
    helm::record::{ApplyMethod, HookPhase},
};

/// The fields that abandoned revisions added to a declared object.
pub(super) fn leaked_fields(of: &ExaminedObject<'_>) -> Vec<DriftFinding> {
    let mut found: Vec<DriftFinding> = Vec::new();
    let mut known: HashSet<FieldPath> = HashSet::new();
    let active = [of.scanned.newest, of.scanned.base];
    let is_active = |json: &str| active.iter().flatten().any(|object| *object.json == *json);
    let kind = of.kind();
    for (revision, object) in &of.scanned.abandoned {
        if is_active(&object.json) || object.version != of.scanned.version() {
            continue;
        }
        let declared = Json::of(&object.json);
        let dropped = active.iter().flatten().map(|object| {
            let violations = drift(declared, Json::of(&object.json), kind).into_iter();
            violations.filter(|violation| violation.new.is_none())
        });
        let dropped: Vec<Vec<Violation<'_>>> = dropped.map(Iterator::collect).collect();
        let Some((first, others)) = dropped.split_first() else {
            continue;
        };
        if first.is_empty() {
            continue;
        }
        // What one of two active revisions declares is not leaked.
        let paths = |of: &Vec<Violation<'_>>| -> Vec<FieldPath> {
            of.iter().map(|violation| violation.path.clone()).collect()
        };
        let others: Vec<Vec<FieldPath>> = others.iter().map(paths).collect();
        let others: Vec<_> = others.iter().map(RelatedPaths::of).collect();
        let off = paths(&drift(declared, of.live(), kind));
        let off = RelatedPaths::of(&off);
        for violation in first {
            let path = &violation.path;
            let is_dropped = others.iter().all(|others| others.include(path));
            if !is_dropped || off.touch(path) || known.contains(path) {
                continue;
            }
            let writer = of.writers().last(path.steps());
            let is_helms = |writer: &FieldWriter| of.is_helm(&writer.manager);
            if !writer.as_ref().is_some_and(is_helms) {
                continue;
            }
            if found.len() == MOST_FIELDS {
                return found;
            }
            let values = of.values(path, None, Some(violation.declared));
            let message = format!(
                "{path} of {} is {}: revision {revision} added it, and no active revision declares it",
                of.called(),
                values.live
            );
            let finding = of.finding(FindingClass::Leaked, Consequence::Leaked, message);
            let mut finding = finding
                .with_field(path, values.to_field(path))
                .with_writer(writer);
            let texts = DifferingTexts {
                declared: None,
                live: Some(violation.declared),
            };
            finding.exact = of.exact(path, texts, |_| Err(NoRepair::Undeclared));
            known.insert(path.clone());
            found.push(finding);
        }
    }
    found
}

/// An object that only an abandoned revision or a hook has, and that exists.
pub(super) fn leftover(of: &ExaminedObject<'_>) -> Option<DriftFinding> {
    if let Some(hook) = of.scanned.hook {
        return hook_leftover(of, hook);
    }
    let (revision, _) = of.scanned.abandoned.first()?;
    if owner_in(of.json).as_ref() != Some(of.release.name) {
        return None;
    }
    let message = format!(
        "revision {revision} added {}, and no active revision declares it",
        of.called()
    );
    let finding = if is_kept(of.json) {
        let object = (of.key, of.scanned.api_version());
        kept(of.release.name, object, &message)
    } else {
        of.finding(FindingClass::Leaked, Consequence::Leaked, message)
    };
    Some(since_created(of, finding))
}

fn hook_leftover(of: &ExaminedObject<'_>, scanned: ScannedHook<'_>) -> Option<DriftFinding> {
    // Helm creates the object as the hook has it, so this is the hook's.
    dig(of.json, &["metadata", "annotations", "helm.sh/hook"])?;
    let called = of.called();
    let next = next_run(&scanned, of.history.apply_method());
    let policies = scanned.hook.policies;
    let is_over = scanned
        .phase
        .is_some_and(|phase| policies.delete_after(phase));
    let (consequence, message) = match scanned.earlier {
        Some(revision) => (
            Consequence::Leaked,
            format!("{called} is of a hook of revision {revision}, which the newest does not have"),
        ),
        None if is_over => (
            next,
            format!("{called} is of a hook that ended, and Helm did not delete it"),
        ),
        None if next == Consequence::Blocks => (
            next,
            format!("{called} is of a hook that Helm runs again without deleting it first"),
        ),
        None => return None,
    };
    let finding = of.finding(FindingClass::HookLeftover, consequence, message);
    Some(since_created(of, finding))
}

/// What the next upgrade does if it comes across the object of a hook (`execHook` in `pkg/action/hooks.go`).
fn next_run(scanned: &ScannedHook<'_>, method: ApplyMethod) -> Consequence {
    let hook = scanned.hook;
    let has_run = matches!(&*hook.object.kind, "Job" | "Pod");
    match method {
        _ if !hook.is_of_upgrades => Consequence::Kept,
        _ if hook.policies.before_creation => Consequence::Recreated,
        // POST fails if the object exists, an apply patch does not.
        ApplyMethod::ClientSide => Consequence::Blocks,
        // The patch changes nothing, so nothing runs again: Helm waits for it, and sees that it failed.
        ApplyMethod::ServerSide if has_run && scanned.phase == Some(HookPhase::Failed) => {
            Consequence::Blocks
        }
        // It is deleted in the end.
        ApplyMethod::ServerSide => Consequence::Reverted,
    }
}

/// The finding about an object that is there since it was created.
fn since_created(of: &ExaminedObject<'_>, mut finding: DriftFinding) -> DriftFinding {
    let time = dig(of.json, &["metadata", "creationTimestamp"]);
    finding.since = time.and_then(|time| serde_json::from_str(time).ok());
    finding
}
