//! An object that is read when a rule asks for it, and then once for all rules.
//!
//! Rules are only asked about violations, so no harmless request pays for this. No `Debug`: it may be a
//! Secret.

mod deep;

use std::cell::OnceCell;

use serde_json::Value;

use crate::compare::{path::Step, select};

/// An object, as JSON text and, once that is asked for, as a tree.
pub struct Tree<'a> {
    text: &'a str,
    value: OnceCell<Value>,
}

impl<'a> Tree<'a> {
    /// The object that this text is; null where it is no JSON. What is nested deeper than a parser
    /// goes is one value, by its text.
    pub fn of(text: &'a str) -> Self {
        Self {
            text,
            value: OnceCell::new(),
        }
    }

    /// As a tree.
    pub fn value(&self) -> &Value {
        self.value
            .get_or_init(|| deep::parse(self.text).unwrap_or_default())
    }

    /// Where it has the item that `step` names, in the list that `parents` lead to.
    pub(super) fn position(&self, parents: &[Step], step: &Step) -> Option<usize> {
        let list = select::select(self.value(), parents)?.as_array()?;
        select::position(list, step)
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
