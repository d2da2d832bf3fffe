//! What operations of Helm left behind: **Leaked** and **`HookLeftover`**.
//!
//! - An abandoned revision's fields and objects leak, because an upgrade compares with the newest *deployed*
//!   revision (helm#13346). Its record has its manifest, so they are found exactly. A field counts only if Helm owns
//!   it: else it may be a default.
//! - A hook's object stays if Helm did not get to delete it, or if a later revision no longer has the hook.

use super::{
    drift,
    examined::ExaminedObject,
    finding::{Consequence, DriftFinding, FindingClass},
    scanned::ScannedHook,
};
use crate::{
    compare::{Json, dig, path::FieldPath},
    guard::subject::owner_in,
    helm::record::ApplyMethod,
};

/// The fields that abandoned revisions added to a declared object.
pub(super) fn leaked_fields(of: &ExaminedObject<'_>) -> Vec<DriftFinding> {
    let mut found: Vec<DriftFinding> = Vec::new();
    let mut known: Vec<FieldPath> = Vec::new();
    let active = [of.scanned.newest, of.scanned.base];
    let is_active = |json: &str| active.iter().flatten().any(|object| *object.json == *json);
    let kind = of.kind();
    for (revision, object) in &of.scanned.abandoned {
        if is_active(&object.json) || object.version != of.scanned.version() {
            continue;
        }
        let declared = Json::of(&object.json);
        let removed = |other| {
            let violations = drift(declared, other, kind).into_iter();
            violations.filter(|violation| violation.new.is_none())
        };
        let mut dropped = active.iter().flatten().map(|object| {
            let violations = removed(Json::of(&object.json));
            violations.collect::<Vec<_>>()
        });
        let Some(mut leaked) = dropped.next() else {
            continue;
        };
        // What one of two active revisions declares is not leaked.
        for others in dropped {
            leaked.retain(|one| others.iter().any(|other| other.path == one.path));
        }
        if leaked.is_empty() {
            continue;
        }
        let off = drift(declared, of.live(), kind);
        for violation in leaked {
            let path = &violation.path;
            let differs = off.iter().any(|other| {
                let (one, other) = (path.steps(), other.path.steps());
                one.starts_with(other) || other.starts_with(one)
            });
            let writer = of.writers().last(path.steps());
            let is_helms = |manager: &str| of.is_helm(manager);
            if differs
                || known.contains(path)
                || !writer
                    .as_ref()
                    .is_some_and(|writer| is_helms(&writer.manager))
            {
                continue;
            }
            let values = of.values(path, None, Some(violation.declared));
            let message = format!(
                "{path} of {} is {}: revision {revision} added it, and no active revision declares it",
                of.called(),
                values.live
            );
            let finding = of.finding(FindingClass::Leaked, Consequence::Leaked, message);
            known.push(path.clone());
            found.push(
                finding
                    .with_field(path, values.to_field(path))
                    .with_writer(writer),
            );
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
    Some(created(
        of,
        FindingClass::Leaked,
        Consequence::Leaked,
        message,
    ))
}

fn hook_leftover(of: &ExaminedObject<'_>, scanned: ScannedHook<'_>) -> Option<DriftFinding> {
    let policies = scanned.hook.policies;
    // Helm creates the object as the hook has it, so this is the hook's.
    dig(of.json, &["metadata", "annotations", "helm.sh/hook"])?;
    let called = of.called();
    let (consequence, message) = match (scanned.earlier, scanned.hook.phase) {
        (Some(revision), _) => (
            Consequence::Leaked,
            format!("{called} is of a hook of revision {revision}, which the newest does not have"),
        ),
        (None, Some(phase)) if policies.delete_after(phase) => {
            let consequence = match (policies.before_creation, of.history.apply_method()) {
                (true, _) => Consequence::Recreated,
                // POST fails if the object exists, an apply patch does not (`execHook` in `pkg/action/hooks.go`).
                (false, ApplyMethod::ClientSide) => Consequence::Blocks,
                (false, ApplyMethod::ServerSide) => Consequence::Kept,
            };
            let message = format!("{called} is of a hook that ended, and Helm did not delete it");
            (consequence, message)
        }
        (None, _) => return None,
    };
    Some(created(
        of,
        FindingClass::HookLeftover,
        consequence,
        message,
    ))
}

/// A finding about an object that is there since it was created.
fn created(
    of: &ExaminedObject<'_>,
    class: FindingClass,
    consequence: Consequence,
    message: String,
) -> DriftFinding {
    let mut finding = of.finding(class, consequence, message);
    let time = dig(of.json, &["metadata", "creationTimestamp"]);
    finding.since = time.and_then(|time| serde_json::from_str(time).ok());
    finding
}
