//! Exact comparison of `resource.Quantity`: whether two spellings are the same amount.
//!
//! Follows `ParseQuantity` of `k8s.io/apimachinery/pkg/api/resource`: decimal suffixes, binary
//! suffixes or an exponent; amounts under a billionth round away from zero; binary amounts are
//! capped at the largest `int64`. No floats: an amount is an integer times a power of ten.

use std::cmp::Ordering;

/// Longer texts are not parsed: an API server prints nothing nearly as long.
const MAX_LEN: usize = 128;

/// `resource.Nano`: the smallest power of ten in a quantity.
const NANO: i32 = -9;

/// An amount in canonical form, so that equal amounts are equal values: `coefficient` has no factor
/// of ten, and zero is `(false, 0, 0)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Amount {
    negative: bool,
    coefficient: u128,
    exponent: i32,
}

/// Whether two quantities are the same amount. `None` if either is not a quantity, or has more
/// digits than any API object can hold.
///
/// The texts are those of a JSON string without its quotes, or of a JSON number.
pub fn equal(a: &str, b: &str) -> Option<bool> {
    Some(parse(a)? == parse(b)?)
}

/// The order of two quantities; `None` as in [`equal`].
pub fn order(a: &str, b: &str) -> Option<Ordering> {
    let (a, b) = (parse(a)?, parse(b)?);
    let sizes = |a: Amount, b: Amount| {
        // Too large to express in the other's unit, so it is the larger one.
        let scaled = |amount: Amount, to: i32| {
            let by = u32::try_from(amount.exponent - to).ok()?;
            amount.coefficient.checked_mul(10_u128.checked_pow(by)?)
        };
        let unit = a.exponent.min(b.exponent);
        match (scaled(a, unit), scaled(b, unit)) {
            (Some(a), Some(b)) => a.cmp(&b),
            (None, _) => Ordering::Greater,
            (_, None) => Ordering::Less,
        }
    };
    Some(match (a.negative, b.negative) {
        (false, true) => Ordering::Greater,
        (true, false) => Ordering::Less,
        (false, false) => sizes(a, b),
        (true, true) => sizes(b, a),
    })
}

/// What Go prints for a quantity that it reads from `text` (`Quantity.CanonicalizeBytes`); `None` as in
/// [`equal`], and for amounts beyond the largest suffix.
pub fn canonical(text: &str) -> Option<String> {
    let (amount, suffix) = parse_with_suffix(text)?;
    let sign = if amount.negative { "-" } else { "" };
    if amount.coefficient == 0 {
        return Some("0".to_owned());
    }
    if let Suffix::Two(_) = suffix
        && let Ok(power) = u32::try_from(amount.exponent)
        && let Some(mut whole) = amount.coefficient.checked_mul(10u128.checked_pow(power)?)
        && whole >= 1024
    {
        let mut units = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"].into_iter();
        let mut unit = units.next()?;
        while whole.is_multiple_of(1024) {
            whole /= 1024;
            unit = units.next()?;
        }
        return Some(format!("{sign}{whole}{unit}"));
    }
    // The exponent is a multiple of three.
    let below = amount.exponent.rem_euclid(3);
    let exponent = amount.exponent - below;
    let digits = amount
        .coefficient
        .checked_mul(10u128.checked_pow(below.unsigned_abs())?)?;
    let unit = match (exponent, suffix) {
        (0, _) => String::new(),
        (exponent, Suffix::Exponent(_)) => format!("e{exponent}"),
        (-9, _) => "n".to_owned(),
        (-6, _) => "u".to_owned(),
        (-3, _) => "m".to_owned(),
        (3, _) => "k".to_owned(),
        (6, _) => "M".to_owned(),
        (9, _) => "G".to_owned(),
        (12, _) => "T".to_owned(),
        (15, _) => "P".to_owned(),
        (18, _) => "E".to_owned(),
        _ => return None,
    };
    Some(format!("{sign}{digits}{unit}"))
}

fn parse(text: &str) -> Option<Amount> {
    parse_with_suffix(text).map(|(amount, _)| amount)
}

fn parse_with_suffix(text: &str) -> Option<(Amount, Suffix)> {
    // `Quantity.UnmarshalJSON` trims.
    let text = text.trim();
    if text.len() > MAX_LEN {
        return None;
    }
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let end = unsigned
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at_checked(end)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }

    let mut coefficient: u128 = 0;
    for c in whole.chars().chain(fraction.chars()) {
        coefficient = coefficient
            .checked_mul(10)?
            .checked_add(u128::from(c.to_digit(10)?))?;
    }
    let places = i32::try_from(fraction.len()).ok()?;
    let suffix = Suffix::parse(suffix)?;
    let (coefficient, exponent) = match suffix {
        Suffix::Ten(power) | Suffix::Exponent(power) => (coefficient, power.checked_sub(places)?),
        Suffix::Two(power) => (coefficient.checked_mul(1u128.checked_shl(power)?)?, -places),
    };
    let (coefficient, exponent) = round_up_to_nano(coefficient, exponent);
    let (coefficient, exponent) = match suffix {
        Suffix::Two(_) if exceeds_int64(coefficient, exponent) => (INT64_MAX, 0),
        _ => (coefficient, exponent),
    };
    Some((Amount::of(negative, coefficient, exponent), suffix))
}

