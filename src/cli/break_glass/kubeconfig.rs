//! Writes a kubeconfig with the token of the emergency account: readable only by its owner, written
//! atomically, and without overwriting another file.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use base64::{Engine, prelude::BASE64_STANDARD};
use kube::config::{Cluster, Kubeconfig};
use serde_json::{Value, json};

use super::token::TokenArgs;
use crate::{
    cli::output::{self, Format},
    cluster::client::KubeconfigSelection,
};

/// Fails before a grant is created if the file exists.
pub(super) fn check_file(args: &TokenArgs) -> anyhow::Result<()> {
    if !args.no_token && !args.force && args.file.symlink_metadata().is_ok() {
        bail!(
            "{} already exists: use --force to overwrite it, or another --write-kubeconfig",
            args.file.display()
        );
    }
    Ok(())
}

/// Writes the file. It contains the cluster of the current context, and nothing else from the user's kubeconfig.
pub(super) fn write(
    target: &KubeconfigSelection,
    args: &TokenArgs,
    (user, namespace): (&str, &str),
    token: &str,
) -> anyhow::Result<()> {
    let cluster = cluster(target)?;
    let config = config(&cluster, (user, namespace), token)?;
    let text = output::encode(Format::Yaml, &config)?.unwrap_or_default();
    write_atomically(&args.file, text.as_bytes(), args.force)
        .with_context(|| format!("failed to write {}", args.file.display()))
}

fn config(
    cluster: &Cluster,
    (user, namespace): (&str, &str),
    token: &str,
) -> anyhow::Result<Value> {
    let mut cluster = serde_json::to_value(cluster)?;
    if let Some(fields) = cluster.as_object_mut()
        && let Some(file) = fields.remove("certificate-authority")
        && !fields.contains_key("certificate-authority-data")
    {
        let path = PathBuf::from(file.as_str().unwrap_or_default());
        let pem = fs::read(&path).with_context(|| format!("failed to read {}", path.display()))?;
        fields.insert(
            "certificate-authority-data".to_owned(),
            Value::from(BASE64_STANDARD.encode(pem)),
        );
    }
    Ok(json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "emergency",
        "clusters": [{"name": "cluster", "cluster": cluster}],
        "users": [{"name": user, "user": {"token": token}}],
        "contexts": [{"name": "emergency", "context": {
            "cluster": "cluster", "user": user, "namespace": namespace,
        }}],
    }))
}

fn cluster(target: &KubeconfigSelection) -> anyhow::Result<Cluster> {
    let failed = "failed to read the kubeconfig (in a Pod, use --no-token)";
    let kubeconfig = match &target.kubeconfig {
        Some(path) => Kubeconfig::read_from(path),
        None => Kubeconfig::read(),
    }
    .context(failed)?;
    let context = target
        .context
        .clone()
        .or_else(|| kubeconfig.current_context.clone())
        .context("the kubeconfig has no current context")?;
    let name = kubeconfig
        .contexts
        .iter()
        .find(|named| named.name == context)
        .and_then(|named| named.context.as_ref())
        .map(|context| context.cluster.clone());
    kubeconfig
        .clusters
        .into_iter()
        .find(|named| Some(&named.name) == name.as_ref())
        .and_then(|named| named.cluster)
        .with_context(|| format!("the kubeconfig has no cluster for its context {context:?}"))
}

/// Writes a temporary file with the right mode from the start, and renames it.
fn write_atomically(path: &Path, bytes: &[u8], force: bool) -> anyhow::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}.new", std::process::id()));
    let temporary = PathBuf::from(temporary);
    let written = (|| -> anyhow::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        if force {
            fs::rename(&temporary, path)?;
        } else {
            // Unlike a rename, this fails if the file exists by now.
            fs::hard_link(&temporary, path)?;
        }
        Ok(())
    })();
    // With --force, it was renamed already.
    let _ = fs::remove_file(&temporary);
    written
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn only_the_owner_can_read_the_kubeconfig_and_files_are_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("emergency.yaml");
        write_atomically(&path, b"one", false).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(write_atomically(&path, b"two", false).is_err());
        assert_eq!(fs::read(&path).unwrap(), b"one");
        write_atomically(&path, b"three", true).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"three");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn the_kubeconfig_has_the_cluster_and_token_without_references_to_files() {
        let folder = tempfile::tempdir().unwrap();
        let ca = folder.path().join("ca.crt");
        fs::write(&ca, "PEM").unwrap();
        let cluster = Cluster {
            server: Some("https://api.example:6443".to_owned()),
            certificate_authority: Some(ca.display().to_string()),
            ..Cluster::default()
        };
        let config = config(&cluster, ("emergency-ops", "shop"), "TOKEN").unwrap();
        let cluster = &config["clusters"][0]["cluster"];
        assert_eq!(cluster["server"], "https://api.example:6443");
        assert_eq!(cluster["certificate-authority-data"], "UEVN");
        assert!(cluster["certificate-authority"].is_null());
        assert_eq!(config["users"][0]["user"], json!({"token": "TOKEN"}));
        assert_eq!(config["contexts"][0]["context"]["namespace"], "shop");
    }
}
