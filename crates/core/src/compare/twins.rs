//! How separate items with the same merge key match: those of two manifests, a manifest's with an object's,
//! and those of an object before and after a request.

use std::collections::HashMap;

use super::{
    declared::Declared,
    json::Json,
    rules::Rules,
    schema::Shape,
    set_match::pair,
    values::{ComparedValue, same, satisfies},
};

/// The declared items, each once; with two manifests, together with its match in the other one.
pub(super) fn slots<'a>(
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
pub(super) fn owned<'a>(
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
pub(super) fn spare<'a>(items: &[Json<'a>], owned: &[Option<usize>]) -> Vec<Json<'a>> {
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
pub(super) fn without<'a>(items: &[Json<'a>], others: &[Json<'a>]) -> Vec<Json<'a>> {
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

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::compare::lazy::items_of;

    #[rstest]
    #[case::as_often_as_the_others_have_it("[1,1,2]", "[1]", "[1,2]")]
    #[case::others_have_it_as_often("[1,1]", "[1,1]", "[]")]
    #[case::others_have_it_more_often("[1,2]", "[1,1,1]", "[2]")]
    #[case::others_have_none("[1]", "[2]", "[1]")]
    fn each_of_the_others_takes_one_item(
        #[case] items: &str,
        #[case] others: &str,
        #[case] left: &str,
    ) {
        let of = |list| items_of(Json::of(list)).unwrap();
        let texts =
            |items: Vec<Json<'_>>| items.iter().map(|item| item.text().to_owned()).collect();
        let found: Vec<String> = texts(without(&of(items), &of(others)));
        let expected: Vec<String> = texts(of(left));
        assert_eq!(found, expected);
    }
}
