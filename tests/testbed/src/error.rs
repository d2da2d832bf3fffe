//! Errors while the environment is set up.

use std::{io, path::PathBuf, process::ExitStatus, time::Duration};

/// Why a part of the environment could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or directory could not be used.
    #[error("failed to {action} {path:?}: {source}")]
    File {
        /// The action, as a verb.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },

    /// There is no directory for built binaries.
    #[error(
        "failed to choose a cache directory: set HELM_GUARD_TEST_CACHE, XDG_CACHE_HOME or HOME"
    )]
    NoCache,

    /// An environment variable names a missing binary.
    #[error("failed to use {variable}: there is no file {path:?}")]
    MissingBinary {
        /// The environment variable.
        variable: String,
        /// Its value.
        path: PathBuf,
    },

    /// The Go toolchain is needed and missing.
    #[error(
        "failed to build {binary}: there is no `go` on PATH. Install Go 1.26 or newer (https://go.dev/dl), \
         or give the binary with {variable}"
    )]
    NoGo {
        /// The artifact.
        binary: &'static str,
        /// The environment variable for a prebuilt binary.
        variable: String,
    },

    /// A program could not be started at all.
    #[error("failed to run {program:?}: {source}")]
    Spawn {
        /// What was to be run.
        program: PathBuf,
        /// The system's answer.
        source: io::Error,
    },

    /// The Go toolchain could not build a binary.
    #[error("failed to build {binary}: go ended with {status}:\n{output}")]
    Build {
        /// What was to be built.
        binary: &'static str,
        /// The exit status of go.
        status: ExitStatus,
        /// What it printed on standard error.
        output: String,
    },

    /// A certificate could not be made.
    #[error("failed to make a certificate for {name}: {source}")]
    Certificate {
        /// The subject.
        name: String,
        /// The cause.
        source: rcgen::Error,
    },

    /// A component exited unexpectedly.
    #[error(
        "failed to keep {component} running: it ended with {status}; the end of its log:\n{tail}"
    )]
    Ended {
        /// Its name: `kube-apiserver`.
        component: String,
        /// How it ended.
        status: ExitStatus,
        /// The last lines of its log.
        tail: String,
    },

    /// A condition did not come true in time.
    #[error("failed to see {what} within {waited:?}; last seen:\n{tail}")]
    NotReady {
        /// The condition.
        what: String,
        /// The timeout.
        waited: Duration,
        /// The last answer or the last lines of the log.
        tail: String,
    },

    /// A command that sets up the environment failed.
    #[error("failed to set up the control plane: {0}")]
    SetUp(String),
}

impl Error {
    /// Whether a retry with other ports may help.
    pub(crate) fn port_was_taken(&self) -> bool {
        // Go and Rust write it differently.
        let says_so = |tail: &str| tail.to_lowercase().contains("address already in use");
        matches!(self, Self::Ended { tail, .. } if says_so(tail))
    }
}

/// Adds the action and the file to an I/O error.
pub(crate) fn on_file<T>(
    result: io::Result<T>,
    action: &'static str,
    path: &std::path::Path,
) -> Result<T, Error> {
    result.map_err(|source| Error::File {
        action,
        path: path.to_owned(),
        source,
    })
}
