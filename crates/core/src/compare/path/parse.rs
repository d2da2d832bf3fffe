//! Parses a path, in each of the forms in which people have it.
//!
//! | form | example | from |
//! |---|---|---|
//! | as paths are shown | `.spec.containers[name=web].image` | denials, records, `explain` |
//! | without the first dot | `spec.replicas` | `kubectl explain` |
//! | JSON pointer | `/spec/containers/0/image` | patches, policies, Flux |
//! | JSONPath | `{.spec.containers[?(@.name=="web")].image}`, `$.spec` | `kubectl get -o jsonpath` |
//! | quoted keys | `.metadata.labels["a.b/c"]`, `['a']`, `.labels.a\.b` | all of them |

use std::str::FromStr;

use super::{FieldPath, Step};

/// Why a text is not a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Nothing between two dots, or an empty path.
    #[error("failed to read the path: a field has no name")]
    Empty,
    /// A bracket that is not closed, or closed too early.
    #[error("failed to read the path: a bracket does not match")]
    Bracket,
    /// `["…"]` that is not a JSON string.
    #[error("failed to read the path: a quoted name does not end")]
    Quote,
    /// `~` in a JSON pointer, without 0 or 1 after it.
    #[error("failed to read the path: in a JSON pointer, ~ is written ~0 and / is written ~1")]
    Escape,
    /// A name with a slash, which looks like a pointer without its first slash.
    #[error(
        "failed to read the path: a name with a slash is quoted, as in .metadata.labels[\"a/b\"], and a JSON \
         pointer starts with a slash"
    )]
    Slash,
    /// A filter or a slice of `JSONPath` that names more than one item.
    #[error("failed to read the path: it has to name one item, as in [name=web] or [0]")]
    Many,
}

impl FromStr for FieldPath {
    type Err = PathError;

    /// See the forms at the head of this module.
    fn from_str(text: &str) -> Result<Self, PathError> {
        if let Some(pointer) = text.strip_prefix('/') {
            return pointer.split('/').map(token).collect();
        }
        let braced = text
            .strip_prefix('{')
            .and_then(|text| text.strip_suffix('}'));
        let text = braced.unwrap_or(text);
        let mut rest = match text.strip_prefix('$') {
            Some(rest) if rest.starts_with(['.', '[']) => rest,
            _ => text,
        };
        let mut steps = Vec::new();
        if !rest.starts_with(['.', '[']) {
            let step;
            (step, rest) = field(rest)?;
            steps.push(step);
        }
        while let Some(first) = rest.chars().next() {
            let after = rest.get(1..).unwrap_or_default();
            let step;
            (step, rest) = match first {
                '.' => field(after)?,
                '[' if after.starts_with('"') => quoted(after)?,
                '[' if after.starts_with('\'') => single_quoted(after)?,
                '[' if after.starts_with('?') => filter(after)?,
                '[' => bracketed(after)?,
                _ => return Err(PathError::Bracket),
            };
            steps.push(step);
        }
        Ok(Self::from(steps))
    }
}

/// One step of a JSON pointer (RFC 6901). A number may be a position or a key: a list takes either.
fn token(token: &str) -> Result<Step, PathError> {
    let is_position = token == "0" || !token.starts_with('0');
    if let (true, Ok(index)) = (is_position, token.parse()) {
        return Ok(Step::Index(index));
    }
    Ok(Step::Field(unescaped(token).ok_or(PathError::Escape)?))
}

/// A step of a JSON pointer without its escapes; none where `~` is not followed by 0 or 1.
pub(crate) fn unescaped(token: &str) -> Option<String> {
    let mut text = String::with_capacity(token.len());
    let mut chars = token.chars();
    while let Some(char) = chars.next() {
        text.push(match char {
            '~' => match chars.next()? {
                '0' => '~',
                '1' => '/',
                _ => return None,
            },
            other => other,
        });
    }
    Some(text)
}

/// Up to the next dot or bracket. kubectl takes a backslash before a dot that belongs to the name.
fn field(text: &str) -> Result<(Step, &str), PathError> {
    let mut name = String::new();
    let mut rest = text;
    // What kubectl prints escapes the dots of a key and not its slash.
    let has_escape = text.contains('\\');
    loop {
        let end = rest.find(['.', '[', '\\']).unwrap_or(rest.len());
        let (part, after) = rest.split_at_checked(end).ok_or(PathError::Empty)?;
        if part.contains('/') && !has_escape {
            return Err(PathError::Slash);
        }
        name.push_str(part);
        rest = after;
        let escaped = rest.strip_prefix('\\').and_then(|rest| {
            let char = rest.chars().next()?;
            Some((char, rest.get(char.len_utf8()..)?))
        });
        let Some((char, after)) = escaped else {
            break;
        };
        name.push(char);
        rest = after;
    }
    if name.is_empty() {
        return Err(PathError::Empty);
    }
    Ok((Step::Field(name), rest))
}

/// `'a.b/c']`, as in `JSONPath`.
fn single_quoted(text: &str) -> Result<(Step, &str), PathError> {
    let text = text.strip_prefix('\'').ok_or(PathError::Quote)?;
    let (name, rest) = text.split_once('\'').ok_or(PathError::Quote)?;
    let rest = rest.strip_prefix(']').ok_or(PathError::Bracket)?;
    Ok((Step::Field(name.to_owned()), rest))
}

