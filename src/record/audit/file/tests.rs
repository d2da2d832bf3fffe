use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;

use super::*;

const RETENTION: Retention = Retention {
    max_bytes: 20,
    max_backups: 2,
};

struct Bench(TempDir);

impl Bench {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("audit.log")
    }

    fn open(&self, retention: Retention) -> AuditFile {
        AuditFile::open(self.path(), retention).unwrap()
    }

    fn text(&self) -> String {
        fs::read_to_string(self.path()).unwrap()
    }

    /// The contents of the rotated files, oldest first.
    fn backups(&self) -> Vec<String> {
        let names = Names::of(&self.path()).unwrap();
        let texts = names.backups().unwrap().into_iter().rev();
        texts
            .map(|path| fs::read_to_string(path).unwrap())
            .collect()
    }
}

#[test]
fn a_full_file_is_rotated_and_the_oldest_are_removed() {
    let bench = Bench::new();
    let other = bench.0.path().join("audit-notes.log");
    fs::write(&other, "not ours").unwrap();
    let mut file = bench.open(RETENTION);
    for n in 0..8 {
        file.write_all(format!("line {n:3}\n").as_bytes()).unwrap();
    }
    assert_eq!(bench.text(), "line   6\nline   7\n");
    assert_eq!(
        bench.backups(),
        ["line   2\nline   3\n", "line   4\nline   5\n"]
    );
    assert!(other.exists());
}

#[test]
fn without_a_limit_every_rotated_file_is_retained() {
    let bench = Bench::new();
    let mut file = bench.open(Retention {
        max_backups: 0,
        ..RETENTION
    });
    for _ in 0..6 {
        file.write_all(b"a line of 19 bytes\n").unwrap();
    }
    assert_eq!(bench.backups().len(), 5);
}

#[test]
fn a_line_longer_than_the_size_limit_is_written_in_one_piece() {
    let bench = Bench::new();
    let mut file = bench.open(RETENTION);
    let long = format!("{}\n", "x".repeat(50));
    file.write_all(b"short\n").unwrap();
    file.write_all(long.as_bytes()).unwrap();
    file.write_all(b"short\n").unwrap();
    assert_eq!(bench.backups(), ["short\n".to_owned(), long]);
    assert_eq!(bench.text(), "short\n");
}

#[test]
fn only_the_owner_may_read_it() {
    let bench = Bench::new();
    let mut file = bench.open(RETENTION);
    for _ in 0..4 {
        file.write_all(b"0123456789\n").unwrap();
    }
    for entry in fs::read_dir(bench.0.path()).unwrap() {
        let mode = entry.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

#[test]
fn a_partial_line_left_by_a_crash_is_terminated_first() {
    let bench = Bench::new();
    fs::write(bench.path(), "whole\nto").unwrap();
    let mut file = bench.open(Retention {
        max_bytes: 1000,
        ..RETENTION
    });
    file.write_all(b"next\n").unwrap();
    file.write_all(b"last\n").unwrap();
    assert_eq!(bench.text(), "whole\nto\nnext\nlast\n");
}

#[test]
fn a_file_that_something_else_renames_is_created_again() {
    let bench = Bench::new();
    let mut file = bench.open(RETENTION);
    file.write_all(b"one\n").unwrap();
    let moved = bench.0.path().join("audit.log.1");
    fs::rename(bench.path(), &moved).unwrap();
    file.write_all(b"two\n").unwrap();
    assert_eq!(fs::read_to_string(&moved).unwrap(), "one\n");
    assert_eq!(bench.text(), "two\n");
    fs::remove_file(bench.path()).unwrap();
    file.write_all(b"three\n").unwrap();
    assert_eq!(bench.text(), "three\n");
}

#[test]
fn a_file_that_something_else_truncates_is_written_to_as_before() {
    let bench = Bench::new();
    let mut file = bench.open(RETENTION);
    file.write_all(b"one, to be copied\n").unwrap();
    File::options()
        .write(true)
        .open(bench.path())
        .unwrap()
        .set_len(0)
        .unwrap();
    file.write_all(b"two\n").unwrap();
    assert_eq!(bench.text(), "two\n");
    assert!(bench.backups().is_empty());
}

#[test]
fn a_folder_that_is_gone_for_a_while_loses_only_the_lines_of_that_time() {
    let bench = Bench::new();
    let folder = bench.0.path().join("logs");
    fs::create_dir(&folder).unwrap();
    let mut file = AuditFile::open(folder.join("audit.log"), RETENTION).unwrap();
    file.write_all(b"one\n").unwrap();
    fs::remove_dir_all(&folder).unwrap();
    assert!(file.write_all(b"two\n").is_err());
    fs::create_dir(&folder).unwrap();
    file.write_all(b"three\n").unwrap();
    let text = fs::read_to_string(folder.join("audit.log")).unwrap();
    assert_eq!(text, "three\n");
}

#[test]
fn a_full_disk_is_an_error() {
    let mut file = AuditFile::open("/dev/full", RETENTION).unwrap();
    let error = file.write_all(b"a line\n").unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
}

#[test]
fn an_unwritable_path_is_rejected_when_it_is_opened() {
    let bench = Bench::new();
    assert!(AuditFile::open(bench.0.path(), RETENTION).is_err());
    assert!(AuditFile::open(bench.0.path().join("none/audit.log"), RETENTION).is_err());
}
