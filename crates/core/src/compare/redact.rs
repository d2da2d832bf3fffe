//! Shows values, and redacts those of Secrets.
//!
//! The value of a Secret leaves the process only as a short keyed hash: equal values still look
//! equal in a message, and without the key, it does not help to guess passwords.

use std::fmt;

use aws_lc_rs::hmac;
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;

use super::path::{FieldPath, Step};

/// The longest value that a message shows, in characters.
const SHOWN_CHARS: usize = 120;

/// The fields with the values of a Secret.
const SECRET_FIELDS: [&str; 2] = ["data", "stringData"];

/// `kubectl apply` stores a full copy of the applied object here, values included.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// A value as it may be shown to anyone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShownValue {
    /// There is no value.
    Absent,
    /// JSON text, cut where it is long, or a redaction mark.
    Text(String),
}

impl fmt::Display for ShownValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("nothing"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// The object whose values are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sensitivity {
    /// Anyone who may read the message may read its values.
    Open,
    /// The object is a Secret: its values are described, never shown.
    Secret,
}

impl Sensitivity {
    /// For an object of this kind.
    pub fn of(group: &str, kind: &str) -> Self {
        if group.is_empty() && kind == "Secret" {
            Self::Secret
        } else {
            Self::Open
        }
    }
}

/// Shows values, and hashes those that it must not show with its own key.
pub struct Redactor {
    key: hmac::Key,
    keeps_values: bool,
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Redactor")
    }
}

impl Redactor {
    /// Hashes with `key`: random for each process, so that hashes of different runs cannot be compared.
    pub fn new(key: &[u8]) -> Self {
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, key),
            keeps_values: false,
        }
    }

    /// The same, and whoever shows values may keep whole ones too, if they are not those of a Secret.
    #[must_use]
    pub fn keeping_values(self) -> Self {
        Self {
            keeps_values: true,
            ..self
        }
    }

    /// Whether the whole value at `path` may be kept.
    pub(crate) fn keeps(&self, sensitivity: Sensitivity, path: &FieldPath) -> bool {
        self.keeps_values && (sensitivity == Sensitivity::Open || !is_sensitive(path))
    }

    /// The value `json` at `path`, in a form that may be shown.
    pub fn show(
        &self,
        sensitivity: Sensitivity,
        path: &FieldPath,
        json: Option<&str>,
    ) -> ShownValue {
        let Some(json) = json.filter(|json| *json != "null") else {
            return ShownValue::Absent;
        };
        if sensitivity == Sensitivity::Secret && is_sensitive(path) {
            return ShownValue::Text(self.mark(json));
        }
        ShownValue::Text(cut(json))
    }

    /// Replaces every value of a Secret by its mark. Call it before deriving anything from the
    /// object, never afterwards (fluxcd/flux2#925 wrote its own mask back).
    pub fn mask_secret(&self, secret: &mut Value) {
        for field in SECRET_FIELDS {
            match secret.get_mut(field) {
                Some(Value::Object(values)) => {
                    for value in values.values_mut() {
                        *value = Value::String(self.mark(&value.to_string()));
                    }
                }
                Some(Value::Null) | None => {}
                Some(other) => *other = Value::String(self.mark(&other.to_string())),
            }
        }
        if let Some(copy) = secret
            .pointer_mut("/metadata/annotations")
            .and_then(|a| a.get_mut(LAST_APPLIED))
        {
            *copy = Value::String(self.mark(&copy.to_string()));
        }
    }

    /// The mark of a value. Valid base64 is decoded first, so that line breaks and `stringData`
    /// make no difference.
    fn mark(&self, json: &str) -> String {
        let text: Option<String> = serde_json::from_str(json).ok();
        let packed: Option<String> = text
            .as_deref()
            .map(|text| text.split_ascii_whitespace().collect());
        let bytes = packed
            .and_then(|packed| STANDARD.decode(packed).ok())
            .or_else(|| text.map(String::into_bytes))
            .unwrap_or_else(|| json.as_bytes().to_vec());
        let tag = hmac::sign(&self.key, &bytes);
        let hash = tag
            .as_ref()
            .iter()
            .take(4)
            .fold(0_u32, |hash, byte| hash << 8 | u32::from(*byte));
        format!("<redacted {hash:08x}>")
    }
}

