//! Cycles among siblings: modules that use each other, directly or through others.
//!
//! A sibling includes all modules below it. Use of a parent module is not a cycle: a file in a folder may use
//! what the folder's own file declares.

use std::collections::{BTreeMap, BTreeSet};

use crate::modules::{Module, Uses};

/// The siblings that each sibling uses, by the module around them.
type Siblings = BTreeMap<Module, BTreeMap<String, BTreeSet<String>>>;

fn siblings(uses: &Uses) -> Siblings {
    let mut siblings = Siblings::new();
    for (module, used) in uses.iter().flat_map(|(module, used)| {
        let pairs = used.iter();
        pairs.map(move |used| (module, used))
    }) {
        let pairs = module.iter().zip(used);
        let shared = pairs.take_while(|(one, other)| one == other).count();
        let (Some(one), Some(other)) = (module.get(shared), used.get(shared)) else {
            continue;
        };
        let around = module.iter().take(shared).cloned().collect();
        siblings
            .entry(around)
            .or_default()
            .entry(one.clone())
            .or_default()
            .insert(other.clone());
    }
    siblings
}

/// The siblings in a cycle, by their parent module: `webhook: certificates, registration`.
pub fn circles(uses: &Uses) -> Vec<String> {
    let siblings = siblings(uses);
    let groups = siblings.iter().flat_map(|(around, uses)| {
        let groups: BTreeSet<BTreeSet<&String>> = uses
            .keys()
            .map(|module| circle(module, uses))
            .filter(|circle| !circle.is_empty())
            .collect();
        groups.into_iter().map(move |group| (around, group))
    });
    groups
        .map(|(around, group)| {
            let names: Vec<&str> = group.into_iter().map(String::as_str).collect();
            format!("{}: {}", around.join("::"), names.join(", "))
        })
        .collect()
}

/// The siblings that a module uses and that use it, also through others.
fn circle<'u>(
    module: &'u String,
    uses: &'u BTreeMap<String, BTreeSet<String>>,
) -> BTreeSet<&'u String> {
    let reached = reachable(module, uses);
    let mut circle: BTreeSet<_> = reached
        .into_iter()
        .filter(|other| reachable(other, uses).contains(module))
        .collect();
    if circle.len() == 1 {
        circle.clear();
    }
    circle
}

fn reachable<'u>(
    module: &'u String,
    uses: &'u BTreeMap<String, BTreeSet<String>>,
) -> BTreeSet<&'u String> {
    let (mut reached, mut next) = (BTreeSet::new(), vec![module]);
    while let Some(module) = next.pop() {
        for used in uses.get(module).into_iter().flatten() {
            if reached.insert(used) {
                next.push(used);
            }
        }
    }
    reached
}
