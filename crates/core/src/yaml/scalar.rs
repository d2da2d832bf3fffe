//! The meaning of a scalar: `resolve` of go-yaml v2, and how `sigs.k8s.io/yaml` prints the result
//! as JSON and as an object's key.

use std::borrow::Cow;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Number, Value};

use super::Fault;

/// A scalar with the type that Go gives it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Scalar {
    Null,
    Bool(bool),
    Int(i64),
    /// An unsigned 64-bit integer.
    Uint(u64),
    Float(f64),
    Text(String),
}

/// The tags with an effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tag {
    Str,
    Bool,
    Int,
    Float,
    Null,
    Timestamp,
    Binary,
    Merge,
    /// Any other tag, including `!`: the scalar is text.
    Other,
}

impl Tag {
    pub(super) fn of(tag: &granit_parser::Tag) -> Self {
        match tag.suffix_in_namespace("tag:yaml.org,2002:").as_deref() {
            Some("str") => Self::Str,
            Some("bool") => Self::Bool,
            Some("int") => Self::Int,
            Some("float") => Self::Float,
            Some("null") => Self::Null,
            Some("timestamp") => Self::Timestamp,
            Some("binary") => Self::Binary,
            Some("merge") => Self::Merge,
            _ => Self::Other,
        }
    }
}

/// The meaning of a scalar; a `plain` one has no quotes and is not a block.
pub(super) fn resolve(text: Cow<'_, str>, plain: bool, tag: Option<Tag>) -> Result<Scalar, Fault> {
    let scalar = match tag {
        None if plain => untagged(&text),
        None | Some(Tag::Str | Tag::Merge | Tag::Other) => None,
        Some(Tag::Binary) => return binary(&text).map(Scalar::Text),
        Some(_) => untagged(&text),
    };
    let scalar = scalar.unwrap_or_else(|| Scalar::Text(text.into_owned()));
    match (tag, scalar) {
        (Some(Tag::Bool), scalar @ Scalar::Bool(_))
        | (Some(Tag::Int), scalar @ (Scalar::Int(_) | Scalar::Uint(_)))
        | (Some(Tag::Float), scalar @ Scalar::Float(_))
        | (Some(Tag::Null), scalar @ Scalar::Null)
        | (Some(Tag::Timestamp), scalar @ Scalar::Text(_)) => Ok(scalar),
        #[expect(clippy::cast_precision_loss, reason = "what the tag asks for")]
        (Some(Tag::Float), Scalar::Int(int)) => Ok(Scalar::Float(int as f64)),
        (Some(Tag::Bool | Tag::Int | Tag::Float | Tag::Null | Tag::Timestamp), _) => {
            Err(Fault::Tag)
        }
        (_, scalar) => Ok(scalar),
    }
}

/// The meaning of an unquoted word, if it is not text. Dates are text.
fn untagged(text: &str) -> Option<Scalar> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Some(Scalar::Null),
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            Some(Scalar::Bool(true))
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            Some(Scalar::Bool(false))
        }
        ".nan" | ".NaN" | ".NAN" => Some(Scalar::Float(f64::NAN)),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => {
            Some(Scalar::Float(f64::INFINITY))
        }
        "-.inf" | "-.Inf" | "-.INF" => Some(Scalar::Float(f64::NEG_INFINITY)),
        _ => match text.as_bytes().first()? {
            b'.' => float(text),
            b'0'..=b'9' | b'+' | b'-' => {
                let digits = without_underscores(text);
                integer(&digits).or_else(|| float(&digits))
            }
            _ => None,
        },
    }
}

fn without_underscores(text: &str) -> Cow<'_, str> {
    if text.contains('_') {
        text.replace('_', "").into()
    } else {
        text.into()
    }
}

/// `strconv.ParseInt` with base 0, then `ParseUint`: a leading zero means octal, and only an
/// unsigned number may take 64 bits.
fn integer(text: &str) -> Option<Scalar> {
    let (sign, unsigned) = match text.as_bytes().first()? {
        b'-' => ("-", text.get(1..)?),
        b'+' => ("+", text.get(1..)?),
        _ => ("", text),
    };
    let (radix, digits) = match unsigned.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, unsigned.get(2..)?),
        [b'0', b'o' | b'O', ..] => (8, unsigned.get(2..)?),
        [b'0', b'b' | b'B', ..] => (2, unsigned.get(2..)?),
        [b'0', _, ..] => (8, unsigned.get(1..)?),
        _ => (10, unsigned),
    };
    if !digits.starts_with(|c: char| c.is_digit(radix)) {
        return None; // Rust would take a second sign here
    }
    let magnitude = u64::from_str_radix(digits, radix).ok()?;
    let int = match sign {
        "-" => 0_i64.checked_sub_unsigned(magnitude),
        _ => i64::try_from(magnitude).ok(),
    };
    int.map(Scalar::Int)
        .or_else(|| sign.is_empty().then_some(Scalar::Uint(magnitude)))
}

/// A decimal float. One that is too big for 64 bits is text, as a commit hash like `7e12345` is.
fn float(text: &str) -> Option<Scalar> {
    let decimal = |byte| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-');
    if !text.bytes().all(decimal) {
        return None; // Rust would take words as well
    }
    let float: f64 = text.parse().ok()?;
    float.is_finite().then_some(Scalar::Float(float))
}

/// The decoded base64; Go's JSON replaces each byte that is not valid UTF-8.
fn binary(text: &str) -> Result<String, Fault> {
    let text: String = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
    let bytes = BASE64_STANDARD.decode(text).map_err(|_| Fault::Tag)?;
    let mut decoded = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        decoded.push_str(chunk.valid());
        decoded.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    Ok(decoded)
}

impl Scalar {
    /// `None` for a number that JSON does not have.
    pub(super) fn into_json(self) -> Option<Value> {
        Some(match self {
            Self::Null => Value::Null,
            Self::Bool(value) => value.into(),
            Self::Int(value) => value.into(),
            Self::Uint(value) => value.into(),
            Self::Float(value) => number(value)?.into(),
            Self::Text(text) => text.into(),
        })
    }

    /// `None` for values that `sigs.k8s.io/yaml` rejects as keys.
    pub(super) fn into_key(self) -> Option<String> {
        match self {
            Self::Null | Self::Uint(_) => None,
            Self::Bool(key) => Some(key.to_string()),
            Self::Int(key) => Some(key.to_string()),
            Self::Float(key) => Some(float_key(key)),
            Self::Text(key) => Some(key),
        }
    }
}

/// A float as Go's JSON prints it and the API server reads it again: integral floats become
/// integers if they fit in 64 bits. `None` if it is not finite.
pub fn number(value: f64) -> Option<Number> {
    // Both bounds are exact as floats; the values between them convert without loss.
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

/// A float as a key: in single precision, by Go's `%g`.
fn float_key(key: f64) -> String {
    #[expect(clippy::cast_possible_truncation, reason = "Go rounds it so")]
    let key = key as f32;
    if key.is_nan() {
        return ".nan".to_owned();
    }
    if key.is_infinite() {
        return if key > 0.0 { ".inf" } else { "-.inf" }.to_owned();
    }
    let scientific = format!("{key:e}");
    let exponent = scientific
        .split_once('e')
        .and_then(|(mantissa, exponent)| Some((mantissa, exponent.parse::<i32>().ok()?)));
    match exponent {
        Some((mantissa, exponent)) if !(-4..6).contains(&exponent) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{mantissa}e{sign}{:02}", exponent.unsigned_abs())
        }
        _ => key.to_string(),
    }
}