impl Amount {
    fn of(negative: bool, mut coefficient: u128, mut exponent: i32) -> Self {
        if coefficient == 0 {
            return Self {
                negative: false,
                coefficient: 0,
                exponent: 0,
            };
        }
        while coefficient.is_multiple_of(10) {
            coefficient /= 10;
            exponent = exponent.saturating_add(1);
        }
        Self {
            negative,
            coefficient,
            exponent,
        }
    }
}

/// The multiplier of a suffix.
#[derive(Clone, Copy)]
enum Suffix {
    Ten(i32),
    /// The same in the notation `e3`.
    Exponent(i32),
    Two(u32),
}

impl Suffix {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "n" => Self::Ten(-9),
            "u" => Self::Ten(-6),
            "m" => Self::Ten(-3),
            "" => Self::Ten(0),
            "k" => Self::Ten(3),
            "M" => Self::Ten(6),
            "G" => Self::Ten(9),
            "T" => Self::Ten(12),
            "P" => Self::Ten(15),
            // `E` alone is exa; before digits it is an exponent.
            "E" => Self::Ten(18),
            "Ki" => Self::Two(10),
            "Mi" => Self::Two(20),
            "Gi" => Self::Two(30),
            "Ti" => Self::Two(40),
            "Pi" => Self::Two(50),
            "Ei" => Self::Two(60),
            _ => Self::Exponent(text.strip_prefix(['e', 'E'])?.parse().ok()?),
        })
    }
}

/// "If you want some resources, you should get some resources": a lost fraction rounds up.
fn round_up_to_nano(coefficient: u128, exponent: i32) -> (u128, i32) {
    if exponent >= NANO {
        return (coefficient, exponent);
    }
    let lost = NANO.saturating_sub(exponent).unsigned_abs();
    let rounded = match 10u128.checked_pow(lost) {
        Some(unit) => coefficient.div_ceil(unit),
        None => u128::from(coefficient != 0),
    };
    (rounded, NANO)
}

const INT64_MAX: u128 = i64::MAX as u128;

/// For binary amounts, whose exponent is from [`NANO`] to 0.
fn exceeds_int64(coefficient: u128, exponent: i32) -> bool {
    let unit = 10u128.checked_pow(exponent.unsigned_abs());
    unit.is_some_and(|unit| coefficient > INT64_MAX.saturating_mul(unit))
}

#[cfg(test)]
mod tests {
    use super::{Ordering, canonical, equal, order};
    use proptest::prelude::*;
    use rstest::rstest;

    #[rstest]
    #[case("0.5", "500m")]
    #[case("1", "1000m")]
    #[case("1", "1.0")]
    #[case("1.", "1")]
    #[case(".5", "0.5")]
    #[case("+1", "1")]
    #[case("-1", "-1000m")]
    #[case("0", "-0")]
    #[case("0", "0Gi")]
    #[case("00100m", "0.1")]
    #[case("1024Mi", "1Gi")]
    #[case("1Ki", "1024")]
    #[case("1.5Gi", "1536Mi")]
    #[case("0.5Ki", "512")]
    #[case("1.1Ki", "1126400m")]
    #[case("1000M", "1G")]
    #[case("1000k", "1M")]
    #[case("1e3", "1k")]
    #[case("1E3", "1000")]
    #[case("1e+3", "1k")]
    #[case("5e-1", "500m")]
    #[case("12E", "12e18")]
    #[case("12E", "12000P")]
    #[case("1n", "1e-9")]
    #[case("1000u", "1m")]
    #[case("0.1n", "1n")]
    #[case("1.1n", "2n")]
    #[case("1e-2147483648", "1n")]
    #[case("8Ei", "9223372036854775807")]
    #[case("9Ei", "1000Ei")]
    #[case("9999999999.5Gi", "1000Ei")]
    #[case("0", "0e-50")]
    #[case(" 1 ", "1")]
    fn are_one_amount(#[case] a: &str, #[case] b: &str) {
        assert_eq!(equal(a, b), Some(true), "{a} and {b}");
        assert_eq!(equal(b, a), Some(true), "{b} and {a}");
    }

