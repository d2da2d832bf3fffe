//! Runs Helm and kubectl as a user would, and reports the result.
//!
//! The commands do not see the home directory, configuration and caches of the user who runs the
//! tests: discovery documents cached for another cluster on the same port would be used.

use std::{
    ffi::{OsStr, OsString},
    fmt,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

/// Longer than any step of a test: a command that takes this long hangs.
const PATIENCE: Duration = Duration::from_secs(240);

/// Which Helm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HelmVersion {
    /// Helm 3: three-way merge on the client.
    V3,
    /// Helm 4: server-side apply for new releases.
    V4,
}

impl HelmVersion {
    /// Both, for tests that run once with each.
    pub const ALL: [Self; 2] = [Self::V3, Self::V4];
}

impl fmt::Display for HelmVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V3 => "helm3",
            Self::V4 => "helm4",
        })
    }
}

/// A Helm to run commands with.
#[derive(Debug, Clone)]
pub struct Helm {
    /// Which of the two; output and defaults depend on it.
    pub version: HelmVersion,
    pub(crate) program: PathBuf,
    pub(crate) home: PathBuf,
}

impl Helm {
    /// A command as the user of a kubeconfig.
    pub fn cmd(&self, kubeconfig: &Path) -> Invocation {
        // Their formats differ between the versions.
        let home = self.home.join(self.version.to_string());
        Invocation::new(&self.program, &self.home)
            .env("KUBECONFIG", kubeconfig)
            .env("HELM_CACHE_HOME", home.join("cache"))
            .env("HELM_CONFIG_HOME", home.join("config"))
            .env("HELM_DATA_HOME", home.join("data"))
    }
}

/// A kubectl to run commands with.
#[derive(Debug, Clone)]
pub struct Kubectl {
    pub(crate) program: PathBuf,
    pub(crate) home: PathBuf,
}

impl Kubectl {
    /// A command as the user of a kubeconfig.
    pub fn cmd(&self, kubeconfig: &Path) -> Invocation {
        Invocation::new(&self.program, &self.home).env("KUBECONFIG", kubeconfig)
    }
}

/// A command line to run.
#[derive(Debug)]
pub struct Invocation {
    command: Command,
    stdin: Option<Vec<u8>>,
}

impl Invocation {
    pub(crate) fn new(program: &Path, home: &Path) -> Self {
        let mut command = Command::new(program);
        command
            .env("HOME", home)
            .env("KUBECACHEDIR", home.join("kube-cache"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("HELM_") {
                command.env_remove(name);
            }
        }
        Self {
            command,
            stdin: None,
        }
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.command.args(args);
        self
    }

    /// Adds an environment variable.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Adds environment variables.
    #[must_use]
    pub fn envs<K: AsRef<OsStr>, V: AsRef<OsStr>>(
        mut self,
        variables: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        self.command.envs(variables);
        self
    }

    /// Sets the directory to run it in.
    #[must_use]
    pub fn dir(mut self, path: &Path) -> Self {
        self.command.current_dir(path);
        self
    }

    /// Sets its standard input, for example a manifest for `kubectl apply -f -`.
    #[must_use]
    pub fn stdin(mut self, text: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(text.into());
        self
    }

    /// Starts it and does not wait, for tests that interrupt it.
    pub fn spawn(mut self) -> Child {
        let child = self
            .command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        child.unwrap_or_else(|error| panic!("failed to run {}: {error}", self.line()))
    }

    /// Runs it to its end, whether it succeeds or fails. Panics if it does not start or does not end.
    pub fn run(self) -> Output {
        let line = self.line();
        self.try_run()
            .unwrap_or_else(|error| panic!("failed to run {line}: {error}"))
    }

    /// Runs it to its end, or returns why that failed.
    pub(crate) fn try_run(mut self) -> io::Result<Output> {
        let line = self.line();
        let stdin = if self.stdin.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        };
        let mut child = self
            .command
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let (stdin, stdout, stderr) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take());
        thread::scope(|scope| {
            if let (Some(mut pipe), Some(text)) = (stdin, self.stdin.as_deref()) {
                // It need not read all of it: it may fail first, which shows in the status.
                scope.spawn(move || drop(pipe.write_all(text)));
            }
            let stdout = scope.spawn(|| read(stdout));
            let stderr = scope.spawn(|| read(stderr));
            let status = wait(&mut child)?;
            let [stdout, stderr] = [stdout, stderr].map(|text| text.join().unwrap_or_default());
            Ok(Output {
                line,
                status,
                stdout,
                stderr,
            })
        })
    }

    /// Runs it and panics unless it succeeded.
    pub fn ok(self) -> Output {
        self.run().ok()
    }

    /// Runs it and panics unless it failed.
    pub fn refused(self) -> Output {
        self.run().refused()
    }

    fn line(&self) -> String {
        let quote = |word: &OsStr| {
            let word = word.to_string_lossy().into_owned();
            if word.is_empty() || word.contains([' ', '\n', '"', '\'']) {
                format!("{word:?}")
            } else {
                word
            }
        };
        let program = Path::new(self.command.get_program())
            .file_name()
            .unwrap_or_default();
        let words: Vec<OsString> = self.command.get_args().map(OsStr::to_owned).collect();
        std::iter::once(program)
            .chain(words.iter().map(OsString::as_os_str))
            .map(quote)
            .collect::<Vec<_>>()
            .join(" ")
    }
}

