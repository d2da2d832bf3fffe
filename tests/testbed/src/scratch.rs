//! The temporary directory of a control plane, removed however this process ends.

use std::{
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
};

use tempfile::TempDir;

use crate::error::Error;

/// Waits for our end of the pipe to close, then removes the directory `$1`. Components that are being
/// killed at the same moment may still write there: hence more than one try.
const JANITOR: &str = r#"
cat >/dev/null
tries=0
until rm -rf -- "$1" 2>/dev/null && [ ! -e "$1" ]; do
    tries=$((tries + 1))
    [ "$tries" -lt 100 ] || exit 1
    sleep 0.1
done
"#;

/// A directory that is removed with this value or this process. `HELM_GUARD_TEST_KEEP=1` keeps it,
/// to read the logs of a failure.
#[derive(Debug)]
pub(crate) struct Scratch {
    dir: TempDir,
    janitor: Option<(Child, ChildStdin)>,
}

impl Scratch {
    pub(crate) fn new() -> Result<Self, Error> {
        let mut dir = tempfile::Builder::new()
            .prefix("helm-guard-testbed-")
            .tempdir()
            .map_err(|source| Error::File {
                action: "create a directory in",
                path: std::env::temp_dir(),
                source,
            })?;
        if std::env::var_os("HELM_GUARD_TEST_KEEP").is_some_and(|keep| keep == "1") {
            dir.disable_cleanup(true);
            eprintln!("testbed: keeping {}", dir.path().display());
            return Ok(Self { dir, janitor: None });
        }
        let mut janitor = Command::new("sh")
            .args(["-c", JANITOR, "janitor"])
            .arg(dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(|source| Error::Spawn {
                program: "sh".into(),
                source,
            })?;
        let pipe = janitor.stdin.take();
        Ok(Self {
            dir,
            janitor: pipe.map(|pipe| (janitor, pipe)),
        })
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Some((mut janitor, pipe)) = self.janitor.take() {
            drop(pipe);
            // Dropping the directory removes the rest, if the janitor has failed.
            let _ = janitor.wait();
        }
    }
}
