//! A policy from `--policy`. Of the object in the cluster, only the kill switch is used.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use helm_guard_core::policy::{
    Policy, PolicyError,
    document::{self, MAX_BYTES},
    suspension::Suspension,
};
use kube::Client;

use super::{
    PolicyKeeper,
    status::{Loaded, Origin},
};
use crate::cluster::policies::{PolicyWatch, SeenPolicy};

/// How often the file is read. A mounted `ConfigMap` takes a minute to update anyway.
pub(super) const POLL_INTERVAL: Duration = Duration::from_secs(2);

/// Reads a policy from a file.
pub(in crate::cli::serve) fn read(path: &Path) -> anyhow::Result<(String, Policy)> {
    let text = text(path)?;
    let policy = compiled(&text).with_context(|| path.display().to_string())?;
    Ok((text, policy))
}

fn text(path: &Path) -> anyhow::Result<String> {
    use std::io::Read as _;
    let mut text = String::new();
    let limit = u64::try_from(MAX_BYTES)? + 1;
    std::fs::File::open(path)
        .and_then(|file| file.take(limit).read_to_string(&mut text))
        .with_context(|| format!("failed to read {}", path.display()))?;
    Ok(text)
}

pub(super) fn compiled(text: &str) -> Result<Policy, PolicyError> {
    Policy::compile(&document::parse(text)?)
}

impl PolicyKeeper {
    /// Follows a file, starting with the text that was read at startup, and the kill switch of the object in the
    /// cluster. Does not return.
    pub(in crate::cli::serve) async fn follow_file(
        mut self,
        client: Client,
        path: PathBuf,
        mut last: String,
    ) {
        self.status.set(|state| state.loaded.origin = Origin::File);
        if let Some(notice) = self.put() {
            self.recorder.notice(notice).await;
        }
        let mut watch = PolicyWatch::new(client, self.terms.grace);
        let mut ticks = tokio::time::interval(POLL_INTERVAL);
        let (mut unread, mut failing) = (None, None);
        loop {
            tokio::select! {
                _ = ticks.tick() => self.reload(&path, &mut last, &mut unread).await,
                seen = watch.next() => match seen {
                    Some(seen) => self.update_switch(seen, &mut failing).await,
                    None => return,
                },
            }
        }
    }

    /// Reads the file again. `unread` is the last reported read error.
    async fn reload(&mut self, path: &Path, last: &mut String, unread: &mut Option<String>) {
        match text(path) {
            Ok(text) if text == *last => {
                if unread.take().is_some() {
                    self.status.set(|state| state.error = None);
                }
            }
            Ok(text) => {
                *unread = None;
                match compiled(&text) {
                    Ok(policy) => {
                        let version = format!("file/{}", self.status.get().taken);
                        let loaded = Loaded::from(Origin::File);
                        self.take(Arc::new(policy), loaded, &version).await;
                    }
                    Err(error) => self.refuse(format!("{}: {error}", path.display())),
                }
                *last = text;
            }
            // Reported once, and not at every read.
            Err(error) => {
                let error = format!("{error:#}");
                if unread.as_ref() != Some(&error) {
                    self.refuse(error.clone());
                    *unread = Some(error);
                }
            }
        }
    }

    /// With a policy file, only the kill switch of the object is used.
    async fn update_switch(&mut self, seen: SeenPolicy, failing: &mut Option<String>) {
        let notice = match seen {
            SeenPolicy::Object(object) => {
                let spec = object.data.get("spec").unwrap_or(&serde_json::Value::Null);
                self.set_switch(Suspension::in_document(spec)).await
            }
            SeenPolicy::Absent => self.set_switch(None).await,
            SeenPolicy::Missing => None,
            SeenPolicy::Unknown(failure) => return self.unknown(&failure, failing),
        };
        *failing = None;
        self.status.set(|state| state.has_looked = true);
        if let Some(notice) = notice {
            self.recorder.notice(notice).await;
        }
    }
}
