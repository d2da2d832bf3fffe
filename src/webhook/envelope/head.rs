//! The head of a review: the part before its objects, for reviews of which no more is read.
//!
//! Go writes the fields of a struct in their order, and in an `AdmissionRequest` everything about the
//! user and the request comes before the objects (`k8s.io/api/admission/v1/types.go`); only `dryRun`
//! and the options come after them.

/// The size of the head, in bytes. Groups and extra attributes of a user may take some kilobytes.
pub(crate) const HEAD_BYTES: usize = 64 * 1024;

/// The size of the end, in bytes: the options of a request take some hundred bytes.
pub(crate) const TAIL_BYTES: usize = 4 * 1024;

/// A review with all fields of the request that are complete within `head`; `None` if there are none.
///
/// The fields are those of the object at depth two, which in a review is the request.
pub fn closed(head: &[u8]) -> Option<Vec<u8>> {
    let (mut depth, mut in_text, mut is_escaped, mut end) = (0_usize, false, false, None);
    for (at, byte) in head.iter().enumerate() {
        match (in_text, *byte) {
            (true, _) if is_escaped => is_escaped = false,
            (true, b'\\') => is_escaped = true,
            (_, b'"') => in_text = !in_text,
            (false, b'{' | b'[') => depth += 1,
            (false, b'}' | b']') => depth = depth.checked_sub(1)?,
            (false, b',') if depth == 2 => end = Some(at),
            _ => {}
        }
    }
    let mut review = head.get(..end?)?.to_vec();
    review.extend_from_slice(b"}}");
    Some(review)
}

/// Whether the request is a dry run, by the end of its review; `None` if it does not say.
///
/// The flag of the request comes after both objects, so it is the last one; inside a string its
/// quotes would be escaped. The `dryRun` of options is a list.
pub(crate) fn is_dry_run(tail: &[u8]) -> Option<bool> {
    let last = |flag: &[u8]| {
        let mut windows = tail.windows(flag.len());
        windows.rposition(|window| window == flag)
    };
    let (yes, no) = (last(br#""dryRun":true"#), last(br#""dryRun":false"#));
    (yes.is_some() || no.is_some()).then_some(yes > no)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::in_an_object(
        r#"{"kind":"R","request":{"uid":"1","operation":"UPDATE","object":{"a":1,"b":"#,
        Some(r#"{"kind":"R","request":{"uid":"1","operation":"UPDATE"}}"#)
    )]
    #[case::in_the_user(
        r#"{"kind":"R","request":{"uid":"1","userInfo":{"groups":["a","b"#,
        Some(r#"{"kind":"R","request":{"uid":"1"}}"#)
    )]
    #[case::commas_and_braces_in_a_text(
        r#"{"request":{"uid":"1","name":"{,\",","object":{"#,
        Some(r#"{"request":{"uid":"1","name":"{,\","}}"#)
    )]
    #[case::before_the_first_field(r#"{"kind":"R","request":{"uid":"1""#, None)]
    #[case::nothing("", None)]
    #[case::no_json("]]]", None)]
    fn a_head_has_the_fields_that_are_complete(#[case] head: &str, #[case] expected: Option<&str>) {
        let closed = closed(head.as_bytes());
        let closed = closed.as_deref().map(|json| str::from_utf8(json).unwrap());
        assert_eq!(closed, expected);
    }

    #[rstest]
    #[case::yes(r#"},"dryRun":true,"options":{"dryRun":["All"]}}}"#, Some(true))]
    #[case::no(r#"},"dryRun":false,"options":{}}}"#, Some(false))]
    #[case::an_object_says_otherwise(r#""dryRun":true},"dryRun":false}}"#, Some(false))]
    #[case::a_text_says_otherwise(
        r#""dryRun":true,"options":{"fieldManager":"\"dryRun\":false"}}}"#,
        Some(true)
    )]
    #[case::cut_off("<<<<<<", None)]
    fn the_end_of_a_review_shows_whether_it_is_a_dry_run(
        #[case] tail: &str,
        #[case] expected: Option<bool>,
    ) {
        assert_eq!(is_dry_run(tail.as_bytes()), expected);
    }
}
