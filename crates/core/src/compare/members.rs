//! Finds the members of a set by their values.

use std::{borrow::Cow, collections::HashMap};

use super::{json::Json, lazy::unquoted, rules::Rules};

/// The items of a list whose items are identified by value.
pub(crate) struct Members<'l, 'a> {
    items: &'l [Json<'a>],
    by_value: HashMap<Cow<'a, str>, Json<'a>>,
}

impl<'l, 'a> Members<'l, 'a> {
    /// The members of this list.
    pub(crate) fn of(items: &'l [Json<'a>]) -> Self {
        Self {
            items,
            by_value: items
                .iter()
                .map(|item| (unquoted(item.text()), *item))
                .collect(),
        }
    }

    /// The member equal to `one`: by its text, or, if its text may be spelled differently, the first
    /// for which `is_it` holds. Strings have only one spelling.
    pub(crate) fn find(
        &self,
        one: Json<'_>,
        rules: Rules<'_>,
        is_it: impl Fn(Json<'a>) -> bool,
    ) -> Option<Json<'a>> {
        let found = self.by_value.get(&*unquoted(one.text())).copied();
        if let Some(found) = found.filter(|found| found.first() == one.first() && is_it(*found)) {
            return Some(found);
        }
        let other_kind = |item: &&Json<'a>| {
            (one.first() != b'"' || item.first() != b'"') && rules.budget.step() && is_it(**item)
        };
        self.items.iter().find(other_kind).copied()
    }
}
