//! When two values are equivalent to Kubernetes: an independent implementation, deliberately without the
//! guard's code.

use serde_json::Value;

/// Whether the live value matches the manifest: every declared field exists and is equivalent.
/// Additional live fields do not matter.
pub fn satisfies(declared: &Value, live: Option<&Value>) -> bool {
    let Some(live) = live else {
        return is_nothing(declared);
    };
    match (declared, live) {
        (Value::Null, _) => true,
        (Value::Object(declared), Value::Object(live)) => declared
            .iter()
            .all(|(name, declared)| satisfies(declared, live.get(name))),
        (Value::Array(declared), Value::Array(live)) => {
            declared.len() == live.len()
                && declared
                    .iter()
                    .zip(live)
                    .all(|(declared, live)| satisfies(declared, Some(live)))
        }
        _ => same_scalar(declared, live),
    }
}

/// Whether the API server may drop it.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(fields) => fields.values().all(is_nothing),
        Value::Array(items) => items.is_empty(),
        Value::String(text) => text.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Whether two scalars are equal, or are two spellings of one number or quantity.
pub fn same_scalar(a: &Value, b: &Value) -> bool {
    if a == b {
        return true;
    }
    match (number(a), number(b)) {
        (Some(a), Some(b)) => (a - b).abs() <= f64::EPSILON * a.abs().max(b.abs()),
        _ => false,
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => quantity(text),
        _ => None,
    }
}

/// The number of a Kubernetes quantity.
pub fn quantity(text: &str) -> Option<f64> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (digits, suffix) = text.split_at(digits);
    let factor = match suffix {
        "" => 1.0,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "Ki" => 1024.0,
        "Mi" => 1024.0 * 1024.0,
        "Gi" => 1024.0 * 1024.0 * 1024.0,
        "Ti" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    };
    Some(digits.parse::<f64>().ok()? * factor)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case::another_spelling(json!({"cpu": "1000m", "memory": "1024Mi"}), json!({"cpu": "1", "memory": "1Gi"}), true)]
    #[case::a_number_for_a_quantity(json!({"cpu": 1}), json!({"cpu": "1"}), true)]
    #[case::live_has_more(json!({"a": 1}), json!({"a": 1, "b": 2}), true)]
    #[case::nothing_declared(json!({"a": {}, "b": [], "c": null, "d": {"e": {}}}), json!({}), true)]
    #[case::live_has_less(json!({"a": 1, "b": 2}), json!({"a": 1}), false)]
    #[case::a_longer_list(json!([1]), json!([1, 2]), false)]
    #[case::another_value(json!({"a": "x"}), json!({"a": "y"}), false)]
    #[case::text_is_no_quantity(json!("1x"), json!("1"), false)]
    fn a_live_value_equals_the_declared_one_or_not(
        #[case] declared: Value,
        #[case] live: Value,
        #[case] expected: bool,
    ) {
        assert_eq!(satisfies(&declared, Some(&live)), expected);
    }
}
