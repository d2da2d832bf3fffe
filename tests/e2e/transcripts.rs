//! What users read: scenes of commands with the exact text that they print, in a terminal of 80 columns. Read them to see
//! how the guard talks; a change of a text shows in them.
//!
//! Each folder of `transcripts/` is a story on a control plane of its own, and its files are scenes of it, in order.
//! `UPDATE_TRANSCRIPTS=1` writes what is printed now. [`scene`] describes the files.

mod scene;
mod story;

use std::{fs, path::Path};

use rstest::rstest;

/// The folders of transcripts, one of each story.
const STORIES: [&str; 7] = [
    "01-first-steps",
    "02-explain-and-check",
    "03-policy",
    "04-emergency",
    "05-mistakes",
    "06-helm-3",
    "07-plugins",
];

fn root() -> &'static Path {
    Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/e2e/transcripts"
    ))
}

#[test]
fn each_story_is_in_the_list() {
    let mut found: Vec<String> = fs::read_dir(root())
        .unwrap()
        .map(Result::unwrap)
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    found.sort();
    assert_eq!(found, STORIES);
}

#[rstest]
#[case::first_steps(STORIES[0])]
#[case::explain_and_check(STORIES[1])]
#[case::policy(STORIES[2])]
#[case::emergency(STORIES[3])]
#[case::mistakes(STORIES[4])]
#[case::helm_3(STORIES[5])]
#[case::plugins(STORIES[6])]
fn each_command_prints_what_its_transcript_shows(#[case] story: &str) {
    story::play(&root().join(story));
}
