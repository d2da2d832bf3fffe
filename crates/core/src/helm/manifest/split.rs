//! Splits a manifest into its documents.
//!
//! Helm has already split the templates when it stores a manifest, with a different rule in each
//! major version (`(?:^|\s*\n)---\s*` and `(?m)^---[ \t]*`), and joins the documents as `---\n#
//! Source: <path>\n<document>\n`. What goes to the API server is then read line by line
//! (`YAMLReader` of apimachinery): a line that begins with `---` ends a document. That line rule is
//! used here; on manifests from Helm, all three find the same documents. Text that follows `---` on
//! its line belongs to the next document, as in both of Helm's rules.

/// The longest path of a template: no chart has a longer one.
const SOURCE_BYTES: usize = 1024;

/// The text between two separators of a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ManifestDocument<'a> {
    /// The line of the manifest on which its text starts, counted from 1.
    pub line: u32,
    /// The template that made it, from Helm's comment.
    pub source: Option<&'a str>,
    /// Its text, without the separators.
    pub text: &'a str,
}

/// The documents with more than blank lines and comments.
pub(super) fn documents(manifest: &str) -> impl Iterator<Item = ManifestDocument<'_>> {
    Chunks {
        rest: Some(manifest),
        line: 1,
    }
    .filter(|(_, text)| text.lines().any(is_content))
    .map(|(line, text)| ManifestDocument {
        line,
        source: source(text),
        text,
    })
}

/// The text between separators, with its first line.
struct Chunks<'a> {
    rest: Option<&'a str>,
    line: u32,
}

impl<'a> Iterator for Chunks<'a> {
    type Item = (u32, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.rest.take()?;
        let start = self.line;
        let mut end = 0;
        for line in rest.split_inclusive('\n') {
            if let Some(after) = line.strip_prefix("---") {
                let next = end + (line.len() - opening(after).len());
                self.rest = rest.get(next..);
                // Text on the separator's own line starts there; otherwise on the next line.
                self.line += u32::from(opening(after).is_empty() && line.ends_with('\n'));
                break;
            }
            end += line.len();
            self.line = self.line.saturating_add(1);
        }
        Some((start, rest.get(..end)?))
    }
}

/// The text on a separator's line, which belongs to the next document: usually empty.
fn opening(after: &str) -> &str {
    let text = after.trim_start_matches([' ', '\t']);
    if text.trim_end().is_empty() || text.starts_with('#') {
        ""
    } else {
        text
    }
}

fn is_content(line: &str) -> bool {
    let line = line.trim_start_matches(['\u{feff}', ' ', '\t']).trim_end();
    !line.is_empty() && !line.starts_with('#')
}

/// Helm's comment is above the first line of content; a template may have its own comments above or
/// below it.
fn source(text: &str) -> Option<&str> {
    text.lines()
        .take_while(|line| !is_content(line))
        .find_map(|line| line.strip_prefix("# Source: "))
        .map(str::trim)
        .filter(|path| (1..=SOURCE_BYTES).contains(&path.len()))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn texts(manifest: &str) -> Vec<(u32, &str)> {
        documents(manifest).map(|d| (d.line, d.text)).collect()
    }

    #[rstest]
    #[case::as_helm_stores_it("---\n# Source: c/t/a.yaml\na: 1\n---\n# Source: c/t/b.yaml\nb: 2\n",
        &[(2, "# Source: c/t/a.yaml\na: 1\n"), (5, "# Source: c/t/b.yaml\nb: 2\n")])]
    #[case::no_separator_at_all("a: 1", &[(1, "a: 1")])]
    #[case::no_last_newline("---\na: 1\n---\nb: 2", &[(2, "a: 1\n"), (4, "b: 2")])]
    #[case::text_on_the_separator("---apiVersion: v1\nkind: A\n--- {b: 2}\n",
        &[(1, "apiVersion: v1\nkind: A\n"), (3, "{b: 2}\n")])]
    #[case::spaces_and_comments_after_it("--- \t\na: 1\n---  # next\nb: 2\n",
        &[(2, "a: 1\n"), (4, "b: 2\n")])]
    #[case::carriage_returns("---\r\na: 1\r\n---\r\nb: 2\r\n", &[(2, "a: 1\r\n"), (4, "b: 2\r\n")])]
    #[case::empty_and_comment_only("---\n---\n\n# nothing\n---\n  # nothing\n---\na: 1\n---\n",
        &[(8, "a: 1\n")])]
    #[case::indented_dashes_are_text("a: |\n  x\n  ---\n  y\n", &[(1, "a: |\n  x\n  ---\n  y\n")])]
    #[case::nothing("", &[])]
    #[case::only_a_separator("---", &[])]
    #[case::a_byte_order_mark_alone("\u{feff}\n---\n\u{feff}a: 1\n", &[(3, "\u{feff}a: 1\n")])]
    fn a_line_that_begins_with_dashes_starts_a_document(
        #[case] manifest: &str,
        #[case] expected: &[(u32, &str)],
    ) {
        assert_eq!(texts(manifest), expected);
    }

    #[rstest]
    #[case::first(
        "# Source: chart/templates/a.yaml\na: 1\n",
        Some("chart/templates/a.yaml")
    )]
    #[case::below_other_comments("\n# licence\n# Source: c/a.yaml\r\na: 1\n", Some("c/a.yaml"))]
    #[case::none("a: 1\n", None)]
    #[case::inside_the_document("a: |\n# Source: fake\n", None)]
    fn the_source_comment_is_found_above_the_content(
        #[case] manifest: &str,
        #[case] expected: Option<&str>,
    ) {
        assert_eq!(documents(manifest).next().unwrap().source, expected);
    }
}
