//! Helm's marks: the label and the two annotations, changed through the object and through every subresource.

use serde_json::json;

use super::{Edit, Strike, fields};
use crate::{
    leaves::Step,
    request::{Place, Verb},
    target::{MANAGED_BY, OWNED_BY, Role, Target},
};

/// The path of the label.
pub fn label() -> Vec<Step> {
    fields(&["metadata", "labels", MANAGED_BY])
}

/// The paths of the annotations.
pub fn annotations() -> [Vec<Step>; 2] {
    OWNED_BY.map(|key| fields(&["metadata", "annotations", key]))
}

/// Removes all three.
pub fn all_off() -> Vec<Edit> {
    let [name, namespace] = annotations();
    vec![
        Edit::Remove(label()),
        Edit::Remove(name),
        Edit::Remove(namespace),
    ]
}

/// Each mark alone and all of them, removed and changed, with every verb.
pub fn strikes(target: &Target) -> Vec<Strike> {
    if target.role != Role::Declared {
        return Vec::new();
    }
    let mut strikes = Vec::new();
    let ways = super::values::ways(target);
    for (turn, (name, edits)) in losses().into_iter().enumerate() {
        for verb in [ways[turn % ways.len()], ways[(turn + 1) % ways.len()]] {
            strikes.push(Strike::edit(
                name,
                verb,
                target.place.clone(),
                edits.clone(),
            ));
        }
        let of_others = target.versions.iter().take(1);
        strikes.extend(of_others.map(|version| {
            let place = target.place.in_version(version);
            Strike::edit(name, Verb::Merge, place, edits.clone())
        }));
    }
    strikes.extend(by_subresources(target));
    strikes
}

/// The same through writable subresources.
pub fn by_subresources(target: &Target) -> Vec<Strike> {
    let mut strikes = Vec::new();
    for sub in &target.subresources {
        let place = || target.place.sub(&sub.name);
        for (name, edits) in losses() {
            let name = format!("{name}, by {}", sub.name);
            for verb in verbs(target, sub) {
                strikes.push(Strike::edit(name.clone(), verb, place(), edits.clone()));
            }
        }
    }
    strikes
}

/// Setups in which a subresource removes marks first.
pub fn stripped(place: &Place) -> Strike {
    Strike::edit(
        "stripped by a subresource",
        Verb::Merge,
        place.clone(),
        all_off(),
    )
}

fn verbs(target: &Target, sub: &crate::discovery::Sub) -> Vec<Verb> {
    let mut verbs = Vec::new();
    if sub.takes("patch") {
        verbs.extend([Verb::Merge, Verb::Json]);
        verbs.extend(target.is_builtin().then_some(Verb::Strategic));
    }
    if sub.takes("update") {
        verbs.push(Verb::Replace);
    }
    verbs
}

fn losses() -> Vec<(&'static str, Vec<Edit>)> {
    let [name, namespace] = annotations();
    vec![
        ("the label off", vec![Edit::Remove(label())]),
        (
            "the label changed",
            vec![Edit::Set(label(), json!("kubectl"))],
        ),
        ("the owner's name off", vec![Edit::Remove(name.clone())]),
        (
            "the owner's name changed",
            vec![Edit::Set(name, json!("mine"))],
        ),
        (
            "the owner's namespace changed",
            vec![Edit::Set(namespace, json!("mine"))],
        ),
        ("every mark off", all_off()),
        (
            "every label and annotation off",
            vec![
                Edit::Remove(fields(&["metadata", "labels"])),
                Edit::Remove(fields(&["metadata", "annotations"])),
            ],
        ),
    ]
}
