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
        if let Some(found) = found.filter(|found| is_it(*found)) {
            return Some(found);
        }
        let other_kind = |item: &&Json<'a>| {
            (one.first() != b'"' || item.first() != b'"') && rules.budget.step() && is_it(**item)
        };
        self.items.iter().find(other_kind).copied()
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::compare::{budget::StepBudget, lazy::items_of, rules::EmptyListPolicy};

    #[rstest]
    #[case::its_text(r#"["a","b"]"#, r#""b""#, Some(r#""b""#))]
    #[case::another_spelling_of_a_number("[1,2]", "2.0", Some("2"))]
    #[case::a_string_of_a_number("[1,2]", r#""2""#, Some("2"))]
    #[case::a_number_of_a_string(r#"["1","2"]"#, "2.0", Some(r#""2""#))]
    #[case::no_such_number("[1,2]", "3", None)]
    #[case::strings_have_one_spelling(r#"["2"]"#, r#""2.0""#, None)]
    fn a_member_is_found_by_its_value(
        #[case] list: &str,
        #[case] one: &str,
        #[case] expected: Option<&str>,
    ) {
        let items = items_of(Json::of(list)).unwrap();
        let rules = Rules {
            empties: EmptyListPolicy::Dropped,
            budget: &StepBudget::default(),
        };
        let number = |json: Json<'_>| unquoted(json.text()).parse::<f64>().ok();
        let one = Json::of(one);
        let is_it = |other: Json<'_>| {
            other.text() == one.text() || number(other).is_some_and(|n| number(one) == Some(n))
        };
        let found = Members::of(&items).find(one, rules, is_it);
        assert_eq!(found.map(Json::text), expected);
    }
}
