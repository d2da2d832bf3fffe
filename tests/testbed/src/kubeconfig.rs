//! Writes kubeconfig files. JSON is YAML, and every client reads it.

use std::{
    fs,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use crate::{
    certificates::Identity,
    error::{Error, on_file},
};

/// How a user proves who they are.
pub(crate) enum Credential {
    Certificate(Identity),
    Token(String),
}

/// A server and how to trust it.
pub(crate) struct Cluster<'a> {
    pub(crate) server: &'a str,
    pub(crate) authority: &'a str,
}

/// Writes `dir/name.kubeconfig`, readable by this user only, because kubectl and Helm warn otherwise.
pub(crate) fn write(
    dir: &Path,
    name: &str,
    cluster: &Cluster<'_>,
    credential: &Credential,
) -> Result<PathBuf, Error> {
    let user = match credential {
        Credential::Certificate(identity) => json!({
            "client-certificate-data": BASE64_STANDARD.encode(&identity.certificate),
            "client-key-data": BASE64_STANDARD.encode(&identity.key),
        }),
        Credential::Token(token) => json!({ "token": token }),
    };
    let config: Value = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{
            "name": "testbed",
            "cluster": {
                "server": cluster.server,
                "certificate-authority-data": BASE64_STANDARD.encode(cluster.authority),
            },
        }],
        "users": [{ "name": "user", "user": user }],
        "contexts": [{ "name": "testbed", "context": { "cluster": "testbed", "user": "user" } }],
        "current-context": "testbed",
    });
    on_file(fs::create_dir_all(dir), "create", dir)?;
    let path = dir.join(format!("{name}.kubeconfig"));
    let file = fs::OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(&path);
    on_file(
        file.and_then(|mut file| file.write_all(config.to_string().as_bytes())),
        "write",
        &path,
    )?;
    Ok(path)
}
