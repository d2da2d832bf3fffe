//! Whether two JSON scalars are the same value to the API server.
//!
//! Values come as JSON text. Equal texts are equal at no cost. Others are parsed by the type in the
//! schema, and an invalid text equals only itself.

use std::borrow::Cow;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};

use super::quantity;
use super::schema::Node;

/// Whether the JSON scalars `a` and `b` are the same value at a place of type `node`.
///
/// Both are the text of one JSON value, without surrounding space. A string is never a number ("as
/// written", the rule of int-or-string), except where the schema says quantity.
pub fn same_scalar(node: &Node, a: &str, b: &str) -> bool {
    if a == b {
        return true;
    }
    match node {
        Node::Quantity => same_quantity(a, b).unwrap_or_else(|| same_json(a, b)),
        Node::Bytes => same_bytes(a, b).unwrap_or_else(|| same_json(a, b)),
        _ => same_json(a, b),
    }
}

fn same_json(a: &str, b: &str) -> bool {
    match (is_string(a), is_string(b)) {
        (true, true) => same_string(a, b),
        (false, false) => same_number(a, b),
        _ => false,
    }
}

fn is_string(json: &str) -> bool {
    json.starts_with('"')
}

/// Go's encoder escapes `<`, `>`, `&` and the two Unicode line separators; other encoders do not.
fn same_string(a: &str, b: &str) -> bool {
    if !a.contains('\\') && !b.contains('\\') {
        return false;
    }
    matches!((unquote(a), unquote(b)), (Some(a), Some(b)) if a == b)
}

/// The content of a JSON string, borrowed if it has no escapes.
fn unquote(json: &str) -> Option<Cow<'_, str>> {
    let inner = json.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        serde_json::from_str::<String>(json).ok().map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(inner))
    }
}

/// `Quantity.UnmarshalJSON` takes a string and a number alike.
fn same_quantity(a: &str, b: &str) -> Option<bool> {
    let text = |json| {
        if is_string(json) {
            unquote(json)
        } else {
            Some(Cow::Borrowed(json))
        }
    };
    quantity::equal(&text(a)?, &text(b)?)
}

/// As Go decodes `[]byte`: padding is required, and unused bits in the last character are ignored.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

fn same_bytes(a: &str, b: &str) -> Option<bool> {
    let decode = |json| {
        let mut text = unquote(json)?.into_owned().into_bytes();
        text.retain(|byte| !byte.is_ascii_whitespace());
        BASE64.decode(text).ok()
    };
    Some(decode(a)? == decode(b)?)
}

/// Whole numbers that an `int64` holds are exact, however they are written. All others are floats
/// to the API server (`sigs.k8s.io/json`), so two texts of the same float are equal.
fn same_number(a: &str, b: &str) -> bool {
    let (Some(x), Some(y)) = (Decimal::parse(a), Decimal::parse(b)) else {
        return false;
    };
    if x == y {
        return true;
    }
    if x.is_int64() && y.is_int64() {
        return false;
    }
    matches!(
        (a.parse::<f64>(), b.parse::<f64>()),
        (Ok(x), Ok(y)) if x.is_finite() && x.to_bits() == y.to_bits()
    )
}

/// A number in canonical form: digits without leading or trailing zeros, times a power of ten.
#[derive(PartialEq, Eq)]
struct Decimal {
    negative: bool,
    digits: String,
    exponent: i64,
}