fn is_sensitive(path: &FieldPath) -> bool {
    match path.steps() {
        [] => true,
        [Step::Field(first), ..] if SECRET_FIELDS.contains(&first.as_str()) => true,
        // The whole map, or this annotation in it.
        [Step::Field(metadata)] => metadata == "metadata",
        [Step::Field(metadata), Step::Field(map)] => metadata == "metadata" && map == "annotations",
        [
            Step::Field(metadata),
            Step::Field(map),
            Step::Field(key),
            ..,
        ] => metadata == "metadata" && map == "annotations" && key == LAST_APPLIED,
        _ => false,
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS) {
        None => text.to_owned(),
        Some((at, _)) => {
            let head = text.get(..at).unwrap_or_default();
            format!("{head}… ({} bytes)", text.len())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn shown(path: &[&str], text: &str) -> String {
        let redactor = Redactor::new(b"key");
        let path = FieldPath::of(path.iter().copied());
        redactor
            .show(Sensitivity::Secret, &path, Some(text))
            .to_string()
    }

    #[test]
    fn equal_secret_values_have_equal_marks_without_content() {
        let one = shown(&["data", "password"], r#""aHVudGVyMg==""#);
        assert_eq!(one, shown(&["data", "other"], r#""aHVud\nGVyMg==""#));
        assert_ne!(one, shown(&["data", "password"], r#""aHVudGVyMw==""#));
        assert!(one.starts_with("<redacted ") && !one.contains("hunter2"));
        assert_ne!(one, {
            let path = FieldPath::of(["data", "password"]);
            let other = Redactor::new(b"another key");
            other
                .show(Sensitivity::Secret, &path, Some(r#""aHVudGVyMg==""#))
                .to_string()
        });
    }

    #[test]
    fn whole_maps_of_a_secret_are_not_shown_either() {
        for path in [
            &["data"][..],
            &["stringData"],
            &[],
            &["metadata", "annotations"],
        ] {
            let text = shown(path, r#"{"password":"aHVudGVyMg=="}"#);
            assert!(!text.contains("aHVu"), "{path:?}: {text}");
        }
        assert_eq!(shown(&["type"], r#""Opaque""#), r#""Opaque""#);
    }

    #[test]
    fn a_masked_secret_holds_no_value_in_any_place() {
        let mut secret = json!({
            "data": {"a": "aHVudGVyMg==", "b": null},
            "stringData": {"c": "hunter2"},
            "metadata": {"annotations": {LAST_APPLIED: "{\"stringData\":{\"c\":\"hunter2\"}}", "x": "y"}},
        });
        Redactor::new(b"key").mask_secret(&mut secret);
        let text = secret.to_string();
        assert!(
            !text.contains("hunter2") && !text.contains("aHVudGVyMg"),
            "{text}"
        );
        assert_eq!(secret.pointer("/metadata/annotations/x"), Some(&json!("y")));
    }

    #[test]
    fn long_values_are_cut_at_a_character() {
        let text = format!("\"{}\"", "ä".repeat(300));
        let ShownValue::Text(cut) =
            Redactor::new(b"k").show(Sensitivity::Open, &FieldPath::root(), Some(&text))
        else {
            panic!("a value is shown");
        };
        assert!(
            cut.chars().count() < 150 && cut.contains("602 bytes"),
            "{cut}"
        );
    }

    /// HMAC-SHA256 of `hunter2`, its first four bytes.
    #[test]
    fn a_mark_is_of_the_decoded_value() {
        for (field, text) in [
            ("data", r#""aHVudGVyMg==""#),
            ("stringData", r#""hunter2""#),
        ] {
            assert_eq!(shown(&[field, "password"], text), "<redacted 05d210d8>");
        }
    }

    #[test]
    fn only_fields_that_may_hold_a_value_are_hidden_in_a_secret() {
        let cases = [
            (&["metadata"][..], true),
            (&["metadata", "annotations", LAST_APPLIED], true),
            (&["metadata", "annotations", LAST_APPLIED, "x"], true),
            (&["data", "a", "b"], true),
            (&["metadata", "annotations", "x"], false),
            (&["metadata", "labels"], false),
            (&["metadata", "labels", LAST_APPLIED], false),
            (&["spec", "annotations"], false),
            (&["spec", "annotations", LAST_APPLIED], false),
            (&["immutable"], false),
        ];
        for (path, hidden) in cases {
            let text = shown(path, "\"v\"");
            assert_eq!(text.starts_with("<redacted "), hidden, "{path:?}");
        }
        let (redactor, path) = (Redactor::new(b"key"), FieldPath::of(["data", "a"]));
        let open = redactor.show(Sensitivity::Open, &path, Some("1"));
        assert_eq!(open, ShownValue::Text("1".to_owned()));
    }

    #[test]
    fn only_the_core_secret_is_one() {
        assert_eq!(Sensitivity::of("", "Secret"), Sensitivity::Secret);
        assert_eq!(Sensitivity::of("example.com", "Secret"), Sensitivity::Open);
        assert_eq!(Sensitivity::of("", "ConfigMap"), Sensitivity::Open);
    }

    #[test]
    fn whole_values_are_kept_only_where_asked_for_and_never_of_a_secret() {
        let keeps = |redactor: &Redactor, sensitivity, path: &[&str]| {
            redactor.keeps(sensitivity, &FieldPath::of(path.iter().copied()))
        };
        let plain = Redactor::new(b"key");
        assert!(!keeps(&plain, Sensitivity::Open, &["data", "a"]));
        let keeping = plain.keeping_values();
        assert!(keeps(&keeping, Sensitivity::Open, &["data", "a"]));
        assert!(keeps(&keeping, Sensitivity::Secret, &["type"]));
        for path in [&["data", "a"][..], &["data"], &["metadata"], &[]] {
            assert!(!keeps(&keeping, Sensitivity::Secret, path), "{path:?}");
        }
    }

    #[test]
    fn an_absent_value_is_shown_as_absent() {
        let redactor = Redactor::new(b"key");
        for value in [None, Some("null")] {
            let shown = redactor.show(Sensitivity::Secret, &FieldPath::root(), value);
            assert_eq!(shown, ShownValue::Absent);
            assert_eq!(shown.to_string(), "nothing");
        }
        assert_eq!(format!("{redactor:?}"), "Redactor", "the key is not shown");
    }

    #[test]
    fn a_mask_leaves_no_value_of_any_form_and_makes_none() {
        let mut secret = json!({"data": "hunter2", "stringData": null, "type": "Opaque"});
        Redactor::new(b"key").mask_secret(&mut secret);
        let expected = json!({"data": "<redacted 05d210d8>", "stringData": null, "type": "Opaque"});
        assert_eq!(secret, expected);
    }

    #[test]
    fn a_value_of_the_longest_length_is_shown_whole() {
        let redactor = Redactor::new(b"key");
        let show = |length: usize| {
            let text = "1".repeat(length);
            let shown = redactor.show(Sensitivity::Open, &FieldPath::root(), Some(&text));
            shown.to_string() == text
        };
        assert!(show(SHOWN_CHARS));
        assert!(!show(SHOWN_CHARS + 1));
    }
}
