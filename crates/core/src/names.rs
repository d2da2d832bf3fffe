//! Names that the API server accepts. The same checks keep a name from having another meaning in a
//! selector, a path or an expression.

/// The longest name of an object.
pub const LONGEST_NAME: usize = 253;

/// The longest RFC 1123 label, and the longest value of a Kubernetes label.
const LONGEST_LABEL: usize = 63;

/// Whether this is an RFC 1123 label: the name of a namespace or of a Service.
pub fn is_label(name: &str) -> bool {
    name.len() <= LONGEST_LABEL && is_part(name)
}

/// Whether this is an RFC 1123 subdomain: the name of most objects, of an API group and of a Helm
/// release. Its parts may be longer than a label, as in Kubernetes' `IsDNS1123Subdomain`.
pub fn is_subdomain(name: &str) -> bool {
    name.len() <= LONGEST_NAME && name.split('.').all(is_part)
}

/// Whether this can be the name of any object: that of a Role or a ClusterRole may have colons and capitals
/// (`k8s.io/apimachinery/pkg/api/validation/path`).
pub fn is_path_segment(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= LONGEST_NAME
        && !matches!(name, "." | "..")
        && !name.contains(['/', '%'])
        && !name.contains(char::is_control)
}

fn is_part(part: &str) -> bool {
    let is_edge = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    is_bounded(part, is_edge, b"-")
}

/// Whether a label or an annotation can have this key: a name, perhaps after a subdomain and a slash.
pub fn is_label_key(key: &str) -> bool {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    prefix.is_none_or(is_subdomain) && !name.is_empty() && is_label_value(name)
}

/// Whether a label can have this value, which may be empty.
pub fn is_label_value(value: &str) -> bool {
    let is_edge = |byte: u8| byte.is_ascii_alphanumeric();
    value.is_empty() || value.len() <= LONGEST_LABEL && is_bounded(value, is_edge, b"-_.")
}

/// Whether a text begins and ends with one of these bytes, and has only them and `inner` ones.
fn is_bounded(text: &str, is_edge: impl Fn(u8) -> bool, inner: &[u8]) -> bool {
    let bytes = text.as_bytes();
    bytes.first().is_some_and(|&first| is_edge(first))
        && bytes.last().is_some_and(|&last| is_edge(last))
        && bytes
            .iter()
            .all(|&byte| is_edge(byte) || inner.contains(&byte))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::letter("a", true, true)]
    #[case::digits("0shop9", true, true)]
    #[case::dash("a-b", true, true)]
    #[case::two_dashes("a--b", true, true)]
    #[case::dot("a.b", false, true)]
    #[case::empty("", false, false)]
    #[case::first_dash("-a", false, false)]
    #[case::last_dash("a-", false, false)]
    #[case::empty_part("a..b", false, false)]
    #[case::first_dot(".a", false, false)]
    #[case::last_dot("a.", false, false)]
    #[case::dash_before_a_dot("a-.b", false, false)]
    #[case::dash_after_a_dot("a.-b", false, false)]
    #[case::upper_case("A", false, false)]
    #[case::underscore("a_b", false, false)]
    #[case::path("../a", false, false)]
    #[case::selector("a,owner!=helm", false, false)]
    #[case::not_ascii("ä", false, false)]
    #[case::longest_label(&"a".repeat(63), true, true)]
    #[case::too_long_for_a_label(&"a".repeat(64), false, true)]
    #[case::longest_subdomain(&"a".repeat(253), false, true)]
    #[case::too_long(&"a".repeat(254), false, false)]
    #[case::too_long_in_parts(&"a.".repeat(127), false, false)]
    fn names_are_those_of_the_api_server(
        #[case] name: &str,
        #[case] as_label: bool,
        #[case] as_subdomain: bool,
    ) {
        assert_eq!(is_label(name), as_label, "label");
        assert_eq!(is_subdomain(name), as_subdomain, "subdomain");
    }

    #[rstest]
    #[case::role("system:Guard", true)]
    #[case::percent("a%2f", false)]
    #[case::slash("a/b", false)]
    #[case::parent("..", false)]
    #[case::itself(".", false)]
    #[case::empty("", false)]
    #[case::line("a\nb", false)]
    #[case::longest(&"a".repeat(253), true)]
    #[case::too_long(&"a".repeat(254), false)]
    fn path_segments_are_those_of_the_api_server(#[case] name: &str, #[case] expected: bool) {
        assert_eq!(is_path_segment(name), expected);
    }

    #[rstest]
    #[case::word("Guard_1.x-y", true, true)]
    #[case::empty("", false, true)]
    #[case::prefix("guard.example/a", true, false)]
    #[case::bad_prefix("guard..example/a", false, false)]
    #[case::empty_prefix("/a", false, false)]
    #[case::prefix_alone("guard.example/", false, false)]
    #[case::two_slashes("a/b/c", false, false)]
    #[case::first_dash("-a", false, false)]
    #[case::last_underscore("a_", false, false)]
    #[case::colon("system:reader", false, false)]
    #[case::longest(&"a".repeat(63), true, true)]
    #[case::too_long(&"a".repeat(64), false, false)]
    fn labels_are_those_of_the_api_server(
        #[case] text: &str,
        #[case] as_key: bool,
        #[case] as_value: bool,
    ) {
        assert_eq!(is_label_key(text), as_key, "key");
        assert_eq!(is_label_value(text), as_value, "value");
    }
}
