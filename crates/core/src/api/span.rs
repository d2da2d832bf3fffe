//! Durations as people write them: `1h`, `90m`, `1h30m`.

use std::{borrow::Cow, fmt, str::FromStr};

use jiff::SignedDuration;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A positive duration in hours, minutes and seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(SignedDuration);

/// A text that is not a valid duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a valid duration (max 9999h), e.g. 30m, 1h or 1h30m")]
pub struct InvalidSpan(String);

/// What the schema of the custom resources accepts; [`FromStr`] accepts the same.
const PATTERN: &str = "^([0-9]{1,4}h)?([0-9]{1,4}m)?([0-9]{1,4}s)?$";

impl Span {
    /// A number of hours.
    pub const fn hours(hours: i64) -> Self {
        Self(SignedDuration::from_hours(hours))
    }

    /// A number of seconds.
    pub const fn seconds(seconds: i64) -> Self {
        Self(SignedDuration::from_secs(seconds))
    }

    /// For calculations with times.
    pub fn get(self) -> SignedDuration {
        self.0
    }
}

impl FromStr for Span {
    type Err = InvalidSpan;

    fn from_str(text: &str) -> Result<Self, InvalidSpan> {
        let invalid = || InvalidSpan(text.chars().take(40).collect());
        let (mut seconds, mut rest) = (0_i64, text);
        for (unit, factor) in [('h', 3600), ('m', 60), ('s', 1)] {
            let Some((digits, after)) = rest.split_once(unit) else {
                continue;
            };
            if digits.is_empty() || digits.len() > 4 || !digits.bytes().all(|b| b.is_ascii_digit())
            {
                return Err(invalid());
            }
            seconds += digits.parse::<i64>().map_err(|_| invalid())? * factor;
            rest = after;
        }
        if rest.is_empty() && seconds > 0 {
            Ok(Self::seconds(seconds))
        } else {
            Err(invalid())
        }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let parts = [
            (seconds / 3600, 'h'),
            (seconds / 60 % 60, 'm'),
            (seconds % 60, 's'),
        ];
        parts
            .iter()
            .filter(|(number, _)| *number > 0)
            .try_for_each(|(number, unit)| write!(f, "{number}{unit}"))
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Span {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Span".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "minLength": 2, "maxLength": 16, "pattern": PATTERN})
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("1h", 3600, "1h")]
    #[case("90m", 5400, "1h30m")]
    #[case("1h30m5s", 5405, "1h30m5s")]
    #[case("45s", 45, "45s")]
    fn a_duration_is_parsed(#[case] text: &str, #[case] seconds: i64, #[case] shown: &str) {
        let span: Span = text.parse().unwrap();
        assert_eq!(span, Span::seconds(seconds));
        assert_eq!(span.to_string(), shown);
        assert_eq!(shown.parse(), Ok(span));
    }

    #[rstest]
    #[case::nothing("")]
    #[case::no_unit("5")]
    #[case::no_time("0h")]
    #[case::negative("-1h")]
    #[case::wrong_order("5m1h")]
    #[case::blank("1h 5m")]
    #[case::fraction("1.5h")]
    #[case::days("1d")]
    #[case::endless("99999h")]
    fn anything_else_is_rejected(#[case] text: &str) {
        assert!(text.parse::<Span>().is_err(), "{text}");
    }
}
