//! Values that a controller read in one form and writes back in the canonical form of their Go type.
//!
//! An operator that reads its custom resource into a struct and writes it back turns a declared `90m`
//! into `1h30m0s` and `1000m` into `1`. A schema rarely says which strings are durations and quantities.
//! So a string counts as respelled only if it is exactly what Go prints for the declared one: `1.10` of
//! a version is never `1.1`, since the quantity 1.10 prints as `1100m`.

use std::borrow::Cow;

use super::quantity;

/// Longer texts are neither a duration nor a quantity.
const MAX_LEN: usize = 64;

/// Whether `new` is the canonical form of `declared`: both are texts of JSON scalars, and are not the
/// same.
pub(crate) fn is_respelled(declared: &str, new: &str) -> bool {
    let (Some(new), true) = (string(new), declared.len() <= MAX_LEN) else {
        return false;
    };
    let Some(text) = string(declared) else {
        // A quantity may be written as a number, and is always printed as a string.
        let is_number = declared.starts_with(|c: char| c == '-' || c.is_ascii_digit());
        return is_number && quantity::canonical(declared).is_some_and(|text| text == *new);
    };
    text != new
        && (duration::canonical(&text).is_some_and(|text| text == *new)
            || quantity::canonical(&text).is_some_and(|text| text == *new))
}

fn string(json: &str) -> Option<Cow<'_, str>> {
    let inner = json.strip_prefix('"')?.strip_suffix('"')?;
    // Neither contains a character that JSON escapes, except the micro sign.
    if inner.contains('\\') {
        serde_json::from_str::<String>(json).ok().map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(inner))
    }
}

/// `time.Duration` as Go parses and prints it.
mod duration {
    const SECOND: u64 = 1_000_000_000;

