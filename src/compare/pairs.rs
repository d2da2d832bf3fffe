//! Pairs the items of two lists in which order has no meaning.

use std::collections::VecDeque;

/// Whether every item of `wanted` has an item of `given` of its own that it fits.
///
/// An item may fit several, and a short declaration must not take the only counterpart of a longer
/// one, so items that were placed are moved on where that makes room (augmenting paths, breadth
/// first; no recursion, since the lists are as long as somebody made them).
pub fn have_counterparts<T>(wanted: &[T], given: &[T], fits: impl Fn(&T, &T) -> bool) -> bool {
    let mut owners: Vec<Option<usize>> = vec![None; given.len()];
    (0..wanted.len()).all(|item| place(item, &mut owners, (wanted, given), &fits).is_some())
}

fn place<T>(
    item: usize,
    owners: &mut [Option<usize>],
    (wanted, given): (&[T], &[T]),
    fits: impl Fn(&T, &T) -> bool,
) -> Option<()> {
    let mut reached_by: Vec<Option<usize>> = vec![None; given.len()];
    let mut moving = VecDeque::from([item]);
    let mut free = None;
    'search: while let Some(mover) = moving.pop_front() {
        let one = wanted.get(mover)?;
        for ((slot, other), reached) in given.iter().enumerate().zip(&mut reached_by) {
            if reached.is_some() || !fits(one, other) {
                continue;
            }
            *reached = Some(mover);
            let Some(owner) = owners.get(slot).copied().flatten() else {
                free = Some(slot);
                break 'search;
            };
            moving.push_back(owner);
        }
    }
    let mut slot = free?;
    loop {
        let mover = reached_by.get(slot).copied().flatten()?;
        let left = owners.iter().position(|owner| *owner == Some(mover));
        *owners.get_mut(slot)? = Some(mover);
        match left {
            Some(left) => slot = left,
            None => return Some(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::have_counterparts;

    /// A wanted item fits what holds all its letters.
    #[rstest]
    #[case::in_order(&["a", "b"], &["a", "b"], true)]
    #[case::reordered(&["a", "b"], &["b", "a"], true)]
    #[case::the_short_one_moves_on(&["a", "ab"], &["ab", "ac"], true)]
    #[case::a_chain_moves(&["a", "ab", "abc"], &["abc", "ab", "a"], true)]
    #[case::a_chain_moves_twice(&["a", "b", "c", "ab"], &["ab", "bc", "cd", "ad"], true)]
    #[case::one_for_two(&["a", "a"], &["ab", "c"], false)]
    #[case::two_want_the_same(&["ab", "ab", "a"], &["ab", "a", "a"], false)]
    #[case::too_few(&["a", "b"], &["ab"], false)]
    #[case::nothing_wanted(&[], &["a"], true)]
    fn each_finds_one_of_its_own(
        #[case] wanted: &[&str],
        #[case] given: &[&str],
        #[case] expected: bool,
    ) {
        let fits = |one: &&str, other: &&str| one.chars().all(|letter| other.contains(letter));
        assert_eq!(have_counterparts(wanted, given, fits), expected);
    }
}
