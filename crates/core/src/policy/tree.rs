//! An object that is read when a rule asks for it, and then once for all rules.
//!
//! Rules are only asked about violations, so no harmless request pays for this. No `Debug`: it may be a
//! Secret.

mod deep;

use std::cell::{OnceCell, RefCell};

use serde_json::Value;

use super::{
    managers::Owners,
    pattern::Pattern,
    query::{self, Query, Selected},
};
use crate::compare::{
    lists::Lists,
    path::{FieldPath, Step},
};

/// An object, as JSON text and, once that is asked for, as a tree.
pub struct Tree<'a> {
    text: &'a str,
    value: OnceCell<Value>,
    lists: Lists,
    owners: OnceCell<Owners>,
    selected: RefCell<Selected>,
    patterns: OnceCell<Vec<Pattern>>,
}

impl<'a> Tree<'a> {
    /// The object that this text is; null where it is no JSON. What is nested deeper than a parser
    /// goes is one value, by its text.
    pub fn of(text: &'a str) -> Self {
        Self {
            text,
            value: OnceCell::new(),
            lists: Lists::default(),
            owners: OnceCell::new(),
            selected: RefCell::default(),
            patterns: OnceCell::new(),
        }
    }

    /// As a tree.
    pub fn value(&self) -> &Value {
        self.value
            .get_or_init(|| deep::parse(self.text).unwrap_or_default())
    }

    /// Where it has the item that `step` names, in the list that `parents` lead to.
    pub(super) fn position(&self, parents: &[Step], step: &Step) -> Option<usize> {
        let list = self.lists.select(self.value(), parents)?.as_array()?;
        self.lists.position(list, step)
    }

    /// Whether one of the field managers owns the path in it.
    pub fn is_owned_by(&self, managers: &[String], path: &FieldPath) -> bool {
        let owners = self.owners.get_or_init(|| Owners::of(self.value()));
        owners.include(managers, self.value(), path)
    }

    /// Whether an expression selects the path in it, or something above the path.
    pub fn selects(&self, query: &Query, path: &FieldPath) -> bool {
        let wanted = query::segments(path, |parents, step| self.position(parents, step));
        let selected = self.selected.borrow_mut().by(query, self.value());
        (0..=wanted.len()).any(|depth| {
            let above = wanted.get(..depth);
            above.is_some_and(|above| selected.contains(above))
        })
    }

    /// The paths that `read` finds in it, which is always the same function.
    pub(super) fn patterns(&self, read: impl FnOnce() -> Vec<Pattern>) -> &[Pattern] {
        self.patterns.get_or_init(read)
    }

    /// A label or an annotation.
    pub(super) fn metadata(&self, field: &str, name: &str) -> Option<&str> {
        self.value()
            .get("metadata")?
            .get(field)?
            .get(name)?
            .as_str()
    }
}