/// `?(@.name=="web")]`, the only filter of `JSONPath` that names one item.
fn filter(text: &str) -> Result<(Step, &str), PathError> {
    let inside = text.strip_prefix("?(@.").ok_or(PathError::Many)?;
    let (condition, rest) = inside.split_once(")]").ok_or(PathError::Bracket)?;
    let (key, value) = condition.split_once("==").ok_or(PathError::Many)?;
    let value = value.trim().trim_matches(['"', '\'']);
    let key = key.trim();
    // A second condition, which would be read as part of the value.
    let has_more = value.contains("@.");
    if key.is_empty() || key.contains(['.', '[', '&', '|']) || has_more {
        return Err(PathError::Many);
    }
    Ok((Step::Item(vec![(key.to_owned(), value.to_owned())]), rest))
}

fn quoted(text: &str) -> Result<(Step, &str), PathError> {
    let mut names = serde_json::Deserializer::from_str(text).into_iter::<String>();
    let name = names.next().and_then(Result::ok).ok_or(PathError::Quote)?;
    let rest = text.get(names.byte_offset()..).unwrap_or_default();
    let rest = rest.strip_prefix(']').ok_or(PathError::Bracket)?;
    Ok((Step::Field(name), rest))
}

fn bracketed(text: &str) -> Result<(Step, &str), PathError> {
    let (inside, rest) = text.split_once(']').ok_or(PathError::Bracket)?;
    if inside.is_empty() {
        return Err(PathError::Empty);
    }
    if inside.contains(':')
        && inside
            .chars()
            .all(|char| char.is_ascii_digit() || char == ':')
    {
        return Err(PathError::Many);
    }
    if let Ok(index) = inside.parse() {
        return Ok((Step::Index(index), rest));
    }
    let keys: Option<Vec<(String, String)>> = inside
        .split(',')
        .map(|pair| pair.split_once('='))
        .map(|pair| pair.map(|(key, value)| (key.to_owned(), value.to_owned())))
        .collect();
    let step = keys.map_or_else(|| Step::Value(inside.to_owned()), Step::Item);
    Ok((step, rest))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(".spec.replicas")]
    #[case(".spec.template.spec.containers[name=web].image")]
    #[case(".spec.ports[port=80,protocol=TCP].nodePort")]
    #[case(r#".metadata.annotations["a.b/c"]"#)]
    #[case(".spec.rules[3].verbs[0]")]
    #[case(".metadata.finalizers[x/y]")]
    fn a_printed_path_can_be_parsed(#[case] text: &str) {
        let path: FieldPath = text.parse().unwrap();
        assert_eq!(path.to_string(), text);
    }

    #[rstest]
    #[case::without_the_first_dot("spec.replicas", ".spec.replicas")]
    #[case::pointer("/spec/replicas", ".spec.replicas")]
    #[case::pointer_to_an_item("/spec/containers/0/image", ".spec.containers[0].image")]
    #[case::pointer_with_escapes("/metadata/labels/a.b~1c~0d", r#".metadata.labels["a.b/c~d"]"#)]
    #[case::pointer_to_a_key_with_zeros("/data/007", ".data.007")]
    #[case::jsonpath("{.spec.replicas}", ".spec.replicas")]
    #[case::jsonpath_root("$.spec.replicas", ".spec.replicas")]
    #[case::jsonpath_filter(
        r#"{.spec.containers[?(@.name=="web")].image}"#,
        ".spec.containers[name=web].image"
    )]
    #[case::single_quotes(".metadata.labels['a.b/c']", r#".metadata.labels["a.b/c"]"#)]
    #[case::backslash(r"{.metadata.labels.a\.b/c}", r#".metadata.labels["a.b/c"]"#)]
    #[case::a_field_with_a_dollar(".$ref", ".$ref")]
    #[case::a_first_field_with_a_dollar("$ref.a", ".$ref.a")]
    fn every_form_is_the_same_path(#[case] text: &str, #[case] shown: &str) {
        assert_eq!(text.parse::<FieldPath>().unwrap().to_string(), shown);
    }

    #[rstest]
    #[case("", PathError::Empty)]
    #[case(".", PathError::Empty)]
    #[case(".spec..a", PathError::Empty)]
    #[case(".spec[0", PathError::Bracket)]
    #[case(".spec[]", PathError::Empty)]
    #[case(".spec[0]x", PathError::Bracket)]
    #[case(".spec[\"a]", PathError::Quote)]
    #[case(".spec[\"a\"x]", PathError::Bracket)]
    #[case(".spec['a]", PathError::Quote)]
    #[case("spec/replicas", PathError::Slash)]
    #[case(".metadata.labels.a/b", PathError::Slash)]
    #[case("/spec/a~b", PathError::Escape)]
    #[case(".spec[0:2]", PathError::Many)]
    #[case(".spec[?(@.a>1)]", PathError::Many)]
    #[case(".spec[?(@.a.b==1)]", PathError::Many)]
    #[case(".spec[?(@.==1)]", PathError::Many)]
    #[case(".spec[?(@.a=='b' && @.c=='d')]", PathError::Many)]
    #[case(".spec[?(@.a==1 || @.a==2)]", PathError::Many)]
    #[case(".spec[?(@.a=='b'", PathError::Bracket)]
    fn an_invalid_path_is_an_error(#[case] text: &str, #[case] error: PathError) {
        assert_eq!(text.parse::<FieldPath>(), Err(error));
    }
}