fn read(pipe: Option<impl Read>) -> String {
    let mut bytes = Vec::new();
    if let Some(mut pipe) = pipe {
        // Output read before an error is still useful.
        let _ = pipe.read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// std has no wait with a timeout.
fn wait(child: &mut Child) -> io::Result<ExitStatus> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match child.try_wait()? {
            Some(status) => return Ok(status),
            None if Instant::now() < deadline => thread::sleep(Duration::from_millis(3)),
            None => {
                // The threads that read its output end with it.
                child.kill()?;
                child.wait()?;
                return Err(io::Error::other(format!(
                    "it was still running after {PATIENCE:?}"
                )));
            }
        }
    }
}

/// The result of a command.
#[derive(Debug, Clone)]
pub struct Output {
    /// The command line, for messages.
    pub line: String,
    /// How it exited; a signal shows as no code.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error: errors, and the warnings of the API server.
    pub stderr: String,
}

impl Output {
    /// Panics unless the command succeeded.
    pub fn ok(self) -> Self {
        assert!(
            self.status.success(),
            "{}\nended with {}, but should succeed:\n{}{}",
            self.line,
            self.status,
            self.stderr,
            self.stdout
        );
        self
    }

    /// Panics unless the command failed.
    pub fn refused(self) -> Self {
        assert!(
            !self.status.success(),
            "{}\nsucceeded, but should be refused:\n{}{}",
            self.line,
            self.stderr,
            self.stdout
        );
        self
    }

    /// Standard output as JSON. Panics when it is not.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| {
            panic!("{}\nshould print JSON: {error}\n{}", self.line, self.stdout)
        })
    }

    /// Whether either output contains the text.
    pub fn says(&self, text: &str) -> bool {
        self.stderr.contains(text) || self.stdout.contains(text)
    }
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use super::*;

    fn sh(script: &str) -> Invocation {
        Invocation::new(Path::new("/bin/sh"), Path::new("/nonexistent")).args(["-c", script])
    }

    #[test]
    fn an_output_holds_both_streams_and_the_status() {
        let output = sh("cat; echo gone wrong >&2; exit 3")
            .stdin("{\"a\": 1}")
            .refused();
        assert_eq!(output.status.code(), Some(3));
        assert_eq!(output.json()["a"], 1);
        assert!(output.says("gone wrong"));
    }

    #[test]
    fn output_larger_than_a_pipe_does_not_block() {
        let output =
            sh("head -c 300000 /dev/zero | tr '\\0' x; head -c 300000 /dev/zero | tr '\\0' y >&2")
                .ok();
        assert_eq!(
            (output.stdout.len(), output.stderr.len()),
            (300_000, 300_000)
        );
    }

    #[test]
    fn an_unexpected_failure_shows_the_output_of_the_command() {
        let panic = catch_unwind(|| sh("echo the reason >&2; false").ok()).unwrap_err();
        let text = panic.downcast_ref::<String>().unwrap();
        assert!(
            text.contains("the reason") && text.contains("sh -c"),
            "{text}"
        );
        let panic = catch_unwind(|| sh("echo done").refused()).unwrap_err();
        assert!(panic.downcast_ref::<String>().unwrap().contains("done"));
    }

    #[test]
    fn the_home_of_the_user_is_out_of_reach() {
        assert_eq!(sh("printf %s \"$HOME\"").ok().stdout, "/nonexistent");
    }
}
