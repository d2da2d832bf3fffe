//! Custom bodies: JSON with `{{name}}` in place of values.
//!
//! Outside a string, `{{name}}` becomes a JSON string with quotes; inside one, it becomes the escaped
//! text. So a value can never end its string, and the body is always JSON of the same shape.

use std::borrow::Cow;

use serde::de::IgnoredAny;
use serde_json::Value;

/// The longest template, in bytes.
const TEMPLATE_BYTES: usize = 64 * 1024;

/// The most values in one template: each may be 64 kB long.
const PLACEHOLDERS: usize = 64;

/// Defines an enum with names for parsing and printing.
macro_rules! names {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident => $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
        }

        impl $name {
            /// All of them, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// Its name in templates and documents.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }
    };
}

names! {
    /// The fields of every alert.
    AlertHeader {
        /// What happened: `BreakGlass`, `Overdue` and so on.
        Event => "event",
        /// `firing` or `resolved`.
        Status => "status",
        /// `critical`, `warning` or `info`.
        Severity => "severity",
        /// The key that related alerts share.
        Key => "key",
        /// A summary in one sentence.
        Summary => "summary",
        /// The time, RFC 3339.
        At => "at",
    }
}

names! {
    /// The optional fields of an alert, in display order.
    AlertDetail {
        /// The user, after impersonation.
        User => "user",
        /// The user's token; empty for an impersonated user.
        CredentialId => "credentialId",
        /// What was answered, if the alert is about a request.
        Verdict => "verdict",
        /// The grant that covered it.
        Grant => "grant",
        /// The grant's ticket.
        Ticket => "ticket",
        /// The grant's reason.
        Reason => "reason",
        /// The operation: `Update`, `Delete`, `Scale`.
        Operation => "operation",
        /// The object: `Deployment shop/web`.
        Object => "object",
        /// The namespace of the release that declares it.
        Namespace => "namespace",
        /// The name of that release.
        Release => "release",
        /// Its chart, `name-version`.
        Chart => "chart",
        /// The newest active revision of that release.
        Revision => "revision",
        /// The declared fields that changed, one per line.
        Fields => "fields",
        /// The change, RFC 6902.
        Patch => "patch",
        /// When it must be in the chart or reverted.
        ReconcileBy => "reconcileBy",
        /// The state of the change.
        State => "state",
        /// How many emergency changes the alert covers.
        Count => "count",
        /// The threshold of denials, or of emergency changes of one identity.
        Above => "above",
        /// The window of the threshold.
        Within => "within",
        /// `spec.runbookURL` of the policy.
        Runbook => "runbook",
    }
}

/// Former names of placeholders, which templates may keep, and the present ones.
const FORMER: [(&str, Placeholder); 1] = [("kind", Placeholder::Header(AlertHeader::Event))];

/// The meaning of a placeholder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placeholder {
    /// Always present.
    Header(AlertHeader),
    /// Empty if an alert does not have it.
    Detail(AlertDetail),
}

/// A checked template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    parts: Vec<TemplatePart>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum TemplatePart {
    Text(String),
    Value(Placeholder, TemplatePosition),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TemplatePosition {
    /// In place of a JSON value.
    Free,
    /// Between the quotes of a string.
    Quoted,
}

/// An invalid template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// Longer than it may be.
    #[error("it has more than {TEMPLATE_BYTES} bytes")]
    TooLong,
    /// More values than there may be.
    #[error("it has more than {PLACEHOLDERS} placeholders")]
    TooMany,
    /// An unterminated placeholder.
    #[error("a {{{{ has no }}}} after it")]
    Open,
    /// An unknown name.
    #[error("it has {{{{{word}}}}}, which is unknown; use one of {}", known())]
    Unknown {
        /// The name.
        word: String,
    },
    /// A backslash right before a placeholder would take the value's first character as an escape.
    #[error("it has a backslash before a placeholder")]
    Escaped,
    /// Not JSON, with whatever values.
    #[error(
        "it is not JSON, with strings in place of the placeholders: line {line} column {column}"
    )]
    NoJson {
        /// Of the rendered text.
        line: usize,
        /// Of the rendered text.
        column: usize,
    },
}

impl Template {
    /// Parses and validates a template.
    pub fn compile(text: &str) -> Result<Self, TemplateError> {
        if text.len() > TEMPLATE_BYTES {
            return Err(TemplateError::TooLong);
        }
        let mut parts = Vec::new();
        let (mut rest, mut quotes) = (text, Quotes::default());
        while let Some((before, after)) = rest.split_once("{{") {
            let (word, after) = after.split_once("}}").ok_or(TemplateError::Open)?;
            quotes.read(before);
            if quotes.escaped {
                return Err(TemplateError::Escaped);
            }
            parts.push(TemplatePart::Text(before.to_owned()));
            parts.push(TemplatePart::Value(
                Placeholder::read(word.trim())?,
                quotes.place(),
            ));
            rest = after;
        }
        parts.push(TemplatePart::Text(rest.to_owned()));
        if parts.len() > 2 * PLACEHOLDERS + 1 {
            return Err(TemplateError::TooMany);
        }
        let template = Self { parts };
        // Not a digit, so that `\u00{{key}}` and `1{{key}}` are rejected.
        let example = template.render(|_| Cow::Borrowed("text"));
        match serde_json::from_str::<IgnoredAny>(&example) {
            Ok(_) => Ok(template),
            Err(error) => Err(TemplateError::NoJson {
                line: error.line(),
                column: error.column(),
            }),
        }
    }

