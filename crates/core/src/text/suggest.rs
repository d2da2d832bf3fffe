//! "Did you mean": the known word that is nearest to a misspelled one.

/// Words less alike than this are not meant.
const LEAST: f64 = 0.75;

/// The most similar of `known`, if one is similar enough.
pub fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let word = word.to_ascii_lowercase();
    let likeness = |known: &str| strsim::jaro_winkler(&word, &known.to_ascii_lowercase());
    known
        .into_iter()
        .map(|known| (likeness(known), known))
        .filter(|(likeness, _)| *likeness >= LEAST)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, known)| known)
}

/// The end of an error: `; did you mean "replicas"?`, or nothing.
pub fn did_you_mean<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> String {
    nearest(word, known).map_or_else(String::new, |meant| format!("; did you mean {meant:?}?"))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::a_letter_too_few("replica", Some("replicas"))]
    #[case::two_swapped("replcias", Some("replicas"))]
    #[case::another_case("Replicas", Some("replicas"))]
    #[case::something_else("image", None)]
    fn the_nearest_word_is_suggested(#[case] word: &str, #[case] expected: Option<&str>) {
        let known = ["replicas", "selector", "template"];
        assert_eq!(nearest(word, known), expected);
    }
}
