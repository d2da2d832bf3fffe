//! What a process of the guard needs before anything else.

use anyhow::Context;
use tokio::runtime::Runtime;

/// The one provider that rustls and kube are built with.
pub(super) fn install_crypto() {
    // An error says that it is there already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// A runtime for a subcommand that asks once: one thread is enough.
pub(super) fn runtime() -> anyhow::Result<Runtime> {
    install_crypto();
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("failed to start the runtime")
}

/// Hashes of redacted values are keyed differently by every process: nobody can compare them with those
/// of another day, or try passwords against them.
pub(super) fn key() -> anyhow::Result<[u8; 32]> {
    let mut key = [0; 32];
    aws_lc_rs::rand::fill(&mut key)
        .map_err(|_| anyhow::anyhow!("failed to get random bytes from the system"))?;
    Ok(key)
}
