//! Changes that would make an exempt controller change or delete what a release declares.
//!
//! None of them touches a declared field: an owner reference, a time to live, an annotation that steers
//! an injector. Each is evaluated as the change that it leads to, even if the policy ignores undeclared
//! fields:
//!
//! - A new **owner reference** is a deletion: the garbage collector deletes an object when its owner is
//!   gone, and treats an owner that it cannot find by name and uid as gone. It is legitimate if a manifest
//!   declares the reference, or if a claiming release declares the owner itself.
//! - A new **license** of a preset ([`License::fields`]) is the change that the preset allows its
//!   controller. It is legitimate if a manifest declares it.
//!
//! Where a deletion would be allowed, these changes are too: an object that is being deleted, or that a
//! release gives up.
//!
//! [`License::fields`]: crate::policy::license::License::fields

use std::{collections::HashMap, sync::Arc};

use serde_json::Value;

use super::{
    claim::{Claim, Deletion},
    question::{ClaimContext, Question},
    request::{Operation, Raw, Request},
    verdict::{FieldChange, Finding, Reason, Verdict, VerdictOutcome},
};
use crate::{
    compare::{
        Json, at, dig,
        path::{FieldPath, Step},
        redact::Sensitivity,
    },
    policy::{Act, PathChange, license::is_same_owner, tree::Tree},
};

/// The most new owner references that are listed. A person reads no more.
const OWNERS: usize = 64;

/// The changes of one release's object, and what they lead to.
#[derive(Default)]
struct Found {
    changes: Vec<FieldChange>,
    leads_to: Vec<String>,
    is_deletion: bool,
    undecided: Option<Reason>,
    exempt: Option<Arc<str>>,
}

/// A field that a request sets, and that steers a controller.
struct Steering {
    path: FieldPath,
    old: Option<String>,
    new: String,
    leads_to: String,
    is_deletion: bool,
    /// It is unknown whether it is legitimate.
    is_unknown: bool,
}

/// The verdict on what an UPDATE would make controllers do; `None` if it changes nothing that steers one.
pub(super) fn judge_deputies(
    question: &Question<'_>,
    old: Json<'_>,
    new: Json<'_>,
) -> Option<Verdict> {
    let steering = steering(question, old, new);
    if steering.is_empty() {
        return None;
    }
    let is_leaving = question.is_deleted_already();
    let mut findings = Vec::new();
    let (mut undecided, mut exempt, mut is_deletion) = (None, None, false);
    for claim in question.claims {
        if claim.leaves_free() || question.is_deferred(claim) {
            continue;
        }
        let found = found(question, claim, &steering, is_leaving);
        undecided = undecided.or(found.undecided);
        exempt = exempt.or(found.exempt);
        is_deletion |= found.is_deletion;
        if !found.changes.is_empty() {
            findings.push(Finding {
                involved: found.leads_to,
                ..claim.finding(question, found.changes)
            });
        }
    }
    match (findings.is_empty(), undecided, exempt) {
        (false, ..) => {
            let reason = if is_deletion {
                Reason::LeadsToDeletion
            } else {
                Reason::LeadsToChange
            };
            Some(Verdict::with_findings(reason, findings))
        }
        (true, Some(reason), _) => Some(Verdict::because(reason)),
        (true, None, Some(rule)) => Some(Verdict::exempt(rule)),
        (true, None, None) => None,
    }
}

/// The more severe of two verdicts: a violation, then an indeterminate one, then a pass.
pub(super) fn joined(fields: Verdict, deputies: Option<Verdict>) -> Verdict {
    let Some(deputies) = deputies else {
        return fields;
    };
    match (fields.reason.outcome(), deputies.reason.outcome()) {
        (VerdictOutcome::Violation, VerdictOutcome::Violation) => {
            let mut findings = fields.findings;
            for found in deputies.findings {
                let same = |finding: &&mut Finding| finding.release == found.release;
                match findings.iter_mut().find(same) {
                    Some(finding) => {
                        finding.changes.extend(found.changes);
                        finding.involved.extend(found.involved);
                    }
                    None => findings.push(found),
                }
            }
            Verdict {
                findings,
                ..deputies
            }
        }
        (VerdictOutcome::Violation, _) => fields,
        (_, VerdictOutcome::Violation) => deputies,
        (VerdictOutcome::Indeterminate, _) => fields,
        (_, VerdictOutcome::Indeterminate) => deputies,
        (VerdictOutcome::Pass, VerdictOutcome::Pass)
            if fields.reason == Reason::NothingDeclaredChanges =>
        {
            deputies
        }
        (VerdictOutcome::Pass, VerdictOutcome::Pass) => fields,
    }
}

