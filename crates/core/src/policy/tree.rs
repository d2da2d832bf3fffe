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
    query::{Query, Selected, Ways},
};
use crate::compare::{path::Step, positions::Lists};

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

    /// Who owns which of its fields.
    pub(super) fn owners(&self) -> &Owners {
        self.owners.get_or_init(|| Owners::of(self.value()))
    }

    /// Where it has what an expression selects.
    pub(super) fn selected(&self, query: &Query) -> Ways {
        let mut selected = self.selected.borrow_mut();
        selected.by(query, self.value())
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
