//! YAML as Helm reads it: YAML 1.1, by the rules of Go's `sigs.k8s.io/yaml` over `go-yaml` v2.
//!
//! `granit-parser` finds the nodes; their meaning is decided here, because no Rust library has Go's
//! rules: `yes` and `0644`, keys of any scalar type as strings, the last of two equal keys, `<<` in
//! Go's order of merging, integral floats as the integers that Go's JSON prints.
//! `tests/yaml-golden` checks the result against Go, and lists the differences.
//!
//! Invariants
//! - No recursion, and no alias expands a document beyond its [`Allowance`]: the cost of a value is
//!   deducted before the value is built.
//! - An error has a place and a kind, and no text of the document.
//!
//! Start at [`read`]; [`scalar`] has the rules for plain words, [`lines`] says where a node is.

use std::cell::Cell;

use serde_json::Value;

mod compose;
pub mod lines;
mod scalar;

pub use scalar::number;

/// The deepest nesting: less than the 128 levels at which JSON parsers stop, so that every declared
/// object can be parsed again. A CRD's schema has about 60.
const MAX_DEPTH: usize = 120;

/// The most bytes that all documents may expand to, where each value costs its text and
/// [`VALUE_COST`]: ten times the largest known records. Bounds the parsing time.
const EXPANDED_BYTES: usize = 128 << 20;

/// The same for one document of a manifest: bounds the memory, because only one tree exists at a
/// time. A dozen times the largest object that etcd accepts.
const DOCUMENT_BYTES: usize = 32 << 20;

/// The most bytes that aliases may add to one manifest. Without their own limit, a record of a few
/// kilobytes could take many mebibytes.
const ALIASED_BYTES: usize = 3 << 20;

/// The memory of a value in addition to its text, in bytes.
const VALUE_COST: usize = 48;

/// What is wrong with a document's YAML.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub(crate) enum Fault {
    /// Not YAML.
    #[error("it is not YAML that Helm can read")]
    Syntax,
    /// A tag that does not fit its value: `!!int five`.
    #[error("a tag does not fit its value")]
    Tag,
    /// A key that JSON cannot have: null, a list, an object, or an integer over 63 bits.
    #[error("a key is null, a list, an object or too big a number")]
    Key,
    /// `<<` on something that is neither an object nor a list of objects.
    #[error("a merge key has neither an object nor a list of objects as its value")]
    Merge,
    /// An alias to nothing, or to a value that contains it.
    #[error("an alias has no anchor before it")]
    Alias,
    /// `.inf` or `.nan`: JSON has none.
    #[error("a number is infinite or not a number")]
    NotFinite,
    /// Nested deeper than 120 levels, or expanding beyond what the [`Allowance`] has left.
    #[error("it is nested too deep or expands to too much")]
    TooMuch,
}

/// Why a document cannot be read as YAML.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{fault} (line {line} of the document)")]
pub struct YamlError {
    /// What is wrong.
    pub(crate) fault: Fault,
    /// Where, counted from 1 within the document.
    pub line: usize,
}

/// The remaining bytes that documents may expand to.
#[derive(Debug)]
pub struct Allowance {
    /// For all documents.
    all: Cell<usize>,
    /// For the current document.
    document: Cell<usize>,
    /// For aliases.
    aliases: Cell<usize>,
    each_document: usize,
}

impl Default for Allowance {
    /// For files that the user names.
    fn default() -> Self {
        Self::new(EXPANDED_BYTES, EXPANDED_BYTES)
    }
}

impl Allowance {
    /// For the manifest of a record, which anyone may have written.
    pub(crate) fn for_manifest() -> Self {
        Self::new(DOCUMENT_BYTES, ALIASED_BYTES)
    }

    fn new(each_document: usize, aliases: usize) -> Self {
        Self {
            all: Cell::new(EXPANDED_BYTES),
            document: Cell::new(each_document),
            aliases: Cell::new(aliases),
            each_document,
        }
    }

    /// Starts another document.
    fn begin(&self) {
        self.document.set(self.each_document);
    }

    /// Deducts the cost of one value with this many bytes of text.
    fn value(&self, text: usize) -> Result<(), Fault> {
        self.spend(text.saturating_add(VALUE_COST))
    }

    /// Deducts the cost of an alias' value.
    fn alias(&self, cost: usize) -> Result<(), Fault> {
        take(&self.aliases, cost)?;
        self.spend(cost)
    }

    fn spend(&self, cost: usize) -> Result<(), Fault> {
        take(&self.all, cost)?;
        take(&self.document, cost)
    }

    /// Of the document.
    fn left(&self) -> usize {
        self.document.get()
    }
}

fn take(from: &Cell<usize>, cost: usize) -> Result<(), Fault> {
    let left = from.get().checked_sub(cost).ok_or(Fault::TooMuch)?;
    from.set(left);
    Ok(())
}

/// Reads one document; blank and comment-only text is null. Text after the end of the document
/// (`...`) is ignored, as in Go.
pub fn read(document: &str, allowance: &Allowance) -> Result<Value, YamlError> {
    allowance.begin();
    compose::compose(document, allowance)
}

#[cfg(test)]
mod tests;
