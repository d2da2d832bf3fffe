//! The commands of the documentation, run in the order of each page on a control plane of its own. A page shows commands
//! in blocks of the language `sh` (a script) or `console` (commands after `$ `, and their output). What a page shows of
//! an output is compared. Markers in comments above a block say what a test needs to know ([`marker`]).

mod markdown;
mod marker;
mod page;

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use rstest::rstest;

use self::markdown::blocks;

/// The folders with pages.
const FOLDERS: [&str; 7] = [
    ".",
    "docs",
    "docs/decisions",
    "deploy",
    "deploy/monitoring",
    "certs",
    "tests",
];

/// The pages that show commands.
const PAGES: [&str; 10] = [
    "README.md",
    "certs/README.md",
    "deploy/README.md",
    "docs/bench.md",
    "docs/break-glass.md",
    "docs/cli.md",
    "docs/development.md",
    "docs/explain.md",
    "docs/policy.md",
    "docs/scan.md",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The Markdown files of the project, relative to its root.
fn pages() -> Vec<PathBuf> {
    let mut pages = Vec::new();
    for folder in FOLDERS {
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let name = entry.unwrap().file_name();
            if Path::new(&name)
                .extension()
                .is_some_and(|extension| extension == "md")
            {
                pages.push(Path::new(folder).join(name));
            }
        }
    }
    pages
}

#[test]
fn each_page_with_commands_is_in_the_list() {
    let mut with_commands: Vec<String> = pages()
        .iter()
        .filter(|page| {
            let text = fs::read_to_string(root().join(page)).unwrap();
            let blocks =
                blocks(&text).unwrap_or_else(|error| panic!("{}: {error}", page.display()));
            blocks.iter().any(|block| {
                block
                    .is_commands()
                    .unwrap_or_else(|error| panic!("{}: {error}", page.display()))
            })
        })
        .map(|page| page.to_string_lossy().trim_start_matches("./").to_owned())
        .collect();
    with_commands.sort();
    assert_eq!(with_commands, PAGES);
}

#[rstest]
#[case::readme(PAGES[0])]
#[case::certs(PAGES[1])]
#[case::deploy(PAGES[2])]
#[case::bench(PAGES[3])]
#[case::break_glass(PAGES[4])]
#[case::cli(PAGES[5])]
#[case::development(PAGES[6])]
#[case::explain(PAGES[7])]
#[case::policy(PAGES[8])]
#[case::scan(PAGES[9])]
fn each_command_of_a_page_does_what_the_page_says(#[case] page: &str) {
    let text = fs::read_to_string(root().join(page)).unwrap();
    let report = blocks(&text).and_then(|blocks| page::run(&blocks));
    match report {
        // The harness hides what a test prints with `eprint!`.
        Ok(report) => io::stderr()
            .write_all(report.text(page).as_bytes())
            .unwrap(),
        Err(error) => panic!("{page}: {error}"),
    }
}
