//! Compares what is shown with what was printed. `…` in a shown line stands for any text, and a line of only `…` for any
//! lines.

/// The line of `shown` that was not printed, if one was not.
pub fn missing<'a>(shown: &'a str, printed: &str) -> Option<&'a str> {
    let lines = |text: &str| -> Vec<String> {
        let trimmed = text.trim_end().lines().map(str::trim_end);
        trimmed.map(str::to_owned).collect()
    };
    let printed = lines(printed);
    let mut rest = printed.as_slice();
    let mut may_skip = false;
    for line in shown.trim_end().lines() {
        let expected = line.trim_end();
        if expected == "…" {
            may_skip = true;
            continue;
        }
        let reach = if may_skip { rest.len() } else { 1 };
        let found = rest
            .iter()
            .take(reach)
            .position(|line| fits(expected, line));
        let Some(at) = found else {
            return Some(line);
        };
        rest = rest.get(at + 1..).unwrap_or_default();
        may_skip = false;
    }
    let is_over = may_skip || rest.iter().all(String::is_empty);
    (!is_over).then_some("(the end)")
}

fn fits(expected: &str, line: &str) -> bool {
    let Some((start, rest)) = expected.split_once('…') else {
        return expected == line;
    };
    let Some(line) = line.strip_prefix(start) else {
        return false;
    };
    let mut ends = line.char_indices().map(|(at, _)| at).chain([line.len()]);
    ends.any(|at| line.get(at..).is_some_and(|line| fits(rest, line)))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::missing;

    #[rstest]
    #[case::equal("a\nb", "a\nb\n", None)]
    #[case::other_line("a\nb", "a\nc\n", Some("b"))]
    #[case::not_all("a", "a\nb", Some("(the end)"))]
    #[case::rest_left_out("a\n…", "a\nb\nc", None)]
    #[case::middle_left_out("a\n…\nd", "a\nb\nc\nd", None)]
    #[case::text_left_out("at … by …", "at 3 by bob", None)]
    #[case::text_within("at … by bob", "at 3 by bob", None)]
    #[case::other_end("at … by bob", "at 3 by eve", Some("at … by bob"))]
    fn what_is_shown_has_been_printed(
        #[case] shown: &str,
        #[case] printed: &str,
        #[case] expected: Option<&str>,
    ) {
        assert_eq!(missing(shown, printed), expected);
    }
}
