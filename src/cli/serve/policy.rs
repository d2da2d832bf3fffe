//! Which policy is in force: that of `--policy`, else that of the object in the cluster, else that of
//! the flags.
//!
//! Invariant: a policy that is wrong never takes the place of a good one. What is wrong is in the log,
//! in metrics, and in the object's status.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{Client, api::DynamicObject};
use parking_lot::Mutex;

use crate::{
    api::GuardPolicyStatus,
    cluster::policies::{self, PolicyWatch, Seen},
    policy::{
        Live, Policy, PolicyError,
        document::{self, MAX_BYTES},
    },
    record::{alerts::Alerts, metrics::figures::PolicyFigures},
    webhook::{admin, answer::text::cut},
};

/// How often the file is looked at. A mounted `ConfigMap` takes a minute to follow anyway.
const LOOK: Duration = Duration::from_secs(2);

/// The longest error in the object's status, in bytes.
const STATUS_BYTES: usize = 4 * 1024;

/// Where the policy comes from that is in force.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Origin {
    #[default]
    Flags,
    File,
    Object,
}

/// What is known of the policy in force, for probes and metrics.
#[derive(Debug, Default)]
pub(super) struct Standing(Mutex<State>);

#[derive(Clone, Debug, Default)]
struct State {
    origin: Origin,
    generation: i64,
    /// Whether it has been found out what there is.
    has_looked: bool,
    /// What is wrong with what was read last.
    error: Option<String>,
    loaded: u64,
    refused: u64,
}

impl Standing {
    pub(super) fn health(&self) -> admin::Health {
        let state = self.0.lock();
        match (&state.error, state.has_looked) {
            (Some(error), _) => admin::Health::Degraded(error.clone()),
            (None, false) => admin::Health::Missing("not read yet".to_owned()),
            (None, true) => admin::Health::Ok,
        }
    }

    pub(super) fn figures(&self) -> PolicyFigures {
        let state = self.0.lock();
        PolicyFigures {
            source: match state.origin {
                Origin::Flags => "flags",
                Origin::File => "file",
                Origin::Object => "object",
            },
            generation: state.generation,
            last_reload_successful: state.error.is_none(),
            reloads: vec![("ok", state.loaded), ("error", state.refused)],
        }
    }

