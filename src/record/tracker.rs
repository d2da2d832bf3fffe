//! Follows emergency changes until they are resolved. Only the leader runs this.
//!
//! Invariants
//! - The rules are in [`helm_guard_core::breakglass::resolution`]; this module feeds them with what it observes.
//! - A state is written with the resource version that it was computed from, and announced (event, metric)
//!   after the write and by its writer. With two leaders, or after a restart, it is announced once.
//! - Alerts are sent at least once: the change lists the alerts that a sink has accepted
//!   (`status.announced`), and the current leader sends those that are missing ([`announcing`]).
//! - All state is in the cluster: a new leader continues where the last one stopped.
//!
//! Start at [`Tracker::run`].

mod announcing;
mod change;
mod grouping;
mod queue;
#[cfg(test)]
mod tests;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::StreamExt;
use helm_guard_core::{
    api::{BreakGlassGrant, ChangeState, EmergencyChange, EmergencyChangeStatus},
    breakglass::{
        recorded::MOST_VOID,
        resolution::{self, Next, Sight},
    },
    compare::{
        rules::EmptyListPolicy,
        schema::{Shape, builtin::builtin},
    },
    guard::ObjectRef,
    helm::{ObjectId, ReleaseName},
    text::cut,
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{
    Api, Client,
    api::{DeleteParams, PostParams, Preconditions},
    runtime::{WatchStreamExt, watcher},
};
use serde_json::Value;

use self::{announcing::Announcements, change::ChangeKey, queue::ChangeQueue};
use super::{
    Recorder,
    events::{NOTE_BYTES, Note},
};
use crate::{
    cluster::{
        ApiFailure, grants,
        live::{Objects, WantedObject},
    },
    releases::{ReleaseState, Releases},
};

/// Resolved changes and ended grants are retained this long: the review of an incident comes weeks later.
pub(crate) const RETENTION: SignedDuration = SignedDuration::from_hours(30 * 24);

/// Changes that are looked at in one round; the others wait for the next.
const ROUND: usize = 100;

/// How long the removal of old objects may take.
const SWEEP_TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug)]
pub(crate) struct TrackerIntervals {
    /// Checking whether anything is due.
    pub(crate) tick: Duration,
    /// Looking at a change that has not been seen in the cluster yet.
    pub(crate) pending: Duration,
    /// Looking at an open change.
    pub(crate) open: Duration,
    /// Removing old objects.
    pub(crate) sweep: Duration,
}

impl Default for TrackerIntervals {
    /// A change of the release is noticed within a second; these are for edits by hand.
    fn default() -> Self {
        Self {
            tick: Duration::from_secs(1),
            pending: Duration::from_secs(2),
            open: Duration::from_secs(15),
            sweep: Duration::from_secs(3600),
        }
    }
}

/// Follows changes.
#[derive(Clone)]
pub(crate) struct Tracker {
    /// Needs `list`, `watch` and `delete` on emergency changes, `update` on their status, `list` and
    /// `delete` on grants, and `get` on what is changed.
    pub(crate) client: Client,
    /// What is declared.
    pub(crate) releases: Releases,
    /// The live objects.
    pub(crate) objects: Arc<Objects>,
    /// Events, alerts and metrics.
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) pace: TrackerIntervals,
}

/// The gauges belong to the leader: a replica that lost leadership shows none.
struct Shown<'a>(&'a Recorder);

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        self.0.metrics.emergency_changes(None);
    }
}

impl Tracker {
    /// Runs for as long as it is polled.
    pub(crate) async fn run(&self) {
        let _shown = Shown(&self.recorder);
        let api: Api<EmergencyChange> = Api::all(self.client.clone());
        let mut events = watcher::watcher(api, watcher::Config::default())
            .default_backoff()
            .boxed();
        let mut ticks = tokio::time::interval(self.pace.tick);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut queue = ChangeQueue::default();
        let mut announcements = Announcements::default();
        let mut generation = None;
        let mut swept: Option<Instant> = None;
        let mut log_removal = false;
        loop {
            tokio::select! {
                event = events.next() => match event {
                    Some(Ok(event)) => {
                        log_removal = false;
                        queue.take(event, Instant::now());
                    }
                    Some(Err(error)) => {
                        let failure = ApiFailure::from(&error);
                        // If the kind or the rights for it are not installed, this goes on indefinitely.
                        if !log_removal && failure.is_forbidden() {
                            tracing::warn!(
                                error = %failure,
                                "missing RBAC permissions: emergency changes are not followed, see deploy/break-glass"
                            );
                        } else if !log_removal && !failure.is_not_found() {
                            tracing::warn!(error = %failure, "failed to watch emergency changes");
                        }
                        log_removal = true;
                    }
                    None => return,
                },
                _ = ticks.tick() => {
                    if !queue.is_complete() {
                        continue;
                    }
                    self.announce(&mut queue, &mut announcements).await;
                    if !self.releases.readiness().ready {
                        continue;
                    }
                    let now = self.releases.generation();
                    if generation.replace(now) != Some(now) {
                        queue.all_due();
                    }
                    for key in queue.due(Instant::now(), ROUND) {
                        self.check(&mut queue, &key).await;
                    }
                    if swept.is_none_or(|swept| swept.elapsed() >= self.pace.sweep) {
                        swept = Some(Instant::now());
                        let sweeping = self.sweep(&queue);
                        let _ = tokio::time::timeout(SWEEP_TIMEOUT, sweeping).await;
                    }
                    let sweeping = self.sweep_void(&queue);
                    let _ = tokio::time::timeout(SWEEP_TIMEOUT, sweeping).await;
                    self.recorder.metrics.emergency_changes(Some(&queue.by_state()));
                }
            }
        }
    }