fn found(question: &Question<'_>, claim: &Claim, steering: &[Steering], is_leaving: bool) -> Found {
    let mut found = Found::default();
    let of = question.of(claim);
    for one in steering {
        if one.is_deletion {
            match claim.deletion() {
                _ if is_leaving => continue,
                Deletion::Free(_) => continue,
                Deletion::Unreadable => {
                    found.undecided = Some(Reason::RecordUnreadable);
                    continue;
                }
                Deletion::RevisionObject => {}
            }
        }
        if let Some(rule) = exemption(question, &of, one) {
            found.exempt = Some(rule);
            continue;
        }
        if one.is_unknown {
            found.undecided = Some(Reason::OwnerUnknown);
            continue;
        }
        found.is_deletion |= one.is_deletion;
        found.changes.push(shown(question, one));
        if !found.leads_to.contains(&one.leads_to) {
            found.leads_to.push(one.leads_to.clone());
        }
    }
    found
}

fn exemption(question: &Question<'_>, of: &ClaimContext<'_>, one: &Steering) -> Option<Arc<str>> {
    let change = PathChange {
        path: &one.path,
        old: one.old.as_deref(),
        new: Some(&one.new),
    };
    question.exemption(of, Act::Change(change))
}

fn shown(question: &Question<'_>, one: &Steering) -> FieldChange {
    let sensitivity = Sensitivity::of(question.object.group, question.object.kind);
    let show = |text: Option<&str>| question.redactor.show(sensitivity, &one.path, text);
    FieldChange {
        path: one.path.clone(),
        declared: show(None),
        live: show(one.old.as_deref()),
        requested: show(Some(&one.new)),
    }
}

fn steering(question: &Question<'_>, old: Json<'_>, new: Json<'_>) -> Vec<Steering> {
    let mut steering = owners(question, old, new);
    // All claims have the same kind and place, and a license depends on nothing else.
    if let Some(claim) = question.claims.first() {
        let of = question.of(claim);
        let object = question.object(claim, &of.manifest);
        for rule in question.policy.licensed(&object) {
            let license = rule.license();
            let manifests = &of.manifests;
            let is_deletion = rule.deletes();
            for field in license.fields() {
                let (before, after) = (at(old, &field), at(new, &field));
                let Some(after) = after else {
                    continue;
                };
                let is_new = before.map(Json::text) != Some(after.text());
                if !is_new || manifests.iter().any(|tree| has(tree, &field)) {
                    continue;
                }
                // An annotation that steers nothing declared is an ordinary one.
                let is_structural = field.first() != Some(&"metadata");
                if is_structural || manifests.iter().any(|tree| rule.touches(tree)) {
                    steering.push(Steering {
                        path: FieldPath::of(field),
                        old: before.map(|json| json.text().to_owned()),
                        new: after.text().to_owned(),
                        leads_to: format!("{} (preset {})", rule.about(), rule.name()),
                        is_deletion,
                        is_unknown: false,
                    });
                }
            }
        }
    }
    steering
}

fn has(tree: &Tree<'_>, field: &[&str]) -> bool {
    let found = field
        .iter()
        .try_fold(tree.value(), |value, name| value.get(name));
    found.is_some_and(|value| !value.is_null())
}

/// The owner references that a request adds, or points to another owner.
fn owners(question: &Question<'_>, old: Json<'_>, new: Json<'_>) -> Vec<Steering> {
    const LIST: [&str; 2] = ["metadata", "ownerReferences"];
    let Some(after) = at(new, &LIST) else {
        return Vec::new();
    };
    if at(old, &LIST).map(Json::text) == Some(after.text()) {
        return Vec::new();
    }
    let references = |list: Option<Json<'_>>| -> Vec<Value> {
        let list = list.and_then(|list| serde_json::from_str(list.text()).ok());
        list.unwrap_or_default()
    };
    let before = references(at(old, &LIST));
    let Some(claim) = question.claims.first() else {
        return Vec::new();
    };
    let of = question.of(claim);
    let evidence = of.evidence(question);
    let facts = question.facts;
    let after = references(Some(after));
    added_owners(&before, &after)
        .take(OWNERS)
        .filter(|(uid, _, owner)| {
            !evidence.declares_owner(owner) && !facts.owners.iter().any(|known| known == uid)
        })
        .map(|(uid, earlier, owner)| Steering {
            path: owner_path(uid),
            old: earlier.map(Value::to_string),
            new: owner.to_string(),
            leads_to: OWNER.to_owned(),
            is_deletion: true,
            is_unknown: facts.unknown_owners.iter().any(|known| known == uid),
        })
        .collect()
}