    /// Until it is known what there is: a guard must not refuse what the policy would let pass.
    pub(super) async fn known(&self) {
        while !self.0.lock().has_looked {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Reads a policy from a file.
pub(in crate::cli) fn read(path: &Path) -> anyhow::Result<(String, Policy)> {
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

fn compiled(text: &str) -> Result<Policy, PolicyError> {
    Policy::compile(&document::parse(text)?)
}

/// The one that keeps the policy in force up to date.
pub(super) struct Keeper {
    pub(super) live: Live,
    pub(super) standing: Arc<Standing>,
    /// Where its sinks are to be known.
    pub(super) alerts: Alerts,
}

impl Keeper {
    /// Takes a policy over.
    fn take(&self, policy: Arc<Policy>, origin: Origin, generation: i64) {
        let mode = policy.default_mode().as_str();
        self.alerts.apply(policy.alerts());
        self.live.store(policy);
        let mut state = self.standing.0.lock();
        state.origin = origin;
        state.generation = generation;
        state.has_looked = true;
        state.error = None;
        state.loaded += 1;
        drop(state);
        tracing::info!(?origin, generation, mode, "the policy is in force");
    }

    /// Keeps the one there is.
    fn refuse(&self, error: String) {
        tracing::error!(
            error,
            "the policy is not taken over; the last good one stays in force"
        );
        let mut state = self.standing.0.lock();
        state.has_looked = true;
        state.error = Some(error);
        state.refused += 1;
    }

    /// Follows a file, from the text that was read at the start. Does not return.
    pub(super) async fn follow_file(self, path: PathBuf, mut last: String) {
        {
            let mut state = self.standing.0.lock();
            state.origin = Origin::File;
            state.has_looked = true;
        }
        let mut unread = None;
        loop {
            tokio::time::sleep(LOOK).await;
            match text(&path) {
                Ok(text) if text == last => {
                    if unread.take().is_some() {
                        self.standing.0.lock().error = None;
                    }
                }
                Ok(text) => {
                    unread = None;
                    match compiled(&text) {
                        Ok(policy) => self.take(Arc::new(policy), Origin::File, 0),
                        Err(error) => self.refuse(format!("{}: {error}", path.display())),
                    }
                    last = text;
                }
                // Said once, and not every time it is looked at.
                Err(error) => {
                    let error = format!("{error:#}");
                    if unread.as_ref() != Some(&error) {
                        self.refuse(error.clone());
                        unread = Some(error);
                    }
                }
            }
        }
    }

    /// Follows the object in the cluster. Does not return.
    pub(super) async fn follow_object(self, client: Client) {
        let flags = self.live.load_full();
        let mut watch = PolicyWatch::new(client.clone());
        let mut failing = None;
        while let Some(seen) = watch.next().await {
            match seen {
                Seen::Object(object) => self.judge(&client, &object).await,
                Seen::Absent => {
                    let state = self.standing.0.lock().clone();
                    let is_new = state.origin != Origin::Flags || state.error.is_some();
                    if is_new {
                        self.take(Arc::clone(&flags), Origin::Flags, 0);
                    }
                    self.standing.0.lock().has_looked = true;
                }
                Seen::Unknown(failure) => {
                    // Without the right to look there is nothing to wait for.
                    if failure.is_forbidden() {
                        self.standing.0.lock().has_looked = true;
                    }
                    let text = failure.to_string();
                    if failing.as_ref() != Some(&text) {
                        tracing::warn!(error = text, "failed to watch the policy; trying again");
                        failing = Some(text);
                    }
                    continue;
                }
            }
            failing = None;
        }
    }

    async fn judge(&self, client: &Client, object: &DynamicObject) {
        let generation = object.metadata.generation.unwrap_or_default();
        let spec = object.data.get("spec").cloned().unwrap_or_default();
        let policy = document::spec(&spec).and_then(|spec| Policy::compile(&spec));
        let mut error = String::new();
        match policy {
            Ok(policy) => {
                let state = self.standing.0.lock().clone();
                let is_new = (state.origin, state.generation) != (Origin::Object, generation)
                    || state.error.is_some();
                if is_new {
                    self.take(Arc::new(policy), Origin::Object, generation);
                }
            }
            Err(refused) => {
                error = refused.to_string();
                cut(&mut error, STATUS_BYTES);
                let is_new = self.standing.0.lock().error.as_ref() != Some(&error);
                if is_new {
                    self.refuse(error.clone());
                }
            }
        }
        let status = GuardPolicyStatus {
            observed_generation: generation,
            in_force: error.is_empty(),
            error,
            since: Some(Time(Timestamp::now())),
        };
        if says_otherwise(object, &status)
            && let Err(error) = policies::set_status(client.clone(), &status).await
        {
            tracing::warn!(%error, "failed to write the status of the policy");
        }
    }
}

/// Each replica writes, and only what is not there yet.
fn says_otherwise(object: &DynamicObject, status: &GuardPolicyStatus) -> bool {
    let written = object.data.get("status").cloned();
    let written: Option<GuardPolicyStatus> =
        written.and_then(|status| serde_json::from_value(status).ok());
    written.is_none_or(|written| {
        GuardPolicyStatus {
            since: None,
            ..written
        } != GuardPolicyStatus {
            since: None,
            ..status.clone()
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Mode;

    fn policy(mode: &str) -> String {
        format!("apiVersion: helm-guard.dev/v1alpha1\nkind: GuardPolicy\nspec: {{mode: {mode}}}\n")
    }

    async fn turns(condition: impl Fn() -> bool) {
        while !condition() {
            tokio::time::sleep(LOOK).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_is_followed_and_a_bad_one_keeps_the_last_good_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("policy.yaml");
        std::fs::write(&path, policy("Warn")).unwrap();
        let (first, loaded) = read(&path).unwrap();
        let live = loaded.live();
        let standing = Arc::<Standing>::default();
        let keeper = Keeper {
            live: Arc::clone(&live),
            standing: Arc::clone(&standing),
            alerts: Alerts::default(),
        };
        let following = tokio::spawn(keeper.follow_file(path.clone(), first));
        std::fs::write(&path, policy("Audit")).unwrap();
        turns(|| live.load().default_mode() == Mode::Audit).await;
        assert_eq!(standing.figures().source, "file");

        std::fs::write(&path, policy("Denny")).unwrap();
        turns(|| !standing.figures().last_reload_successful).await;
        assert_eq!(live.load().default_mode(), Mode::Audit);
        assert!(
            matches!(standing.health(), admin::Health::Degraded(error) if error.contains("Denny"))
        );

        std::fs::remove_file(&path).unwrap();
        turns(|| matches!(standing.health(), admin::Health::Degraded(error) if error.contains("read"))).await;
        std::fs::write(&path, policy("Deny")).unwrap();
        turns(|| standing.figures().last_reload_successful).await;
        assert_eq!(live.load().default_mode(), Mode::Deny);
        following.abort();
    }
}
