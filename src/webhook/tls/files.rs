//! A certificate and key in files that are renewed externally: by cert-manager through a mounted
//! Secret, or by an administrator.
//!
//! The files are read again and compared by content, not watched: a kubelet replaces a mounted
//! Secret by swapping the `..data` symlink, after which a watch on the file sees nothing more.

use std::path::{Path, PathBuf};

use thiserror::Error;
use tokio::fs;

use super::Pair;

/// The two files, and the CA next to them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// PEM chain, the leaf first.
    pub certificate: PathBuf,
    /// PEM private key.
    pub key: PathBuf,
}

/// A file could not be read.
#[derive(Debug, Error)]
#[error("failed to read {}: {source}", path.display())]
pub struct FileError {
    /// Which.
    pub path: PathBuf,
    /// Why.
    pub source: std::io::Error,
}

/// Reads the pair. The CA bundle is the file `ca.crt` next to the certificate, if it exists (so a
/// mounted Secret of type kubernetes.io/tls has it); without it the API server's own trust store
/// decides.
///
/// A reader may see the new certificate with the old key: such a pair does not match, is not
/// installed, and is read again.
pub async fn read(files: &Files) -> Result<Pair, FileError> {
    let ca_file = files.certificate.with_file_name("ca.crt");
    let ca_bundle = match fs::read_to_string(&ca_file).await {
        Ok(text) => Some(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(source) => {
            return Err(FileError {
                path: ca_file,
                source,
            });
        }
    };
    Ok(Pair {
        chain: text(&files.certificate).await?,
        key: text(&files.key).await?,
        ca_bundle,
    })
}

async fn text(path: &Path) -> Result<String, FileError> {
    let read = fs::read_to_string(path).await;
    read.map_err(|source| FileError {
        path: path.to_owned(),
        source,
    })
}
