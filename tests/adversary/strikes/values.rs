//! Declared values: changed or removed, and selectors that select something else.

use serde_json::json;

use super::{Act, Edit, Strike, WRITES, fields};
use crate::{
    candidates::candidates,
    leaves::{self, Leaf, Sort, Step},
    request::{Place, Verb},
    target::{Role, Target},
};

/// Leaves per object, so that an object with a hundred fields does not use up the time; the random part takes
/// any.
const MOST_LEAVES: usize = 10;

/// Every verb, rotated over the leaves, and every verb and version for one leaf.
pub fn strikes(target: &Target) -> Vec<Strike> {
    if target.role == Role::Infrastructure {
        return Vec::new();
    }
    let leaves = declared(target);
    let ways = ways(target);
    let mut strikes = Vec::new();
    let step = leaves.len().div_ceil(MOST_LEAVES).max(1);
    for (turn, leaf) in leaves.iter().step_by(step).enumerate() {
        let verb = ways[turn % ways.len()];
        strikes.extend(changed(target, leaf, (verb, target.place.clone())));
        let verb = ways[(turn + 2) % ways.len()];
        strikes.extend(removed(leaf, (verb, target.place.clone())));
    }
    if let Some(leaf) = leaves.iter().find(|leaf| is_easy(leaf)) {
        for verb in &ways {
            strikes.extend(changed(target, leaf, (*verb, target.place.clone())));
        }
        for version in &target.versions {
            let place = target.place.in_version(version);
            let strike = changed(target, leaf, (Verb::Merge, place));
            strikes.extend(strike.map(|strike| Strike {
                name: "a value, in another version".to_owned(),
                ..strike
            }));
        }
        for sub in target.subresources.iter().filter(|sub| sub.takes("patch")) {
            let place = target.place.sub(&sub.name);
            let strike = changed(target, leaf, (Verb::Merge, place));
            strikes.extend(strike.map(|strike| Strike {
                name: format!("a value, by {}", sub.name),
                ..strike
            }));
        }
    }
    strikes.extend(resized(target));
    strikes.extend(narrowed(target));
    strikes.extend(scaled(target));
    strikes
}

/// A change of one declared value, by one way to write.
pub fn one(target: &Target, verb: Verb) -> Option<Strike> {
    let leaves = declared(target);
    let mut easy = leaves.iter().filter(|leaf| is_easy(leaf));
    easy.find_map(|leaf| changed(target, leaf, (verb, target.place.clone())))
}

/// The leaves that can be changed: not those that identify the object.
pub fn declared(target: &Target) -> Vec<Leaf> {
    let mut leaves = leaves::leaves(&target.declared, &target.baseline);
    leaves.retain(|leaf| {
        let fixed = ["apiVersion", "kind", ".metadata.name", ".status"]
            .iter()
            .any(|field| {
                leaf.path
                    .trim_start_matches('.')
                    .starts_with(field.trim_matches('.'))
            });
        leaf.sort == Sort::Scalar && leaf.live.is_some() && !fixed
    });
    leaves
}

/// Most immutable fields belong to these kinds.
fn is_easy(leaf: &Leaf) -> bool {
    !leaf.path.contains("selector") && !leaf.path.contains("roleRef")
}

/// The verbs that a kind supports.
pub fn ways(target: &Target) -> Vec<Verb> {
    let takes = |verb: &&Verb| **verb != Verb::Strategic || target.is_builtin();
    WRITES.iter().filter(takes).copied().collect()
}

/// Another value.
pub fn changed(target: &Target, leaf: &Leaf, (verb, place): (Verb, Place)) -> Option<Strike> {
    let path = leaf.live.as_ref()?;
    let values = candidates(&target.baseline, path, &leaf.declared);
    let edits = |value| vec![Edit::Set(path.clone(), value)];
    let all: Vec<Vec<Edit>> = values.into_iter().map(edits).collect();
    (!all.is_empty()).then(|| Strike {
        act: Act::Edits(all),
        ..Strike::body("a value", verb, place, None)
    })
}

/// Removes a value: the field, or the list item that contains it.
pub fn removed(leaf: &Leaf, (verb, place): (Verb, Place)) -> Option<Strike> {
    let path = leaf.live.clone()?;
    let item = path.iter().rposition(|step| matches!(step, Step::Item(_)));
    let mut all = vec![vec![Edit::Remove(path.clone())]];
    if let Some(item) = item {
        all.push(vec![Edit::Remove(path[..=item].to_vec())]);
    }
    Some(Strike {
        act: Act::Edits(all),
        ..Strike::body("a value removed", verb, place, None)
    })
}

/// An additional key, so that something else is selected.
fn narrowed(target: &Target) -> Vec<Strike> {
    let leaves = leaves::leaves(&target.declared, &target.baseline);
    let selector = |leaf: &Leaf| {
        let path = leaf.live.clone()?;
        let Some(Step::Field(name)) = path.last() else {
            return None;
        };
        let below: &[&str] = match name.as_str() {
            "podSelector" | "namespaceSelector" | "objectSelector" => &["matchLabels", "nobody"],
            "selector" | "nodeSelector" | "matchLabels" => &["nobody"],
            _ => return None,
        };
        let path = [path, fields(below)].concat();
        Some(Strike::edit(
            "a selector narrowed",
            Verb::Merge,
            target.place.clone(),
            vec![Edit::Set(path, json!("has-this"))],
        ))
    };
    let wanted = |leaf: &&Leaf| matches!(leaf.sort, Sort::Empty | Sort::Branch);
    leaves.iter().filter(wanted).filter_map(selector).collect()
}

/// The resources of a Pod cannot be changed by a patch of the Pod.
fn resized(target: &Target) -> Option<Strike> {
    let takes = target.subresources.iter().any(|sub| sub.name == "resize");
    let container = target.declared.pointer("/spec/containers/0/name")?;
    let body = json!({"spec": {"containers": [
        {"name": container, "resources": {"requests": {"cpu": "77m"}}},
    ]}});
    let place = target.place.sub("resize");
    takes.then(|| Strike::body("resized", Verb::Strategic, place, Some(body)))
}

fn scaled(target: &Target) -> Vec<Strike> {
    let takes = target.subresources.iter().any(|sub| sub.name == "scale");
    let replicas = target.promises_replicas();
    let place = target.place.sub("scale");
    let verbs = [Verb::Merge, Verb::Json, Verb::Strategic];
    verbs
        .into_iter()
        .filter(|_| takes && replicas)
        .map(|verb| {
            let body = match verb {
                Verb::Json => json!([{"op": "replace", "path": "/spec/replicas", "value": 7}]),
                _ => json!({"spec": {"replicas": 7}}),
            };
            Strike::body("scaled", verb, place.clone(), Some(body))
        })
        .collect()
}

impl Target {
    fn promises_replicas(&self) -> bool {
        self.declared.pointer("/spec/replicas").is_some()
    }
}
