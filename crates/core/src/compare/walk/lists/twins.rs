//! Separate items with the same merge key: two names of one port, two aliases of one address. The
//! API server accepts such twins, and readers of the list see both.
//!
//! Losing or renaming one of two declared twins is a change. Their order is irrelevant, and another
//! undeclared twin is as free as any other item.

use std::collections::HashMap;

use super::{Agreement, Declared, Items, Walk, WalkPlace};
use crate::compare::schema::Shape;
use crate::compare::{
    json::Json,
    rules::Rules,
    set_match::pair,
    values::{ComparedValue, same, satisfies},
};

impl<'a> Walk<'a, '_> {
    /// The items of one key.
    pub(super) fn twins(&mut self, place: WalkPlace<'a, '_>, items: Items<'a, '_>) {
        let Items {
            firsts,
            seconds,
            olds,
            news,
        } = items;
        let most = seconds.map_or(0, <[_]>::len).max(firsts.len());
        if most <= 1 && olds.len() <= 1 && news.len() <= 1 {
            let first = firsts.first().copied();
            let declared = match seconds {
                None => first.map(Declared::One),
                Some(seconds) => Some(Declared::Two(first, seconds.first().copied())),
            };
            if let Some(declared) = declared {
                let (old, new) = (olds.first().copied(), news.first().copied());
                self.one(declared, WalkPlace { old, new, ..place });
            }
            return;
        }
        let slots = slots(firsts, seconds, place.shape, self.rules);
        let owned = |given: &[Json<'a>]| owned(&slots, given, place.shape, self.rules);
        let (own_old, own_new) = (owned(olds), owned(news));
        let (spare_olds, spare_news) = (spare(olds, &own_old), spare(news, &own_new));
        let came = without(&spare_news, &spare_olds);
        let went = without(&spare_olds, &spare_news);
        // Helm's own patch identifies ports by their number alone, and may leave one of several.
        let is_collapsed = seconds.is_some()
            && self.agreement == Agreement::Every
            && !news.is_empty()
            && news.len() < olds.len()
            && came.is_empty();
        if is_collapsed {
            return;
        }
        let (mut came, mut went) = (came.into_iter(), went.into_iter());
        for ((slot, old), new) in slots.iter().zip(own_old).zip(own_new) {
            if new.is_some() {
                continue;
            }
            let old = old.and_then(|at| olds.get(at)).copied();
            let old = old.or_else(|| went.next());
            let new = came.next();
            self.one(*slot, WalkPlace { old, new, ..place });
        }
    }

    /// One item. Removing it is a change even if each of its values may be absent: in a custom
    /// resource, `{port: 0}` has no value that must be present.
    fn one(&mut self, declared: Declared<'a>, place: WalkPlace<'a, '_>) {
        let before = self.found.len();
        self.at(declared, place);
        if place.old.is_some() && place.new.is_none() && self.found.len() == before {
            self.removed(declared, place);
        }
    }
}

/// The declared items, each once; with two manifests, together with its match in the other one.
fn slots<'a>(
    firsts: &[Json<'a>],
    seconds: Option<&[Json<'a>]>,
    shape: Shape<'_>,
    rules: Rules<'_>,
) -> Vec<Declared<'a>> {
    let Some(seconds) = seconds else {
        return firsts.iter().copied().map(Declared::One).collect();
    };
    let is_same = |a: &Json<'a>, b: &Json<'a>| {
        let step = rules.budget.step();
        step.then(|| same(Some(*a), Some(*b), shape, rules))
    };
    let counterparts = pair(firsts, seconds, |json| json.text(), is_same);
    let mut rest = spare(seconds, &counterparts).into_iter();
    let mut slots: Vec<Declared<'a>> = firsts
        .iter()
        .zip(counterparts)
        .map(|(first, second)| {
            let second = second.and_then(|at| seconds.get(at)).copied();
            Declared::Two(Some(*first), second.or_else(|| rest.next()))
        })
        .collect();
    slots.extend(rest.map(|second| Declared::Two(None, Some(second))));
    slots
}

/// For each slot, the position of the item that satisfies it.
fn owned<'a>(
    slots: &[Declared<'a>],
    given: &[Json<'a>],
    shape: Shape<'_>,
    rules: Rules<'_>,
) -> Vec<Option<usize>> {
    let given: Vec<Declared<'a>> = given.iter().copied().map(Declared::One).collect();
    let text = |slot: &Declared<'a>| slot.newest().map_or("", Json::text);
    let fits = |slot: &Declared<'a>, item: &Declared<'a>| {
        let against = ComparedValue {
            old: None,
            new: item.newest(),
        };
        let step = rules.budget.step();
        step.then(|| {
            slot.each()
                .any(|json| satisfies(json, against, shape, rules))
        })
    };
    pair(slots, &given, text, fits)
}

/// The unmatched items.
fn spare<'a>(items: &[Json<'a>], owned: &[Option<usize>]) -> Vec<Json<'a>> {
    let mut is_owned = vec![false; items.len()];
    for at in owned.iter().flatten() {
        if let Some(is_owned) = is_owned.get_mut(*at) {
            *is_owned = true;
        }
    }
    let items = items.iter().zip(is_owned);
    let spare = items.filter(|(_, is_owned)| !is_owned);
    spare.map(|(item, _)| *item).collect()
}

/// The items of `items` without those of `others`, with multiplicity.
fn without<'a>(items: &[Json<'a>], others: &[Json<'a>]) -> Vec<Json<'a>> {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for other in others {
        *counts.entry(other.text()).or_default() += 1;
    }
    let mut left = Vec::new();
    for item in items {
        match counts.get_mut(item.text()) {
            Some(count) if *count > 0 => *count -= 1,
            _ => left.push(*item),
        }
    }
    left
}