    /// What `resource.MustParse(text).String()` prints.
    #[rstest]
    #[case("1", "1")]
    #[case("1.0", "1")]
    #[case("1.10", "1100m")]
    #[case("0.5", "500m")]
    #[case(".5", "500m")]
    #[case("1000m", "1")]
    #[case("1500m", "1500m")]
    #[case("1000", "1k")]
    #[case("1234", "1234")]
    #[case("100", "100")]
    #[case("10k", "10k")]
    #[case("1e3", "1e3")]
    #[case("1E4", "10e3")]
    #[case("12e0", "12")]
    #[case("0", "0")]
    #[case("0Gi", "0")]
    #[case("-0", "0")]
    #[case("-1500m", "-1500m")]
    #[case("1024Mi", "1Gi")]
    #[case("1536Mi", "1536Mi")]
    #[case("1.5Gi", "1536Mi")]
    #[case("0.5Gi", "512Mi")]
    #[case("1Ki", "1Ki")]
    #[case("0.5Ki", "512")]
    #[case("1.1Ki", "1126400m")]
    #[case("100n", "100n")]
    #[case("100u", "100u")]
    #[case("1M", "1M")]
    #[case("1G", "1G")]
    #[case("1T", "1T")]
    #[case("1P", "1P")]
    #[case("1E", "1E")]
    fn a_quantity_is_printed_in_one_form(#[case] text: &str, #[case] printed: &str) {
        assert_eq!(canonical(text).as_deref(), Some(printed), "{text}");
        assert_eq!(equal(text, printed), Some(true));
    }

    #[rstest]
    #[case("1", "1m")]
    #[case("1G", "1Gi")]
    #[case("1", "-1")]
    #[case("12E", "12e1")]
    #[case("12E", "12")]
    #[case("1M", "1m")]
    #[case("9223372036854775807", "9223372036854775806")]
    #[case("9007199254740993", "9007199254740992")]
    #[case("1e30", "1e31")]
    #[case("8Ei", "7Ei")]
    #[case("1000000000.000000001Gi", "9Ei")]
    #[case("0.1", "0.1000000001n")]
    fn are_two_amounts(#[case] a: &str, #[case] b: &str) {
        assert_eq!(equal(a, b), Some(false), "{a} and {b}");
    }

    #[rstest]
    #[case("")]
    #[case("Gi")]
    #[case(".")]
    #[case("-")]
    #[case("1.2.3")]
    #[case("1 Gi")]
    #[case("1K")]
    #[case("1gi")]
    #[case("1ki")]
    #[case("1e")]
    #[case("1e1.5")]
    #[case("1e3k")]
    #[case("--1")]
    #[case("1é")]
    #[case("9999999999999999999999999999999999999999")]
    #[case("1e99999999999")]
    fn is_not_a_quantity(#[case] text: &str) {
        assert_eq!(equal(text, "1"), None, "{text}");
    }

    #[test]
    fn a_text_of_any_length_is_rejected_at_once() {
        assert_eq!(equal(&"0".repeat(129), "0"), None);
        assert_eq!(equal(&"0".repeat(128), "0"), Some(true));
    }

    const DECIMAL: [(&str, &str); 10] = [
        ("n", "e-9"),
        ("u", "e-6"),
        ("m", "e-3"),
        ("", "e0"),
        ("k", "e3"),
        ("M", "e6"),
        ("G", "e9"),
        ("T", "e12"),
        ("P", "e15"),
        ("E", "e18"),
    ];

    proptest! {
        #[test]
        fn a_step_down_in_suffix_is_three_zeros(number in any::<i32>(), step in 1usize..10) {
            let (big, exponent) = DECIMAL[step];
            let (small, _) = DECIMAL[step - 1];
            prop_assert_eq!(equal(&format!("{number}{big}"), &format!("{number}000{small}")), Some(true));
            prop_assert_eq!(equal(&format!("{number}{big}"), &format!("{number}{exponent}")), Some(true));
        }

        #[test]
        fn a_step_down_in_binary_suffix_is_1024(number in 0i64..1 << 20, step in 1usize..5) {
            let suffixes = ["Ki", "Mi", "Gi", "Ti", "Pi"];
            let small = format!("{}{}", number * 1024, suffixes[step - 1]);
            prop_assert_eq!(equal(&format!("{number}{}", suffixes[step]), &small), Some(true));
        }

        #[test]
        fn neighboring_amounts_differ(number in any::<i64>(), step in 0usize..10) {
            let (suffix, _) = DECIMAL[step];
            let next = i128::from(number) + 1;
            prop_assert_eq!(equal(&format!("{number}{suffix}"), &format!("{next}{suffix}")), Some(false));
        }

        #[test]
        fn any_text_is_a_quantity_or_an_error(a in "[-+0-9.eEinumkKMGTP ]{0,24}", b in "\\PC{0,24}") {
            prop_assert_eq!(equal(&a, &b), equal(&b, &a));
            if let Some(same) = equal(&a, &a) {
                prop_assert!(same);
            }
        }
    }

    #[rstest]
    #[case("1Gi", "2Gi", Ordering::Less)]
    #[case("1Gi", "1G", Ordering::Greater)]
    #[case("1024Mi", "1Gi", Ordering::Equal)]
    #[case("0", "1n", Ordering::Less)]
    #[case("0", "1e40", Ordering::Less)]
    #[case("0", "-0", Ordering::Equal)]
    #[case("-1", "1", Ordering::Less)]
    #[case("-2", "-1", Ordering::Less)]
    #[case("1E", "1m", Ordering::Greater)]
    fn amounts_are_ordered(#[case] a: &str, #[case] b: &str, #[case] expected: Ordering) {
        assert_eq!(order(a, b), Some(expected));
        assert_eq!(order(b, a), Some(expected.reverse()));
    }
}