impl Decimal {
    fn parse(json: &str) -> Option<Self> {
        let (negative, unsigned) = match json.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, json),
        };
        let (number, exponent) = match unsigned.split_once(['e', 'E']) {
            Some((number, exponent)) => (number, exponent.parse::<i64>().ok()?),
            None => (unsigned, 0),
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() || !(whole.bytes().chain(fraction.bytes())).all(|b| b.is_ascii_digit())
        {
            return None;
        }

        let all = format!("{whole}{fraction}");
        let digits = all.trim_end_matches('0');
        let zeros = i64::try_from(all.len() - digits.len()).ok()?;
        let places = i64::try_from(fraction.len()).ok()?;
        let digits = digits.trim_start_matches('0');
        if digits.is_empty() {
            return Some(Self {
                negative: false,
                digits: String::new(),
                exponent: 0,
            });
        }
        Some(Self {
            negative,
            digits: digits.to_owned(),
            exponent: exponent.checked_sub(places)?.checked_add(zeros)?,
        })
    }

    fn is_int64(&self) -> bool {
        let Ok(zeros) = u32::try_from(self.exponent) else {
            return false;
        };
        if self.digits.is_empty() {
            return true;
        }
        let Ok(digits) = self.digits.parse::<i64>() else {
            // The one number whose magnitude no positive `int64` has.
            return self.negative && zeros == 0 && self.digits == "9223372036854775808";
        };
        10i64
            .checked_pow(zeros)
            .and_then(|unit| digits.checked_mul(unit))
            .is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::same_scalar;
    use crate::compare::schema::Node;
    use rstest::rstest;

    #[rstest]
    #[case::angle_brackets(r#""a<b>&c""#, r#""a\u003cb\u003e\u0026c""#)]
    #[case::slash(r#""a/b""#, r#""a\/b""#)]
    #[case::upper_hex(r#""\u003c""#, r#""\u003C""#)]
    #[case::pair(r#""😀""#, r#""\ud83d\ude00""#)]
    #[case::newline(r#""a\nb""#, r#""a\u000ab""#)]
    #[case("1", "1.0")]
    #[case("1000", "1e3")]
    #[case("1000", "1E+3")]
    #[case("0.001", "1e-3")]
    #[case("0", "-0.0")]
    #[case("0", "0e99")]
    #[case("100", "1e2")]
    #[case("9007199254740992", "9007199254740992.25")]
    #[case("-9223372036854775809", "-9223372036854775811")]
    #[case("9223372036854775807", "9223372036854775807.0")]
    #[case::one_float("0.1", "0.1000000000000000055")]
    #[case::beyond_int64_is_a_float("12345678901234567890", "12345678901234567000")]
    #[case::beyond_int64_is_a_float("12345678901234567890", "1.2345678901234567e19")]
    #[case::beyond_int64_is_a_float("9223372036854775808", "9223372036854775809")]
    #[case::beyond_int64_is_a_float("-9223372036854775809", "-9223372036854775810")]
    #[case::beyond_int64_is_a_float("-9223372036854775809", "-9223372036854775811")]
    #[case::beyond_int64_is_a_float("-92233720368547758080", "-92233720368547758081")]
    #[case::exact_beyond_floats("1e400", "10e399")]
    fn are_one_value(#[case] a: &str, #[case] b: &str) {
        assert!(same_scalar(&Node::Plain, a, b), "{a} and {b}");
        assert!(same_scalar(&Node::Plain, b, a), "{b} and {a}");
    }

    #[rstest]
    #[case::as_written(r#""80""#, "80")]
    #[case(r#""true""#, "true")]
    #[case("true", "false")]
    #[case("true", "1")]
    #[case("null", "0")]
    #[case("null", "false")]
    #[case("null", r#""""#)]
    #[case(r#""a""#, r#""b""#)]
    #[case(r#""a\n""#, r#""a""#)]
    #[case::space_counts(r#""a ""#, r#""a""#)]
    #[case("1", "-1")]
    #[case("1", "1.1")]
    #[case("1", "10")]
    #[case("420", "644")]
    #[case::exact_within_int64("9007199254740993", "9007199254740992")]
    #[case::exact_within_int64("9223372036854775807", "9223372036854775806")]
    #[case::exact_within_int64("-9223372036854775808", "-9223372036854775807")]
    #[case::exact_within_int64("9007199254740993", "9007199254740992.0")]
    #[case::not_numbers("1e400", "2e400")]
    #[case::not_numbers(".5", "0.5")]
    #[case::not_quantities_here(r#""1000m""#, r#""1""#)]
    #[case::not_bytes_here(r#""YQ==\n""#, r#""YQ==""#)]
    fn are_two_values(#[case] a: &str, #[case] b: &str) {
        assert!(!same_scalar(&Node::Plain, a, b), "{a} and {b}");
        assert!(!same_scalar(&Node::Plain, b, a), "{b} and {a}");
    }

    #[rstest]
    #[case("1", r#""1""#, true)]
    #[case("0.5", r#""500m""#, true)]
    #[case("1e3", r#""1k""#, true)]
    #[case(r#""1Gi""#, r#""1024Mi""#, true)]
    #[case(r#"" 1""#, r#""1""#, true)]
    #[case(r#""1G""#, r#""1Gi""#, false)]
    #[case("null", r#""0""#, false)]
    #[case::neither_is_one(r#""a<""#, r#""a\u003c""#, true)]
    #[case::neither_is_one(r#""a""#, r#""b""#, false)]
    fn quantities_compare_by_amount(#[case] a: &str, #[case] b: &str, #[case] same: bool) {
        assert_eq!(same_scalar(&Node::Quantity, a, b), same, "{a} and {b}");
        assert_eq!(same_scalar(&Node::Quantity, b, a), same, "{b} and {a}");
    }

    #[rstest]
    #[case::line_break(r#""aGVs\nbG8=""#, r#""aGVsbG8=""#, true)]
    #[case::trailing(r#""aGVsbG8=\r\n""#, r#""aGVsbG8=""#, true)]
    #[case::left_over_bits(r#""QQ==""#, r#""QR==""#, true)]
    #[case(r#""""#, r#""\n""#, true)]
    #[case(r#""aGVsbG8=""#, r#""aGVsbG9=""#, true)]
    #[case(r#""aGVsbG8=""#, r#""aGVsbG8h""#, false)]
    #[case("null", r#""""#, false)]
    #[case::not_base64(r#""%%""#, r#""%%%""#, false)]
    #[case::no_padding(r#""QQ""#, r#""QQ==""#, false)]
    fn bytes_compare_by_bytes(#[case] a: &str, #[case] b: &str, #[case] same: bool) {
        assert_eq!(same_scalar(&Node::Bytes, a, b), same, "{a} and {b}");
        assert_eq!(same_scalar(&Node::Bytes, b, a), same, "{b} and {a}");
    }
}
