//! Setup of every process: crypto provider, runtime, random key.

use anyhow::Context;
use tokio::runtime::Runtime;

/// Installs the provider that rustls and kube are built with.
pub(super) fn install_crypto() {
    // An error means that it is already installed.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// A single-threaded runtime for one-shot subcommands.
pub(super) fn runtime() -> anyhow::Result<Runtime> {
    install_crypto();
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("failed to start the runtime")
}

/// A random key for hashes of redacted values. It differs in every process, so that hashes cannot be compared
/// across processes or used to guess passwords.
pub(super) fn key() -> anyhow::Result<[u8; 32]> {
    let mut key = [0; 32];
    aws_lc_rs::rand::fill(&mut key)
        .map_err(|_| anyhow::anyhow!("failed to get random bytes from the system"))?;
    Ok(key)
}
