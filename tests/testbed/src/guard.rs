//! Runs the guard under test against a control plane.

use std::{
    ffi::OsString,
    fmt::Write,
    path::Path,
    process::ExitStatus,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    ControlPlane, Response,
    control_plane::{FailOpen, free_ports, host_address, number},
    error::Error,
    http_get,
    process::{Process, ProcessConfig},
};

/// How the API server reaches a guard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Address<'a> {
    /// Through a URL on loopback.
    Url,
    /// Through a Service, `NAMESPACE/NAME`, that the test creates, with an `EndpointSlice` of
    /// [`Guard::listen_addr`].
    Service(&'a str),
}

/// How to run `helm-guard serve`.
#[derive(Debug, Clone)]
pub struct GuardConfig<'a> {
    /// The binary; `env!("CARGO_BIN_EXE_helm-guard")` in an integration test.
    pub binary: &'a Path,
    /// The kubeconfig for the API server.
    pub kubeconfig: &'a Path,
    /// `Deny`, `Warn` or `Audit`; empty if a policy sets it.
    pub mode: &'a str,
    /// How the API server reaches it.
    pub address: Address<'a>,
    /// Further arguments, for example `--break-glass-user`.
    pub args: Vec<OsString>,
    /// Environment variables added to ours.
    pub env: Vec<(OsString, OsString)>,
}

impl<'a> GuardConfig<'a> {
    /// A guard in this mode, without further arguments.
    pub fn new(binary: &'a Path, kubeconfig: &'a Path, mode: &'a str) -> Self {
        Self {
            binary,
            kubeconfig,
            mode,
            address: Address::Url,
            args: Vec::new(),
            env: Vec::new(),
        }
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<S: Into<OsString>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }
}

/// A guard that serves and is registered with the API server. It registers one configuration for the
/// whole cluster: tests that run at the same time share one guard, or take a control plane each.
#[derive(Debug)]
pub struct Guard {
    process: Process,
    listen: String,
    admin: String,
    fail_open: Arc<FailOpen>,
    /// Whether a call that it does not answer is a finding: from when it is ready until it receives the
    /// signal to exit.
    must_answer: bool,
}

/// How long the first read of all releases may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

impl Guard {
    /// Starts it on free ports of loopback and waits until `/readyz` is OK.
    ///
    /// # Errors
    /// When it exits, or is not ready within a minute; with the end of its log.
    #[allow(
        clippy::needless_pass_by_value,
        reason = "each caller makes one for it"
    )]
    pub fn start(plane: &ControlPlane, config: GuardConfig<'_>) -> Result<Self, Error> {
        // Between choosing a free port and listening on it, another process can take it.
        let mut tries = 0;
        loop {
            tries += 1;
            let mut guard = Self::spawn(plane, config.clone())?;
            match guard.await_ready() {
                Ok(()) => return Ok(guard),
                Err(error) if error.port_was_taken() && tries < 3 => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Starts it and does not wait, for tests of its behavior before it is ready.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn(plane: &ControlPlane, config: GuardConfig<'_>) -> Result<Self, Error> {
        let name = format!("helm-guard-{}", number());
        let [port, admin] = free_ports()?;
        let admin = format!("127.0.0.1:{admin}");
        let (listen, registration) = match config.address {
            Address::Url => {
                let listen = format!("127.0.0.1:{port}");
                let url = format!("https://{listen}");
                (listen, ("--register-url", url))
            }
            Address::Service(service) => {
                let listen = format!("{}:{port}", host_address()?);
                (listen, ("--register-service", service.to_owned()))
            }
        };
        let mut args: Vec<OsString> = vec!["serve".into()];
        for (flag, value) in [
            ("--listen", listen.as_str()),
            ("--admin-listen", &admin),
            (registration.0, &registration.1),
            ("--mode", config.mode),
        ] {
            if !value.is_empty() {
                args.extend([flag.into(), value.into()]);
            }
        }
        args.extend(["--kubeconfig".into(), config.kubeconfig.into()]);
        // One of several replicas must not remove the registration of the others when it exits.
        if config.address == Address::Url {
            args.push("--unregister-on-exit".into());
        }
        args.extend(config.args);
        let process = Process::start(ProcessConfig {
            name: &name,
            program: config.binary,
            args,
            env: config.env,
            dir: plane.scratch(),
        })?;
        Ok(Self {
            process,
            listen,
            admin,
            fail_open: Arc::clone(plane.fail_open()),
            must_answer: false,
        })
    }

    /// Waits until `/readyz` is OK.
    ///
    /// # Errors
    /// As [`Guard::start`].
    pub fn await_ready(&mut self) -> Result<(), Error> {
        let url = self.admin_url("/readyz");
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.process.check()?;
            let answer = http_get(&url);
            if answer.as_ref().is_ok_and(|response| response.status == 200) {
                if !self.must_answer {
                    self.must_answer = true;
                    self.fail_open.begin();
                }
                return Ok(());
            }
            if Instant::now() >= deadline {
                let mut tail = self.process.tail();
                // Writing to a string cannot fail.
                let _ = write!(tail, "\n{url}: {answer:?}");
                return Err(Error::NotReady {
                    what: "a ready helm-guard".to_owned(),
                    waited: PATIENCE,
                    tail,
                });
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// `HOST:PORT` of the webhook, TLS.
    pub fn listen_addr(&self) -> &str {
        &self.listen
    }

    /// The address of an admin endpoint, for example `/metrics`.
    pub fn admin_url(&self, path: &str) -> String {
        format!("http://{}{path}", self.admin)
    }

    /// Gets an admin endpoint. Panics when it does not answer.
    pub fn admin_get(&self, path: &str) -> Response {
        let url = self.admin_url(path);
        http_get(&url)
            .unwrap_or_else(|error| panic!("failed to get {url}: {error}\n{}", self.process.tail()))
    }

    /// Its standard output so far.
    pub fn stdout(&self) -> String {
        self.process.stdout()
    }

    /// Its standard error so far.
    pub fn stderr(&self) -> String {
        self.process.stderr()
    }

    /// The JSON lines of both outputs; other lines are left out.
    pub fn log(&self) -> Vec<Value> {
        let output = self.stdout() + "\n" + &self.stderr();
        output
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .filter(Value::is_object)
            .collect()
    }

    /// Waits for a log line that the predicate accepts. Panics when none comes in a minute.
    pub fn await_log(&self, what: &str, accepts: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            if let Some(line) = self.log().into_iter().find(&accepts) {
                return line;
            }
            assert!(
                Instant::now() < deadline,
                "the guard should log {what}; the end of its log:\n{}",
                self.process.tail()
            );
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// The process ids of its watchdog and of the guard itself.
    pub fn pids(&self) -> Vec<u32> {
        self.process.pids()
    }

    /// From now on, the API server may get no answer from it. Panics if it already missed one.
    pub fn may_miss_calls(&mut self) {
        if !self.must_answer {
            return;
        }
        self.must_answer = false;
        let missed = self.fail_open.end();
        // A failed test has given its own reason.
        if !thread::panicking() {
            missed.report();
        }
    }

    /// Sends a signal by name, for example `TERM`, and does not wait. The guard may miss calls from then on.
    pub fn signal(&mut self, name: &str) {
        self.may_miss_calls();
        self.process.signal(name);
    }

    /// Sends SIGTERM and returns the exit status; `None` if it had to be killed after 30 s.
    pub fn stop(mut self) -> Option<ExitStatus> {
        self.signal("TERM");
        self.process.wait(Duration::from_secs(30))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.may_miss_calls();
    }
}