/// What an owner reference leads to.
const OWNER: &str = "the garbage collector deletes an object when its owner is gone, and takes an \
                     owner that it cannot find for gone";

/// The owner references in `new` that are not in `old`, each with its uid and the previous value. A
/// reference that becomes the controller reference counts as new: controllers adopt objects by that
/// flag.
pub(crate) fn added_owners<'v>(
    old: &'v [Value],
    new: &'v [Value],
) -> impl Iterator<Item = (&'v str, Option<&'v Value>, &'v Value)> {
    let is_controller =
        |owner: &Value| owner.get("controller").and_then(Value::as_bool) == Some(true);
    let uid = |owner: &'v Value| owner.get("uid").and_then(Value::as_str).unwrap_or_default();
    // Indexed by uid, because the lists may be of any length.
    let mut known: HashMap<&'v str, Vec<&'v Value>> = HashMap::new();
    for owner in old {
        let of_uid = known.entry(uid(owner)).or_default();
        // The API server takes each uid once per kind and name: a handful is already absurd.
        if of_uid.len() < OWNERS {
            of_uid.push(owner);
        }
    }
    new.iter().filter_map(move |owner| {
        let of_uid = known.get(uid(owner)).map_or(&[][..], Vec::as_slice);
        let is_known = of_uid.iter().any(|known| {
            is_same_owner(known, owner) && (is_controller(known) || !is_controller(owner))
        });
        (!is_known).then(|| (uid(owner), of_uid.first().copied(), owner))
    })
}

/// The position of an owner reference.
pub(crate) fn owner_path(uid: &str) -> FieldPath {
    FieldPath::of(["metadata", "ownerReferences"])
        .join(Step::Item(vec![("uid".to_owned(), uid.to_owned())]))
}

/// The owner references of the request's objects that could matter to the garbage collector: those that
/// an UPDATE adds, or those of a deleted object.
pub fn owners_in_question(request: &Request<'_>) -> Vec<Value> {
    let read = |object: Option<Raw<'_>>| -> Vec<Value> {
        let list = object
            .and_then(|object| dig(object.get(), &["metadata", "ownerReferences"]))
            .and_then(|list| serde_json::from_str(list).ok());
        list.unwrap_or_default()
    };
    let before = read(request.old_object);
    if request.operation == Operation::Delete {
        return before;
    }
    let mut after = read(request.object);
    after.retain(|owner| !before.contains(owner));
    after
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn owner(name: &str) -> Value {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": "1"})
    }

    #[test]
    fn owners_in_question_are_those_that_come_or_those_of_a_deleted_object() {
        let of = |operation: &str, old: &[Value], new: &[Value]| {
            let object = |owners: &[Value]| json!({"metadata": {"ownerReferences": owners}});
            let text = json!({
                "uid": "1", "operation": operation, "oldObject": object(old), "object": object(new),
            })
            .to_string();
            owners_in_question(&serde_json::from_str(&text).unwrap())
        };
        let (a, b) = (owner("a"), owner("b"));
        let both = [a.clone(), b.clone()];
        assert_eq!(of("UPDATE", &both[..1], &both), [b]);
        assert_eq!(of("UPDATE", &both, &both[..1]), [] as [Value; 0]);
        assert_eq!(of("DELETE", &both[..1], &both), [a]);
    }

    #[test]
    fn of_one_uid_only_so_many_references_are_compared() {
        let old: Vec<Value> = (0..=OWNERS).map(|n| owner(&n.to_string())).collect();
        assert_eq!(added_owners(&old, &old[..OWNERS]).count(), 0);
        assert_eq!(added_owners(&old, &old).count(), 1);
    }

    #[test]
    fn of_two_passes_the_one_that_says_more_counts() {
        let exempt = |rule: &str| Verdict::exempt(rule.into());
        let nothing = || Verdict::because(Reason::NothingDeclaredChanges);
        let rule = |verdict: Verdict| verdict.exemption;
        assert_eq!(
            rule(joined(nothing(), Some(exempt("b")))).as_deref(),
            Some("b")
        );
        assert_eq!(
            rule(joined(exempt("a"), Some(exempt("b")))).as_deref(),
            Some("a")
        );
        assert_eq!(rule(joined(exempt("a"), None)).as_deref(), Some("a"));
    }
}