    /// Looks at one change, and writes its new state.
    async fn check(&self, queue: &mut ChangeQueue, key: &ChangeKey) {
        let Some(change) = queue.get(key) else {
            return;
        };
        let state = change.status.clone().unwrap_or_default().state;
        let pause = match state {
            ChangeState::Pending => self.pace.pending,
            _ => self.pace.open,
        };
        let now = Timestamp::now();
        let next = self.next(change, state, now).await;
        let next = next.unwrap_or_else(|failure| {
            tracing::warn!(change = %key, error = %failure, "failed to read the object of an emergency change");
            resolution::blind(&change.spec, state, now, &failure.to_string())
        });
        match next {
            None => queue.schedule(key, Instant::now() + pause),
            Some(next) => match self.write(change, &next, now).await {
                Ok(written) => {
                    self.announce_state(&written);
                    queue.put(written, Instant::now() + pause);
                }
                // Another writer was faster, or it is gone: the watch reports it.
                Err(failure) if matches!(failure.code, Some(404 | 409)) => {
                    queue.schedule(key, Instant::now() + self.pace.pending);
                }
                Err(failure) => {
                    tracing::warn!(change = %key, error = %failure, "failed to write the state of an emergency change");
                    queue.schedule(key, Instant::now() + pause);
                }
            },
        }
    }

    async fn next(
        &self,
        change: &EmergencyChange,
        state: ChangeState,
        now: Timestamp,
    ) -> Result<Option<Next>, ApiFailure> {
        let object = &change.spec.object;
        let live = self
            .objects
            .get(&WantedObject {
                api_version: &object.api_version,
                kind: &object.kind,
                namespace: &object.namespace,
                name: &object.name,
            })
            .await?;
        let (group, version) = match object.api_version.split_once('/') {
            Some((group, version)) => (group, version),
            None => ("", object.api_version.as_str()),
        };
        let release = ReleaseName {
            namespace: change.spec.release.namespace.clone(),
            name: change.spec.release.name.clone(),
        };
        let named = ObjectRef {
            group,
            kind: &object.kind,
            namespace: &object.namespace,
            name: object.name.as_str().into(),
        };
        let standing = self.releases.release_state(&release, &named);
        let declared: Option<Value> = match &standing {
            ReleaseState::Deployed {
                object: Some(object),
                ..
            } => serde_json::from_str(&object.json).ok(),
            _ => None,
        };
        let standing = match &standing {
            ReleaseState::Gone => resolution::DeclaredState::Gone,
            // Values in another API version cannot be compared.
            ReleaseState::Deployed {
                object: Some(object),
                ..
            } if object.version != version => resolution::DeclaredState::Unsaid,
            ReleaseState::Deployed { revision, .. } => resolution::DeclaredState::Deployed {
                revision: *revision,
                object: declared.as_ref(),
            },
            ReleaseState::Unknown => resolution::DeclaredState::Unsaid,
        };
        let shape = builtin().lookup(group, version, &object.kind);
        Ok(resolution::resolve(&Sight {
            change: &change.spec,
            state,
            live: live.as_ref(),
            standing,
            shape: shape.unwrap_or_else(Shape::plain),
            empties: if builtin().knows_group(group) {
                EmptyListPolicy::Dropped
            } else {
                EmptyListPolicy::Kept
            },
            now,
        }))
    }

    async fn write(
        &self,
        change: &EmergencyChange,
        next: &Next,
        now: Timestamp,
    ) -> Result<EmergencyChange, ApiFailure> {
        let mut written = change.clone();
        written.status = Some(EmergencyChangeStatus {
            state: next.state,
            message: next.message.clone(),
            since: Some(Time(now)),
            revision: next.revision,
            announced: change.status.clone().unwrap_or_default().announced,
        });
        self.replace(written).await
    }

