//! Child processes that cannot outlive this process.
//!
//! Each child runs under a small shell, its watchdog, which holds the read end of a pipe whose only
//! write end is ours. The kernel closes our end whenever this process ends, even by SIGKILL; the
//! watchdog then kills the child. The pipe also carries the names of signals to send, so that we
//! never signal a process id that may by then belong to somebody else. Watchdog and child have a
//! process group of their own: Ctrl-C on the terminal reaches us alone, and we decide the order in
//! which things stop.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::Write,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::error::{Error, on_file};

/// `$1` is the file that receives the process ids, the rest is the command.
const WATCHDOG: &str = r#"
exec 3<&0 </dev/null
pids=$1
shift
"$@" 3<&- &
child=$!
echo "$$ $child" >"$pids"
{
    while read -r signal; do kill -s "$signal" "$child"; done
    kill -KILL "$child"
} <&3 3<&- >/dev/null 2>&1 &
reader=$!
exec 3<&-
wait "$child"
status=$?
kill "$reader"
exit "$status"
"#;

const POLL: Duration = Duration::from_millis(20);

/// What to start, and the files for its output: `DIR/NAME.stdout`, `DIR/NAME.stderr`, `DIR/NAME.pid`.
#[derive(Debug)]
pub struct ProcessConfig<'a> {
    /// The name in errors and file names.
    pub name: &'a str,
    /// What to run; if it is missing, the exit status is 127.
    pub program: &'a Path,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Environment variables added to ours.
    pub env: Vec<(OsString, OsString)>,
    /// Where its files go.
    pub dir: &'a Path,
}

/// A running child. Dropping it stops it.
#[derive(Debug)]
pub struct Process {
    name: String,
    files: PathBuf,
    watchdog: Child,
    pipe: Option<ChildStdin>,
}

impl Process {
    /// Starts the child under its watchdog.
    ///
    /// # Errors
    /// When its files cannot be made or the shell cannot be started. A missing program shows as a
    /// child that exits at once with status 127.
    pub fn start(config: ProcessConfig<'_>) -> Result<Self, Error> {
        let files = config.dir.join(config.name);
        let stdout = files.with_extension("stdout");
        let stderr = files.with_extension("stderr");
        let mut watchdog = Command::new("sh")
            .args(["-c", WATCHDOG, "watchdog"])
            .arg(files.with_extension("pid"))
            .arg(config.program)
            .args(&config.args)
            .envs(config.env)
            .stdin(Stdio::piped())
            .stdout(on_file(File::create(&stdout), "create", &stdout)?)
            .stderr(on_file(File::create(&stderr), "create", &stderr)?)
            .process_group(0)
            .spawn()
            .map_err(|source| Error::Spawn {
                program: "sh".into(),
                source,
            })?;
        let pipe = watchdog.stdin.take();
        Ok(Self {
            name: config.name.to_owned(),
            files,
            watchdog,
            pipe,
        })
    }

    /// The name it was started under.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its standard output so far.
    #[must_use]
    pub fn stdout(&self) -> String {
        read(&self.files.with_extension("stdout"))
    }

    /// Its standard error so far.
    #[must_use]
    pub fn stderr(&self) -> String {
        read(&self.files.with_extension("stderr"))
    }

    /// The process ids of the watchdog and the child; empty in the first moments after the start.
    #[must_use]
    pub fn pids(&self) -> Vec<u32> {
        read(&self.files.with_extension("pid"))
            .split_whitespace()
            .filter_map(|pid| pid.parse().ok())
            .collect()
    }

    /// The exit status of the child, or `None` while it runs. A child killed by signal N shows as 128 + N.
    #[must_use]
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.watchdog.try_wait().ok().flatten()
    }

    /// Fails if the child has exited, with the end of its log.
    ///
    /// # Errors
    /// [`Error::Ended`].
    pub fn check(&mut self) -> Result<(), Error> {
        match self.ended() {
            None => Ok(()),
            Some(status) => Err(Error::Ended {
                component: self.name.clone(),
                status,
                tail: self.tail(),
            }),
        }
    }

    /// The last lines of both outputs.
    #[must_use]
    pub fn tail(&self) -> String {
        let output = self.stderr() + &self.stdout();
        let lines: Vec<&str> = output.lines().collect();
        lines
            .get(lines.len().saturating_sub(25)..)
            .unwrap_or_default()
            .join("\n")
    }

    /// Sends a signal by name, for example `TERM`.
    pub fn signal(&mut self, name: &str) {
        if let Some(pipe) = &mut self.pipe {
            // A closed pipe means that the child has exited, which is what the signal is for.
            let _ = writeln!(pipe, "{name}").and_then(|()| pipe.flush());
        }
    }

    /// Waits for the child to exit by itself; `None` if it still runs after `patience`.
    pub fn wait(&mut self, patience: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + patience;
        loop {
            match self.ended() {
                Some(status) => return Some(status),
                None if Instant::now() >= deadline => return None,
                None => thread::sleep(POLL),
            }
        }
    }

    /// Asks the child to exit, kills it after `patience`, and returns its exit status.
    pub fn stop(&mut self, patience: Duration) -> Option<ExitStatus> {
        self.signal("TERM");
        self.wait(patience).or_else(|| {
            self.pipe = None;
            self.wait(Duration::from_secs(5))
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop(Duration::from_secs(5));
    }
}

/// A log is shown to people: a missing file, or bytes that are not text, must not hide the rest.
fn read(path: &Path) -> String {
    fs::read(path)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default()
}
