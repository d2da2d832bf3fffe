//! Nothing outlives the process that started it.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use testbed::process::{Process, ProcessConfig};

const COMPONENTS: usize = 5;

/// A control plane in a process of its own.
struct Starter {
    child: Child,
    dir: PathBuf,
    pids: Vec<u32>,
}

fn start() -> Starter {
    let mut child = Command::new(env!("CARGO_BIN_EXE_testbed"))
        .arg("up")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let dir = lines.find_map(|line| {
        line.unwrap()
            .strip_prefix("export TESTBED_DIR=")?
            .split_whitespace()
            .next()
            .map(PathBuf::from)
    });
    let dir = dir.expect("`testbed up` should say where its directory is");
    // The reader of the output must outlive the writer, or the writer fails.
    thread::spawn(move || lines.for_each(drop));
    let pids: Vec<u32> = fs::read_dir(dir.join("logs"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "pid"))
        .flat_map(|path| {
            fs::read_to_string(path)
                .unwrap()
                .split_whitespace()
                .map(|pid| pid.parse().unwrap())
                .collect::<Vec<u32>>()
        })
        .collect();
    assert_eq!(pids.len(), 2 * COMPONENTS, "a watchdog and a program each");
    assert!(pids.iter().all(|pid| runs(*pid)));
    Starter { child, dir, pids }
}

fn runs(pid: u32) -> bool {
    let kill = Command::new("kill")
        .args(["-0", &pid.to_string()])
        .stderr(Stdio::null())
        .status();
    kill.unwrap().success()
}

fn eventually(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        thread::sleep(Duration::from_millis(20));
    }
}

fn assert_nothing_is_left(pids: &[u32], dir: &Path) {
    eventually("every process should end", || {
        !pids.iter().any(|pid| runs(*pid))
    });
    eventually("the directory should go", || !dir.exists());
}

#[test]
fn a_killed_parent_process_leaves_nothing() {
    let Starter {
        mut child,
        dir,
        pids,
    } = start();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_nothing_is_left(&pids, &dir);
}

#[test]
fn an_interrupted_parent_process_stops_in_order_and_leaves_nothing() {
    let Starter {
        mut child,
        dir,
        pids,
    } = start();
    Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(child.wait().unwrap().success());
    assert!(
        !pids.iter().any(|pid| runs(*pid)),
        "an orderly stop waits for every process"
    );
    assert!(!dir.exists());
}

fn sh(dir: &Path, script: &str) -> Process {
    let args = vec!["-c".into(), script.into()];
    let program = Path::new("/bin/sh");
    Process::start(ProcessConfig {
        name: "child",
        program,
        args,
        env: Vec::new(),
        dir,
    })
    .unwrap()
}

#[test]
fn an_exited_child_shows_its_status_and_the_end_of_its_log() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = sh(dir.path(), "echo the last words >&2; exit 7");
    assert_eq!(
        child
            .wait(Duration::from_secs(10))
            .and_then(|status| status.code()),
        Some(7)
    );
    let error = child.check().unwrap_err().to_string();
    assert!(
        error.contains("the last words") && error.contains("child"),
        "{error}"
    );
}

#[test]
fn a_child_that_handles_a_signal_exits_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = sh(
        dir.path(),
        "trap 'exit 5' TERM; echo ready; while :; do sleep 0.05; done",
    );
    eventually("the child should start", || {
        child.stdout().contains("ready")
    });
    assert_eq!(
        child
            .stop(Duration::from_secs(10))
            .and_then(|status| status.code()),
        Some(5)
    );
}

#[test]
fn a_child_that_ignores_a_signal_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = sh(
        dir.path(),
        "trap '' TERM; echo ready; while :; do sleep 0.05; done",
    );
    eventually("the child should start", || {
        child.stdout().contains("ready")
    });
    let pids = child.pids();
    let status = child.stop(Duration::from_millis(200));
    assert_eq!(status.and_then(|status| status.code()), Some(128 + 9));
    eventually("the child should be gone", || {
        !pids.iter().any(|pid| runs(*pid))
    });
}
