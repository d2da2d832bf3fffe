//! YAML as Helm reads it: YAML 1.1, by the rules of Go's `sigs.k8s.io/yaml`.
//!
//! `serde-saphyr` resolves the scalars (`yes`, `0644`, `1_000`, `.inf`); what it leaves is done
//! here: keys of any scalar type become strings, the last of two equal keys wins, `<<` merges in
//! the order in which Go merges, and whole floats become integers, as Go's JSON prints them.
//! `tests/yaml-golden` proves the result against Go, and lists where it differs.
//!
//! Invariants
//! - Aliases can not multiply a document beyond the manifest's [`Allowance`].
//! - An error carries a place and a kind, and no text of the document.

use std::{borrow::Cow, cell::Cell, fmt, ops::Range};

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_saphyr::{
    Options, budget, options,
    options::{DuplicateKeyPolicy, MergeKeyPolicy, NonFiniteFloatPolicy},
};

/// Levels of nesting; a debug build's stack of 2 MiB takes no more.
const MAX_DEPTH: usize = 64;

/// Bytes that all documents of one manifest may expand to, each value costing its text and
/// [`VALUE_COST`]: as much as a record may inflate to without aliases.
const EXPANDED_BYTES: usize = 64 << 20;

/// What a value takes beside its text, in bytes; keeps ten million empty lists from being free.
const VALUE_COST: usize = 16;

/// Numbers too big for a float that one document may hold; each costs another reading of it.
const MAX_OVERFLOWS: usize = 16;

/// What is wrong with a document's YAML.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Fault {
    /// Not YAML, or a tag that does not fit its value.
    #[error("it is not YAML that Helm can read")]
    Syntax,
    /// A key that JSON can not have: null, a list or an object.
    #[error("a key is null, a list or an object")]
    Key,
    /// `<<` on something that is neither an object nor a list of objects.
    #[error("a merge key has neither an object nor a list of objects as its value")]
    Merge,
    /// `.inf` or `.nan`: JSON has none.
    #[error("a number is infinite or not a number")]
    NotFinite,
    /// Nested deeper than [`MAX_DEPTH`], or expanding beyond what is left of [`EXPANDED_BYTES`].
    #[error("it is nested too deep or expands to too much")]
    TooMuch,
}

/// Why a document can not be read as YAML.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{fault} (line {line} of the document)")]
pub struct YamlError {
    /// What is wrong.
    pub fault: Fault,
    /// Where, counted from 1 within the document; 0 when unknown.
    pub line: u64,
}

/// What is left of the bytes that the documents of one manifest may expand to.
#[derive(Debug)]
pub struct Allowance {
    bytes: Cell<usize>,
}

impl Default for Allowance {
    fn default() -> Self {
        Self {
            bytes: Cell::new(EXPANDED_BYTES),
        }
    }
}

impl Allowance {
    /// False when nothing is left.
    fn spend(&self, text: usize) -> bool {
        let cost = text.saturating_add(VALUE_COST);
        let left = self.bytes.get().checked_sub(cost);
        self.bytes.set(left.unwrap_or(0));
        left.is_some()
    }
}

/// Reads one document; blank and comment-only text is null.
pub fn read(document: &str, allowance: &Allowance) -> Result<Value, YamlError> {
    let mut text = Cow::Borrowed(document);
    let mut overflows = 0;
    loop {
        let reading = Reading {
            allowance,
            fault: Cell::new(None),
        };
        let outcome =
            serde_saphyr::with_deserializer_from_str_with_options(&text, dialect(), |yaml| {
                Node(&reading).deserialize(yaml)
            });
        let error = match outcome {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        match overflow(&error, &text) {
            Some(scalar) if overflows < MAX_OVERFLOWS => {
                text = Cow::Owned(quoted(&text, &scalar));
                overflows += 1;
            }
            _ => {
                return Err(YamlError {
                    fault: reading.fault.get().unwrap_or_else(|| fault(&error)),
                    line: error.location().map_or(0, |location| location.line()),
                });
            }
        }
    }
}

/// Where in `text` a plain number stands that is too big for a float. Go reads it as a string,
/// and there are such: one in forty short commit hashes looks like `7e12345`.
fn overflow(error: &serde_saphyr::Error, text: &str) -> Option<Range<usize>> {
    let serde_saphyr::Error::NonFiniteFloat { value, location } = error.without_snippet() else {
        return None;
    };
    let start = usize::try_from(location.span().byte_offset()?).ok()?;
    let scalar = start..start.checked_add(value.len())?;
    let is_number = value
        .trim_start_matches(['+', '-'])
        .starts_with(|c: char| c.is_ascii_digit());
    (is_number && text.get(scalar.clone()) == Some(value)).then_some(scalar)
}

fn quoted(text: &str, scalar: &Range<usize>) -> String {
    let mut quoted = text.to_owned();
    quoted.insert(scalar.end, '"');
    quoted.insert(scalar.start, '"');
    quoted
}

/// The node and event budgets give way to [`Allowance`], which counts what is made of them.
fn dialect() -> Options {
    options! {
        budget: budget! {
            max_depth: MAX_DEPTH,
            max_nodes: usize::MAX,
            max_events: usize::MAX,
            enforce_alias_anchor_ratio: false, // Go has no such rule
        },
        emit_comments: false, // more than 32 in a row would be an error
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        merge_keys: MergeKeyPolicy::AsOrdinary,
        legacy_octal_numbers: true,
        non_finite_float_policy: NonFiniteFloatPolicy::Reject,
        with_snippet: false,
    }
}

fn fault(error: &serde_saphyr::Error) -> Fault {
    match error.without_snippet() {
        serde_saphyr::Error::NonFiniteFloat { .. } => Fault::NotFinite,
        serde_saphyr::Error::Budget { .. }
        | serde_saphyr::Error::AliasReplayLimitExceeded { .. }
        | serde_saphyr::Error::AliasExpansionLimitExceeded { .. }
        | serde_saphyr::Error::AliasReplayStackDepthExceeded { .. } => Fault::TooMuch,
        _ => Fault::Syntax,
    }
}

/// One call of [`read`].
struct Reading<'a> {
    allowance: &'a Allowance,
    /// What this module found wrong, which the error type of the parser can not carry.
    fault: Cell<Option<Fault>>,
}

