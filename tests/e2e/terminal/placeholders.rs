//! What differs each time that a command runs: times, ports, random names. A placeholder of it is the same each time.

use std::{path::Path, sync::LazyLock};

use regex::Regex;

/// What to look for, and the placeholder. `$1` keeps a part.
const VOLATILE: [(&str, &str); 10] = [
    (
        "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(:[0-9]{2}(\\.[0-9]+)?)?(Z|\\+00:00)",
        "<time>",
    ),
    ("Since [0-9]{4}-[0-9]{2}-[0-9]{2},", "Since <date>,"),
    // As Helm prints it.
    (
        "(Mon|Tue|Wed|Thu|Fri|Sat|Sun) [A-Z][a-z]{2} +[0-9]+ [0-9:]{8} [0-9]{4}",
        "<time>",
    ),
    (
        "[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9:]{8}\\.[0-9]+ \\+0000 UTC",
        "<time>",
    ),
    (
        "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
        "<uid>",
    ),
    ("127\\.0\\.0\\.1:[12][0-9]{4}", "127.0.0.1:<port>"),
    ("grant-[0-9a-z]{5}", "grant-<id>"),
    // An age in the last column of a table of kubectl.
    ("(?m)( {3,})[0-9]+(s|m|m[0-9]+s)$", "$1<age>"),
    // The name of an emergency change.
    ("(myapp|checkout)-[0-9a-f]{8}", "$1-<id>"),
    ("(hash:|sha256:)[0-9a-f]{6,}", "$1<hash>"),
];

/// A text with placeholders. The folder is that of the working copy.
pub fn put(text: &str, folder: &Path) -> String {
    static EXPRESSIONS: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
        let compiled = VOLATILE.map(|(pattern, shown)| (Regex::new(pattern).unwrap(), shown));
        compiled.to_vec()
    });
    let mut text = text.replace(&*folder.to_string_lossy(), "<folder>");
    if let Some(above) = folder.parent() {
        text = text.replace(&*above.to_string_lossy(), "<scratch>");
    }
    for (expression, shown) in EXPRESSIONS.iter() {
        text = expression.replace_all(&text, *shown).into_owned();
    }
    text
}

#[test]
fn what_differs_each_time_gets_a_placeholder() {
    let text = "at 2026-11-21T03:12:09Z by 2026-11-21T04:12Z from 127.0.0.1:23456 in /tmp/a/b and /tmp/a/c\n";
    assert_eq!(
        put(text, Path::new("/tmp/a/b")),
        "at <time> by <time> from 127.0.0.1:<port> in <folder> and <scratch>/c\n"
    );
}
