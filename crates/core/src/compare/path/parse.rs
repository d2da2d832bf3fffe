//! Parses a path in the style in which paths are shown.

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
}

impl FromStr for FieldPath {
    type Err = PathError;

    /// `.spec.containers[name=web].args[0]`, `.metadata.labels["a.b/c"]`; the first dot may be left
    /// out.
    fn from_str(text: &str) -> Result<Self, PathError> {
        let mut rest = text;
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
                '[' => bracketed(after)?,
                _ => return Err(PathError::Bracket),
            };
            steps.push(step);
        }
        Ok(Self::from(steps))
    }
}

fn field(text: &str) -> Result<(Step, &str), PathError> {
    let end = text.find(['.', '[']).unwrap_or(text.len());
    match text.split_at_checked(end) {
        Some(("", _)) | None => Err(PathError::Empty),
        Some((name, rest)) => Ok((Step::Field(name.to_owned()), rest)),
    }
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

    #[test]
    fn the_first_dot_may_be_left_out() {
        assert_eq!(
            "spec.replicas".parse(),
            Ok(FieldPath::of(["spec", "replicas"]))
        );
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
    fn an_invalid_path_is_an_error(#[case] text: &str, #[case] error: PathError) {
        assert_eq!(text.parse::<FieldPath>(), Err(error));
    }
}
