//! An object that is parsed when a rule needs it, and then once for all rules.
//!
//! Rules are consulted only about violations, so no harmless request pays for this. No `Debug`: it may
//! be a Secret.

mod deep;

use std::cell::{OnceCell, RefCell};

use serde_json::Value;

use super::{
    managers::Owners,
    pattern::Pattern,
    query::{self, Query, Selected},
};
use crate::compare::{
    lookup::Lists,
    path::{FieldPath, Step},
};

/// An object as JSON text and, once needed, as a tree.
pub struct Tree<'a> {
    text: &'a str,
    value: OnceCell<Value>,
    lists: Lists,
    owners: OnceCell<Owners>,
    selected: RefCell<Selected>,
    patterns: OnceCell<Vec<Pattern>>,
}

impl<'a> Tree<'a> {
    /// The object with this text; null if it is not JSON. Values nested too deep for a parser are
    /// kept as text.
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

    /// The position of the item that `step` names in the list at `parents`.
    pub(super) fn position(&self, parents: &[Step], step: &Step) -> Option<usize> {
        let list = self.lists.select(self.value(), parents)?.as_array()?;
        self.lists.position(list, step)
    }

    /// Whether one of the field managers owns this path.
    pub(crate) fn is_owned_by(&self, managers: &[String], path: &FieldPath) -> bool {
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

    /// The paths that `read` finds in it; `read` must always be the same function.
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
