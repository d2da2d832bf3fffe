//! Whether a request changes a significant order, in a list whose items have keys.

use crate::compare::{
    keyed_list::KeyedList,
    lazy::{member, unquoted},
    schema::ListKind,
};

/// Whether the order is neither that of a manifest nor the previous one. Items that only some of the
/// lists have do not matter.
pub(super) fn is_broken(
    kind: &ListKind,
    manifests: &[&KeyedList<'_>],
    old: &KeyedList<'_>,
    new: &KeyedList<'_>,
) -> bool {
    match kind {
        ListKind::Sequence(_) => manifests.iter().all(|manifest| moved(manifest, old, new)),
        ListKind::Variables(_) => manifests
            .iter()
            .all(|manifest| unsettled(manifest, old, new)),
        _ => false,
    }
}

/// The positions of a list's items in a manifest, in the list's order.
fn places(manifest: &KeyedList<'_>, list: &KeyedList<'_>) -> Vec<usize> {
    list.iter()
        .filter_map(|item| manifest.position(item))
        .collect()
}

/// Whether the order of the declared items is neither the manifest's nor the previous one.
fn moved(manifest: &KeyedList<'_>, old: &KeyedList<'_>, new: &KeyedList<'_>) -> bool {
    let now = places(manifest, new);
    // A name that a manifest repeats has the manifest's positions.
    if now.is_sorted() || now == places(manifest, manifest) {
        return false;
    }
    let before = places(manifest, old);
    let is_in = |places: &[usize]| {
        let mut places = places.to_vec();
        places.sort_unstable();
        move |place: &usize| places.binary_search(place).is_ok()
    };
    let (was_there, is_there) = (is_in(&before), is_in(&now));
    let kept: Vec<usize> = now.iter().copied().filter(was_there).collect();
    let stayed: Vec<usize> = before.into_iter().filter(is_there).collect();
    kept != stayed || !came_in_order(&now, &stayed)
}

/// Whether each place outside `stayed` comes after all smaller and before all greater ones.
fn came_in_order(now: &[usize], stayed: &[usize]) -> bool {
    let mut known = stayed.to_vec();
    known.sort_unstable();
    let came = |place: usize| known.binary_search(&place).is_err();
    let mut greatest = None;
    let from_the_left = now.iter().all(|place| {
        let fits = !came(*place) || greatest.is_none_or(|greatest| greatest <= *place);
        greatest = greatest.max(Some(*place));
        fits
    });
    let mut least = usize::MAX;
    let from_the_right = now.iter().rev().all(|place| {
        let fits = !came(*place) || least >= *place;
        least = least.min(*place);
        fits
    });
    from_the_left && from_the_right
}

/// Whether a variable that refers to another one is on another side of it than in the manifest and before.
fn unsettled(manifest: &KeyedList<'_>, old: &KeyedList<'_>, new: &KeyedList<'_>) -> bool {
    manifest.distinct().any(|item| {
        let value = member(item.item, "value").map(|value| unquoted(value.text()));
        let value = value.unwrap_or_default();
        references(&value).any(|name| {
            let other = item.named(name);
            let is_before =
                |list: &KeyedList<'_>| Some(list.position(&other)? < list.position(item)?);
            let declared = is_before(manifest);
            let (was, is) = (is_before(old), is_before(new));
            declared.is_some() && is.is_some() && is != declared && is != was
        })
    })
}

/// The names in `$(NAME)`; `$$(NAME)` is text.
fn references(value: &str) -> impl Iterator<Item = &str> {
    value.match_indices("$(").filter_map(|(at, sign)| {
        let before = value.get(..at).unwrap_or_default();
        let dollars = before.len() - before.trim_end_matches('$').len();
        let (name, _) = value.get(at + sign.len()..)?.split_once(')')?;
        (dollars % 2 == 0).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("$(A)/$(B)", &["A", "B"])]
    #[case("$$(A)", &[])]
    #[case("$$$(A)", &["A"])]
    #[case("$(A", &[])]
    #[case("A", &[])]
    fn a_variable_refers_to_others(#[case] value: &str, #[case] expected: &[&str]) {
        assert_eq!(references(value).collect::<Vec<_>>(), expected);
    }

    #[rstest]
    #[case(&[0, 1, 2], &[0, 1], true)]
    #[case::drift_stays(&[1, 0, 2], &[1, 0], true)]
    #[case::comes_too_early(&[1, 2, 0], &[1, 0], false)]
    #[case::comes_too_late(&[1, 0], &[1], false)]
    fn what_comes_takes_its_place(
        #[case] now: &[usize],
        #[case] stayed: &[usize],
        #[case] expected: bool,
    ) {
        assert_eq!(came_in_order(now, stayed), expected);
    }
}