    async fn replace(&self, written: EmergencyChange) -> Result<EmergencyChange, ApiFailure> {
        let namespace = written.metadata.namespace.as_deref().unwrap_or_default();
        let api: Api<EmergencyChange> = Api::namespaced(self.client.clone(), namespace);
        let name = written.metadata.name.as_deref().unwrap_or_default();
        let params = PostParams::default();
        let replaced = api.replace_status(name, &params, &written);
        match tokio::time::timeout(Duration::from_secs(5), replaced).await {
            Ok(replaced) => Ok(replaced?),
            Err(_) => Err(ApiFailure::timeout()),
        }
    }

    fn announce_state(&self, change: &EmergencyChange) {
        let status = change.status.clone().unwrap_or_default();
        let (spec, state) = (&change.spec, status.state);
        tracing::info!(
            change = %ChangeKey::of(change),
            state = state.as_str(),
            message = status.message,
            user = spec.user,
            ticket = spec.ticket,
            "emergency change state changed"
        );
        if state.is_resolved() {
            self.recorder.metrics.settled(state);
        }
        if state.is_resolved() || state == ChangeState::Overdue {
            self.recorder.events.announce(note(change, &status));
        }
    }

    /// Removes the oldest void changes if there are too many of them.
    async fn sweep_void(&self, queue: &ChangeQueue) {
        let surplus = queue.excess_void(MOST_VOID, Timestamp::now());
        for change in surplus.into_iter().take(ROUND) {
            self.remove(change).await;
        }
    }

    async fn remove(&self, change: &EmergencyChange) {
        let namespace = change.metadata.namespace.as_deref().unwrap_or_default();
        let api: Api<EmergencyChange> = Api::namespaced(self.client.clone(), namespace);
        let name = change.metadata.name.clone().unwrap_or_default();
        let removed = api
            .delete(&name, &unchanged(change.metadata.uid.clone()))
            .await;
        log_removal("emergency change", &name, removed.err());
    }

    /// Removes expired changes and grants.
    async fn sweep(&self, queue: &ChangeQueue) {
        let now = Timestamp::now();
        for change in queue.settled_before(now, RETENTION) {
            self.remove(change).await;
        }
        let deadline = Instant::now() + SWEEP_TIMEOUT;
        let Ok(before) = now.checked_sub(RETENTION) else {
            return;
        };
        let Ok(grants) = grants::expired_before(&self.client, before, deadline).await else {
            return;
        };
        let api: Api<BreakGlassGrant> = Api::all(self.client.clone());
        for grant in grants {
            let name = grant.metadata.name.clone().unwrap_or_default();
            let removed = api
                .delete(&name, &unchanged(grant.metadata.uid.clone()))
                .await;
            log_removal("break-glass grant", &name, removed.err());
        }
    }
}

fn unchanged(uid: Option<String>) -> DeleteParams {
    DeleteParams {
        preconditions: Some(Preconditions {
            uid,
            ..Preconditions::default()
        }),
        ..DeleteParams::default()
    }
}

fn log_removal(what: &str, name: &str, error: Option<kube::Error>) {
    match error.map(ApiFailure::from) {
        None => tracing::info!(what, name, "garbage-collected expired object"),
        Some(error) => tracing::warn!(what, name, %error, "failed to remove expired object"),
    }
}

fn note(change: &EmergencyChange, status: &EmergencyChangeStatus) -> Note {
    let spec = &change.spec;
    let object = &spec.object;
    let name = change.metadata.name.as_deref().unwrap_or_default();
    let ticket = spec.ticket.as_ref();
    let ticket = ticket
        .map(|ticket| format!(" ({ticket})"))
        .unwrap_or_default();
    let mut text = format!(
        "emergency change {name}{ticket} by {} is {}: {}",
        spec.user,
        status.state.as_str(),
        status.message
    );
    cut(&mut text, NOTE_BYTES);
    Note {
        object: ObjectId {
            group: object
                .api_version
                .split_once('/')
                .map_or_else(String::new, |(group, _)| group.to_owned()),
            kind: object.kind.clone(),
            namespace: object.namespace.clone(),
            name: object.name.clone(),
        },
        api_version: object.api_version.clone(),
        uid: object.uid.clone(),
        reason: match status.state {
            ChangeState::Overdue => "EmergencyChangeOverdue",
            _ => "EmergencyChangeSettled",
        },
        action: status.state.as_str(),
        text,
    }
}