    /// `time.ParseDuration`, then `Duration.String`.
    pub(super) fn canonical(text: &str) -> Option<String> {
        let (is_negative, rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let nanoseconds = if rest == "0" { 0 } else { parse(rest)? };
        let sign = if is_negative && nanoseconds > 0 {
            "-"
        } else {
            ""
        };
        Some(format!("{sign}{}", print(nanoseconds)))
    }

    fn parse(mut text: &str) -> Option<u64> {
        let mut total: u64 = 0;
        if text.is_empty() {
            return None;
        }
        while !text.is_empty() {
            let end = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
            let (number, rest) = text.split_at_checked(end)?;
            let end = rest
                .find(|c: char| c.is_ascii_digit() || c == '.')
                .unwrap_or(rest.len());
            let (unit, rest) = rest.split_at_checked(end)?;
            total = total.checked_add(amount(number, nanoseconds(unit)?)?)?;
            text = rest;
        }
        i64::try_from(total).ok()?;
        Some(total)
    }

    fn nanoseconds(unit: &str) -> Option<u64> {
        Some(match unit {
            "ns" => 1,
            "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
            "ms" => 1_000_000,
            "s" => SECOND,
            "m" => 60 * SECOND,
            "h" => 3600 * SECOND,
            _ => return None,
        })
    }

    fn amount(number: &str, unit: u64) -> Option<u64> {
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let mut total = match whole {
            "" => 0,
            whole => whole.parse::<u64>().ok()?.checked_mul(unit)?,
        };
        let mut scale = u128::from(unit);
        let mut below: u128 = 0;
        let mut power: u128 = 1;
        for digit in fraction.chars().take(18) {
            below = below * 10 + u128::from(digit.to_digit(10)?);
            power *= 10;
        }
        scale = scale.checked_mul(below)? / power;
        total = total.checked_add(u64::try_from(scale).ok()?)?;
        Some(total)
    }

    fn print(nanoseconds: u64) -> String {
        match nanoseconds {
            1..1_000 => format!("{nanoseconds}ns"),
            1_000..1_000_000 => format!("{}\u{b5}s", decimal(nanoseconds, 1_000)),
            1_000_000..SECOND => format!("{}ms", decimal(nanoseconds, 1_000_000)),
            _ => {
                let minutes = nanoseconds / (60 * SECOND);
                let seconds = decimal(nanoseconds % (60 * SECOND), SECOND);
                match (minutes / 60, minutes % 60) {
                    (0, 0) => format!("{seconds}s"),
                    (0, minutes) => format!("{minutes}m{seconds}s"),
                    (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
                }
            }
        }
    }

    /// A number of units without trailing zeros.
    fn decimal(nanoseconds: u64, unit: u64) -> String {
        let (whole, fraction) = (nanoseconds / unit, nanoseconds % unit);
        if fraction == 0 {
            return whole.to_string();
        }
        let places = unit.ilog10() as usize;
        let fraction = format!("{fraction:0places$}");
        format!("{whole}.{}", fraction.trim_end_matches('0'))
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::minutes(r#""90m""#, r#""1h30m0s""#)]
    #[case::an_hour(r#""1h""#, r#""1h0m0s""#)]
    #[case::days_in_hours(r#""2160h""#, r#""2160h0m0s""#)]
    #[case::seconds(r#""90s""#, r#""1m30s""#)]
    #[case::fraction(r#""1.5h""#, r#""1h30m0s""#)]
    #[case::milliseconds(r#""1500ms""#, r#""1.5s""#)]
    #[case::microseconds(r#""1500us""#, "\"1.5ms\"")]
    #[case::micro_sign(r#""20us""#, "\"20\u{b5}s\"")]
    #[case::two_units(r#""1h30m""#, r#""1h30m0s""#)]
    #[case::two_decimals(r#""1.25h""#, r#""1h15m0s""#)]
    #[case::nanoseconds(r#""1500ns""#, "\"1.5\u{b5}s\"")]
    #[case::under_a_microsecond(r#""0.5us""#, r#""500ns""#)]
    #[case::nothing(r#""0""#, r#""0s""#)]
    #[case::minus_nothing(r#""-0""#, r#""0s""#)]
    #[case::minus(r#""-60s""#, r#""-1m0s""#)]
    #[case::half_a_core("0.5", r#""500m""#)]
    #[case::a_number_below_zero("-0.5", r#""-500m""#)]
    #[case::a_core("1", r#""1""#)]
    #[case::millis(r#""1000m""#, r#""1""#)]
    #[case::mebibytes(r#""1024Mi""#, r#""1Gi""#)]
    #[case::half_a_gibibyte(r#""0.5Gi""#, r#""512Mi""#)]
    #[case::bytes(r#""1500Mi""#, r#""1500Mi""#)]
    fn the_canonical_form_of_go_is_the_same_value(#[case] declared: &str, #[case] new: &str) {
        assert!(
            declared == new || is_respelled(declared, new),
            "{declared} {new}"
        );
        assert!(
            declared == new || !is_respelled(new, declared),
            "back is a change: {new} {declared}"
        );
    }

    #[rstest]
    #[case::a_version(r#""1.10""#, r#""1.1""#)]
    #[case::not_canonical(r#""90m""#, r#""1h30m""#)]
    #[case::not_canonical(r#""60m""#, r#""3600s""#)]
    #[case::another_value(r#""90m""#, r#""1h31m0s""#)]
    #[case::not_canonical(r#""1Gi""#, r#""1024Mi""#)]
    #[case::another_amount(r#""1000m""#, r#""2""#)]
    #[case::a_version(r#""v1.0""#, r#""v1""#)]
    #[case::text(r#""on""#, r#""true""#)]
    #[case::a_date(r#""2024-01-01""#, r#""2024-1-1""#)]
    #[case::no_string(r#""1""#, "1")]
    #[case::truth("true", r#""true""#)]
    #[case::nothing("null", r#""""#)]
    #[case::days(r#""1d""#, r#""24h0m0s""#)]
    #[case::empty(r#""""#, r#""0s""#)]
    #[case::no_unit(r#""5""#, r#""5s""#)]
    fn anything_else_is_a_change(#[case] declared: &str, #[case] new: &str) {
        assert!(!is_respelled(declared, new), "{declared} {new}");
    }
}