impl Reading<'_> {
    fn spend<E: de::Error>(&self, text: usize) -> Result<(), E> {
        if self.allowance.spend(text) {
            Ok(())
        } else {
            Err(self.reject(Fault::TooMuch))
        }
    }

    fn reject<E: de::Error>(&self, fault: Fault) -> E {
        self.fault.set(Some(fault));
        E::custom(fault)
    }
}

/// A value, read as JSON.
struct Node<'r, 'a>(&'r Reading<'a>);

impl<'de> DeserializeSeed<'de> for Node<'_, '_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, yaml: D) -> Result<Value, D::Error> {
        yaml.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_, '_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
        self.0.spend(0)?;
        Ok(value.into())
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value, E> {
        self.0.spend(0)?;
        Ok(value.into())
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        self.0.spend(0)?;
        Ok(value.into())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        self.0.spend(0)?;
        number(value)
            .map(Value::Number)
            .ok_or_else(|| self.0.reject(Fault::NotFinite))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Value, E> {
        self.0.spend(value.len())?;
        Ok(value.into())
    }

    fn visit_string<E: de::Error>(self, value: String) -> Result<Value, E> {
        self.0.spend(value.len())?;
        Ok(value.into())
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        self.0.spend(0)?;
        Ok(Value::Null)
    }

    fn visit_none<E: de::Error>(self) -> Result<Value, E> {
        self.visit_unit()
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        self.0.spend(0)?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(Node(self.0))? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        self.0.spend(0)?;
        let mut map = Map::new();
        while let Some(key) = entries.next_key_seed(Key(self.0))? {
            let value = entries.next_value_seed(Node(self.0))?;
            if key == "<<" {
                merge(value, &mut map).map_err(|fault| self.0.reject(fault))?;
            } else {
                map.insert(key, value);
            }
        }
        Ok(Value::Object(map))
    }
}

/// A key, read as a string.
struct Key<'r, 'a>(&'r Reading<'a>);

impl<'de> DeserializeSeed<'de> for Key<'_, '_> {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, yaml: D) -> Result<String, D::Error> {
        yaml.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Key<'_, '_> {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_bool<E: de::Error>(self, key: bool) -> Result<String, E> {
        self.visit_string(key.to_string())
    }

    fn visit_i64<E: de::Error>(self, key: i64) -> Result<String, E> {
        self.visit_string(key.to_string())
    }

    fn visit_u64<E: de::Error>(self, key: u64) -> Result<String, E> {
        self.visit_string(key.to_string())
    }

    fn visit_f64<E: de::Error>(self, key: f64) -> Result<String, E> {
        self.visit_string(float_key(key))
    }

    fn visit_str<E: de::Error>(self, key: &str) -> Result<String, E> {
        self.visit_string(key.to_owned())
    }

    fn visit_string<E: de::Error>(self, key: String) -> Result<String, E> {
        self.0.spend(key.len())?;
        Ok(key)
    }

    fn visit_unit<E: de::Error>(self) -> Result<String, E> {
        Err(self.0.reject(Fault::Key))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<String, A::Error> {
        Err(self.0.reject(Fault::Key))
    }

    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<String, A::Error> {
        Err(self.0.reject(Fault::Key))
    }
}

/// Merges where the key stands, over what is there already, and of several objects the first one
/// last, so that it wins (go-yaml v2, `decoder.merge`).
fn merge(value: Value, into: &mut Map<String, Value>) -> Result<(), Fault> {
    match value {
        Value::Object(map) => {
            into.extend(map);
            Ok(())
        }
        Value::Array(list) => list.into_iter().rev().try_for_each(|item| match item {
            Value::Object(map) => {
                into.extend(map);
                Ok(())
            }
            _ => Err(Fault::Merge),
        }),
        _ => Err(Fault::Merge),
    }
}

/// A float as Go's JSON prints it and the API server reads it again: whole floats are integers
/// where they fit in 64 bits. `None` for what is not finite.
pub fn number(value: f64) -> Option<Number> {
    // Both bounds are exact as floats; what lies between them converts without loss.
    const TWO_TO_63: f64 = 9_223_372_036_854_775_808.0;
    if value.fract() == 0.0 && (-TWO_TO_63..TWO_TO_63).contains(&value) {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "whole, and inside the range of i64"
        )]
        return Some((value as i64).into());
    }
    Number::from_f64(value)
}

/// A float key as sigs.k8s.io/yaml prints it: in single precision, by Go's `%g`.
fn float_key(key: f64) -> String {
    #[expect(clippy::cast_possible_truncation, reason = "Go rounds it so")]
    let key = key as f32;
    let scientific = format!("{key:e}");
    let Some((mantissa, exponent)) = scientific.split_once('e') else {
        return scientific;
    };
    match exponent.parse::<i32>() {
        Ok(exponent) if !(-4..6).contains(&exponent) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{mantissa}e{sign}{:02}", exponent.unsigned_abs())
        }
        _ => key.to_string(),
    }
}

#[cfg(test)]
mod tests;
