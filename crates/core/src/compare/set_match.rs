//! Matches the items of two lists whose order is irrelevant.
//!
//! Items with the same text are matched by a hash, then those that fit at the same position, and only
//! the rest is searched. An item may fit several, and a short declaration must not take the only match
//! of a longer one. So matched items are moved where that makes room (augmenting paths, breadth first;
//! no recursion, because the lists may have any length).

use std::collections::{HashMap, VecDeque};

/// A maximum matching: for each item of `wanted`, the position of its own item of `given`. Equal items
/// have the same `text`; `fits` returns `None` to end the search.
pub(crate) fn pair<'t, T>(
    wanted: &[T],
    given: &[T],
    text: impl Fn(&T) -> &'t str,
    fits: impl Fn(&T, &T) -> Option<bool>,
) -> Vec<Option<usize>> {
    let mut pairs = Pairs::of_equal_text(wanted, given, text);
    for (at, (one, other)) in wanted.iter().zip(given).enumerate() {
        if pairs.is_free(at) {
            match fits(one, other) {
                Some(true) => pairs.set(at, at),
                Some(false) => {}
                None => return pairs.slots,
            }
        }
    }
    for item in 0..wanted.len() {
        if pairs.slot(item).is_none() && pairs.place(item, (wanted, given), &fits).is_none() {
            break;
        }
    }
    pairs.slots
}

/// Whether every item of `wanted` fits an item of `given` of its own.
pub(crate) fn have_counterparts<'t, T>(
    wanted: &[T],
    given: &[T],
    text: impl Fn(&T) -> &'t str,
    fits: impl Fn(&T, &T) -> Option<bool>,
) -> bool {
    wanted.len() <= given.len() && pair(wanted, given, text, fits).iter().all(Option::is_some)
}

/// The matching so far.
struct Pairs {
    /// The slot of each wanted item.
    slots: Vec<Option<usize>>,
    /// The wanted item of each slot.
    owners: Vec<Option<usize>>,
}

impl Pairs {
    fn of_equal_text<'t, T>(wanted: &[T], given: &[T], text: impl Fn(&T) -> &'t str) -> Self {
        let mut pairs = Self {
            slots: vec![None; wanted.len()],
            owners: vec![None; given.len()],
        };
        let mut by_text: HashMap<&str, Vec<usize>> = HashMap::new();
        // Taken from the end.
        for (slot, other) in given.iter().enumerate().rev() {
            by_text.entry(text(other)).or_default().push(slot);
        }
        for (item, one) in wanted.iter().enumerate() {
            if let Some(slot) = by_text.get_mut(text(one)).and_then(Vec::pop) {
                pairs.set(item, slot);
            }
        }
        pairs
    }

    fn slot(&self, item: usize) -> Option<usize> {
        self.slots.get(item).copied().flatten()
    }

    fn owner(&self, slot: usize) -> Option<usize> {
        self.owners.get(slot).copied().flatten()
    }

    /// Neither the item nor the slot at this position is matched.
    fn is_free(&self, at: usize) -> bool {
        self.slot(at).is_none() && self.owner(at).is_none()
    }

    fn set(&mut self, item: usize, slot: usize) {
        if let (Some(own), Some(owner)) = (self.slots.get_mut(item), self.owners.get_mut(slot)) {
            *own = Some(slot);
            *owner = Some(item);
        }
    }

    /// Finds a slot for an item, and moves others if necessary. `None` ends the search.
    fn place<T>(
        &mut self,
        item: usize,
        (wanted, given): (&[T], &[T]),
        fits: impl Fn(&T, &T) -> Option<bool>,
    ) -> Option<()> {
        let mut reached_by: HashMap<usize, usize> = HashMap::new();
        let mut unreached: Vec<usize> = (0..given.len()).collect();
        let mut moving = VecDeque::from([item]);
        while let Some(mover) = moving.pop_front() {
            let (mut reached, mut rest) = (Vec::new(), Vec::with_capacity(unreached.len()));
            for slot in unreached {
                let pair = wanted.get(mover).zip(given.get(slot));
                if pair.is_some_and(|(one, other)| fits(one, other) == Some(true)) {
                    reached.push(slot);
                } else {
                    rest.push(slot);
                }
            }
            unreached = rest;
            for slot in reached {
                reached_by.insert(slot, mover);
                let Some(owner) = self.owner(slot) else {
                    self.move_along(slot, &reached_by);
                    return Some(());
                };
                moving.push_back(owner);
            }
            // The step counter reports it again at the next step.
            let (one, other) = wanted.get(mover).zip(given.first())?;
            fits(one, other)?;
        }
        Some(())
    }

    /// Walks from a free slot back to the searching item: each takes the slot that it reached.
    fn move_along(&mut self, mut slot: usize, reached_by: &HashMap<usize, usize>) {
        while let Some(mover) = reached_by.get(&slot).copied() {
            let left = self.slot(mover);
            self.set(mover, slot);
            match left {
                Some(left) => slot = left,
                None => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use rstest::rstest;

    use super::*;

    /// A wanted item fits any item that contains all of its letters.
    #[allow(clippy::unnecessary_wraps, reason = "a search may be told to end")]
    fn fits(one: &&str, other: &&str) -> Option<bool> {
        Some(one.chars().all(|letter| other.contains(letter)))
    }

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
    #[case::equal_text_is_moved_too(&["a", "ab"], &["a", "xa"], false)]
    #[case::equal_text_is_taken(&["a", "ab"], &["ab", "xy"], false)]
    #[case::equal_text_makes_room(&["ab", "b"], &["ab", "cb"], true)]
    fn every_item_is_matched_with_its_own(
        #[case] wanted: &[&str],
        #[case] given: &[&str],
        #[case] expected: bool,
    ) {
        assert_eq!(have_counterparts(wanted, given, |t| *t, fits), expected);
    }

    #[test]
    fn as_many_as_possible_are_paired() {
        let found = pair(&["ab", "x", "a"], &["ab", "ac"], |t| *t, fits);
        assert_eq!(found, [Some(0), None, Some(1)]);
    }

    #[test]
    fn items_that_fit_at_one_position_are_paired() {
        let found = pair(&["x", "a"], &["ab", "ac"], |t| *t, fits);
        assert_eq!(found, [None, Some(1)]);
    }

    #[test]
    fn reordered_items_are_matched_without_a_search() {
        let one: Vec<String> = (0..10_000).map(|n| format!("{n:05}")).collect();
        let one: Vec<&str> = one.iter().map(String::as_str).collect();
        let other: Vec<&str> = one.iter().rev().copied().collect();
        let asked = Cell::new(0_u64);
        let found = pair(
            &one,
            &other,
            |text| *text,
            |_, _| {
                asked.set(asked.get() + 1);
                Some(false)
            },
        );
        assert!(found.iter().all(Option::is_some));
        assert_eq!(asked.get(), 0);
    }

    #[test]
    fn a_search_ends_when_it_is_told_to() {
        let one: Vec<String> = (0..1_000).map(|n| format!("a{n}")).collect();
        let other: Vec<String> = (0..1_000).map(|n| format!("b{n}")).collect();
        let [one, other] = [&one, &other].map(|texts| texts.iter().map(String::as_str).collect());
        let (one, other): (Vec<&str>, Vec<&str>) = (one, other);
        let asked = Cell::new(0_u64);
        let found = pair(
            &one,
            &other,
            |text| *text,
            |_, _| {
                asked.set(asked.get() + 1);
                (asked.get() < 5_000).then_some(false)
            },
        );
        assert!(found.iter().all(Option::is_none));
        assert!(asked.get() < 10_000, "{}", asked.get());
    }
}
