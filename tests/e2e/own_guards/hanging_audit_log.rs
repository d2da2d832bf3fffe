//! An audit log whose writes block.

use std::{
    fs::{File, OpenOptions},
    io::{ErrorKind, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use testbed::{Guard, HelmVersion, shared};

use crate::{
    charts::{CONFIG_MAP, single},
    scene::{Scene, Screen, eventually},
    turn::Turn,
};

/// `open(2)` on Linux.
const O_NONBLOCK: i32 = 0o4000;

/// A full pipe without a reader: a write to it blocks.
struct FullPipe {
    path: PathBuf,
    end: File,
}

impl FullPipe {
    fn make(path: &Path) -> Self {
        let made = Command::new("mkfifo").arg(path).status().unwrap();
        assert!(made.success(), "mkfifo {}", path.display());
        let end = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(O_NONBLOCK)
            .open(path)
            .unwrap();
        let mut pipe = Self {
            path: path.to_owned(),
            end,
        };
        pipe.fill();
        pipe
    }

    fn fill(&mut self) {
        for size in [4096, 1] {
            while self.end.write(&vec![b'\n'; size]).is_ok() {}
        }
    }

    /// Reads everything available.
    fn read(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let error = self.end.read_to_end(&mut bytes).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        bytes
    }
}

fn audit_is_stalled(guard: &Guard) -> bool {
    let metrics = guard.admin_get("/metrics").body;
    metrics.contains("helm_guard_audit_stalled 1")
}

#[test]
fn a_hanging_audit_log_delays_neither_requests_nor_the_exit() {
    let turn = Turn::take();
    let scene = Scene::new("hanging-audit", HelmVersion::V3);
    scene.install("settings", &single(CONFIG_MAP));
    let mut pipe = FullPipe::make(&shared().scratch().join("hanging-audit.log"));
    let config = Turn::config("Deny").args(["--audit-log-path".as_ref(), pipe.path.as_os_str()]);
    let guard = turn.start(config);
    let delete = || scene.kubectl("delete configmap settings").denied(&[]);

    delete();
    eventually("a metric about the stalled log", || {
        audit_is_stalled(&guard).then_some(())
    });
    let ready = guard.admin_get("/readyz");
    assert_eq!(ready.status, 200, "{}", ready.body);
    assert!(ready.body.contains("[!]audit degraded: "), "{}", ready.body);
    let line = guard.await_log("the line on standard error", |line| {
        line["target"] == "audit" && line["verdict"] == "denied"
    });
    let number = line["sequence"].as_u64().unwrap();
    delete();
    guard.await_log("the next line there, with the next number", |next| {
        next["process"] == line["process"] && next["sequence"] == number + 1
    });

    let mut written = Vec::new();
    eventually("the log takes lines again", || {
        written.extend(pipe.read());
        (!audit_is_stalled(&guard)).then_some(())
    });
    delete();
    written.extend(pipe.read());
    let written = String::from_utf8(written).unwrap();
    let last = format!(r#""sequence":{}"#, number + 2);
    assert!(written.contains(&last), "{written}");

    pipe.fill();
    delete();
    assert!(audit_is_stalled(&guard));
    let status = guard.stop().expect("the guard ends by itself");
    assert_eq!(status.code(), Some(0));
}