    /// The body, with the `value` of each name.
    pub fn render<'v>(&self, value: impl Fn(Placeholder) -> Cow<'v, str>) -> String {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                TemplatePart::Text(literal) => text.push_str(literal),
                TemplatePart::Value(name, place) => {
                    let json = Value::from(value(*name)).to_string();
                    text.push_str(match place {
                        TemplatePosition::Free => &json,
                        TemplatePosition::Quoted => inner(&json),
                    });
                }
            }
        }
        text
    }
}

impl Placeholder {
    fn read(word: &str) -> Result<Self, TemplateError> {
        let former = FORMER.iter().find(|(former, _)| *former == word);
        Self::all()
            .find(|name| name.as_str() == word)
            .or(former.map(|(_, name)| *name))
            .ok_or_else(|| TemplateError::Unknown {
                word: word.chars().take(40).collect(),
            })
    }

    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        let headers = AlertHeader::ALL.iter().copied().map(Self::Header);
        headers.chain(AlertDetail::ALL.iter().copied().map(Self::Detail))
    }

    /// The word in templates and documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Header(header) => header.as_str(),
            Self::Detail(detail) => detail.as_str(),
        }
    }
}

/// Whether a position is inside a JSON string. Values never change that: they are whole strings, or
/// parts of one without quotes.
#[derive(Default)]
struct Quotes {
    inside: bool,
    escaped: bool,
}

impl Quotes {
    fn read(&mut self, text: &str) {
        for c in text.chars() {
            match (self.inside, self.escaped, c) {
                (true, false, '\\') => self.escaped = true,
                (_, false, '"') => self.inside = !self.inside,
                _ => self.escaped = false,
            }
        }
    }

    fn place(&self) -> TemplatePosition {
        if self.inside {
            TemplatePosition::Quoted
        } else {
            TemplatePosition::Free
        }
    }
}

/// A JSON string without its quotes.
fn inner(json: &str) -> &str {
    let inner = json
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    inner.unwrap_or_default()
}

fn known() -> String {
    Placeholder::all()
        .map(Placeholder::as_str)
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn rendered(template: &str, value: &'static str) -> Value {
        let text = Template::compile(template)
            .unwrap()
            .render(|_| Cow::Borrowed(value));
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    #[rstest]
    #[case::plain("hunter")]
    #[case::quote("a\"b")]
    #[case::backslash("a\\")]
    #[case::lines("a\nb\r\tc")]
    #[case::control("\u{0}\u{1f}")]
    #[case::break_out("\", \"admin\": true, \"x\": \"")]
    #[case::placeholder("{{user}}")]
    #[case::unicode("caf\u{e9} \u{1f600}")]
    #[case::empty("")]
    fn a_value_is_rendered_in_any_position(#[case] value: &'static str) {
        let template =
            r#"{"a": {{user}}, "b": "by \"{{ user }}\" in {{namespace}}", "c": ["\\", {{key}}]}"#;
        assert_eq!(
            rendered(template, value),
            json!({"a": value, "b": format!("by \"{value}\" in {value}"), "c": ["\\", value]})
        );
    }

    #[test]
    fn every_name_can_be_used() {
        for name in Placeholder::all() {
            let template = Template::compile(&format!("[{{{{{}}}}}]", name.as_str())).unwrap();
            assert_eq!(
                template.render(|asked| asked.as_str().into()),
                format!("[\"{}\"]", name.as_str())
            );
        }
    }

    #[test]
    fn former_names_of_placeholders_have_the_value_of_the_present_ones() {
        for (former, name) in FORMER {
            let template = Template::compile(&format!("[{{{{{former}}}}}]")).unwrap();
            assert_eq!(
                template.render(|asked| asked.as_str().into()),
                format!("[\"{}\"]", name.as_str())
            );
        }
    }

    #[rstest]
    #[case::unknown("{{password}}", TemplateError::Unknown { word: "password".to_owned() })]
    #[case::nothing("{{}}", TemplateError::Unknown { word: String::new() })]
    #[case::open(r#"{"a": "{{user"}"#, TemplateError::Open)]
    #[case::no_json("summary={{summary}}", TemplateError::NoJson { line: 1, column: 1 })]
    #[case::comma(r#"{"a": {{user}},}"#, TemplateError::NoJson { line: 1, column: 14 })]
    #[case::number("{\"a\": 1{{user}}}", TemplateError::NoJson { line: 1, column: 8 })]
    #[case::escape(r#"{"a": "\{{namespace}}"}"#, TemplateError::Escaped)]
    #[case::code_point(r#"{"a": "\u00{{at}}"}"#, TemplateError::NoJson { line: 1, column: 13 })]
    #[case::empty("", TemplateError::NoJson { line: 1, column: 0 })]
    fn an_invalid_template_is_rejected(#[case] template: &str, #[case] error: TemplateError) {
        assert_eq!(Template::compile(template), Err(error));
    }

    #[test]
    fn a_template_has_bounds() {
        let long = format!("\"{}\"", "x".repeat(TEMPLATE_BYTES));
        assert_eq!(Template::compile(&long), Err(TemplateError::TooLong));
        let many = format!("[{}0]", "{{user}},".repeat(PLACEHOLDERS + 1));
        assert_eq!(Template::compile(&many), Err(TemplateError::TooMany));
    }

    #[test]
    fn the_error_lists_the_known_names() {
        let error = Template::compile("{{tikcet}}").unwrap_err().to_string();
        assert!(error.contains("{{tikcet}}"), "{error}");
        assert!(error.contains("ticket, reason"), "{error}");
    }
}
