//! What happens when programs have to be built, shown with a stand-in for the Go toolchain.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use tempfile::TempDir;

/// A cache and a `go` that logs its arguments to a file and creates an empty program.
struct Workshop {
    dir: TempDir,
}

/// `go build ... -o FILE PACKAGE`, `go mod download MODULE` and `go list ... MODULE`.
const GO: &str = r#"#!/bin/sh
echo "$@" >>"$WORKSHOP/asked"
case $1 in
build)
    while [ "$1" != -o ]; do shift; done
    : >"$2" ;;
list)
    echo "$WORKSHOP/module" ;;
esac
"#;

impl Workshop {
    fn new(go: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for subject in ["node", "pod", "volume"] {
            fs::create_dir_all(
                dir.path()
                    .join("module/kustomize/stage")
                    .join(subject)
                    .join("fast"),
            )
            .unwrap();
        }
        fs::create_dir(dir.path().join("bin")).unwrap();
        let path = dir.path().join("bin/go");
        fs::write(&path, go).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        Self { dir }
    }

    /// `testbed build`, with no programs given and no home to fall back to.
    fn build(&self, path: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_testbed"));
        command
            .arg("build")
            .env_clear()
            .env("PATH", path)
            .env("WORKSHOP", self.dir.path());
        command.env("HELM_GUARD_TEST_CACHE", self.cache());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn path(&self) -> String {
        format!("{}:/usr/bin:/bin", self.dir.path().join("bin").display())
    }

    fn cache(&self) -> PathBuf {
        self.dir.path().join("cache")
    }

    fn asked(&self) -> Vec<String> {
        fs::read_to_string(self.dir.path().join("asked"))
            .unwrap()
            .lines()
            .map(str::to_owned)
            .collect()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn programs(output: &Output) -> Vec<PathBuf> {
    text(&output.stdout).lines().map(PathBuf::from).collect()
}

#[test]
fn two_processes_build_each_program_once() {
    let workshop = Workshop::new(GO);
    let builds = [(); 2].map(|()| workshop.build(&workshop.path()).spawn().unwrap());
    for build in builds {
        let output = build.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert_eq!(programs(&output).len(), 8);
        assert!(
            programs(&output)
                .iter()
                .all(|program| program.starts_with(workshop.cache()) && program.is_file())
        );
    }
    assert_eq!(
        workshop
            .asked()
            .iter()
            .filter(|line| line.starts_with("build "))
            .count(),
        8
    );
}

#[test]
fn promtool_is_built_only_when_asked_for() {
    let workshop = Workshop::new(GO);
    let output = workshop.build(&workshop.path()).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(!contains(&workshop.cache(), "promtool"));
    let output = workshop
        .build(&workshop.path())
        .arg("promtool")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(programs(&output).len(), 1);
    assert!(contains(&workshop.cache(), "promtool"));
    let asked = workshop.asked();
    let build = asked.last().unwrap();
    assert!(build.contains(" -tags remove_all_sd "), "{build}");
    assert!(build.ends_with(" github.com/prometheus/prometheus/cmd/promtool"));
}

#[test]
fn a_build_reports_progress_and_ignores_user_settings() {
    let workshop = Workshop::new(GO);
    let output = workshop.build(&workshop.path()).output().unwrap();
    let progress = text(&output.stderr);
    assert!(
        progress.contains("[3/9] building kube-apiserver, once; usually "),
        "{progress}"
    );
    assert!(
        progress.contains("[3/9] built kube-apiserver in 0 s"),
        "{progress}"
    );
    let asked = workshop.asked();
    for line in asked.iter().filter(|line| line.starts_with("build ")) {
        assert!(
            line.starts_with("build -mod=readonly -buildvcs=false -trimpath -ldflags "),
            "{line}"
        );
    }
    // A second run finds all programs.
    let output = workshop.build(&workshop.path()).output().unwrap();
    assert_eq!(
        (output.status.success(), text(&output.stderr).as_str()),
        (true, "")
    );
    assert_eq!(workshop.asked(), asked);
}

#[test]
fn without_go_the_error_names_what_to_install_or_to_set() {
    let workshop = Workshop::new(GO);
    let output = workshop.build("/nonexistent").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = text(&output.stderr);
    assert!(
        error.contains("there is no `go` on PATH") && error.contains("HELM_GUARD_TEST_ETCD"),
        "{error}"
    );
}

#[test]
fn a_failed_build_shows_the_output_of_go_and_leaves_no_program() {
    let workshop = Workshop::new("#!/bin/sh\necho 'go.mod requires go >= 1.26' >&2\nexit 1\n");
    let output = workshop.build(&workshop.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("go.mod requires go >= 1.26"));
    assert!(!contains(&workshop.cache(), "etcd"));
}

fn contains(dir: &Path, name: &str) -> bool {
    fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap())
        .any(|entry| {
            entry.file_name() == name || (entry.path().is_dir() && contains(&entry.path(), name))
        })
}
