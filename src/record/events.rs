//! Kubernetes events (events.k8s.io/v1) about break-glass changes and what happens to them, on the
//! object that was changed.
//!
//! [`Events::announce`] only puts a note into a bounded queue; [`Announcer::run`] is the task that
//! sends them. Notes on the same object within [`WINDOW`] become one event with a count, so that a
//! script that edits in a loop does not flood etcd.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use helm_guard_core::helm::ObjectId;
use jiff::Timestamp;
use k8s_openapi::{
    api::{
        core::v1::ObjectReference,
        events::v1::{Event, EventSeries},
    },
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use parking_lot::Mutex;
use tokio::{sync::mpsc, time::timeout};

/// Notes that wait to be sent. Emergencies are rare and small; more than this is a loop, and its first notes
/// tell enough.
const QUEUE: usize = 256;

/// The longest text of a note, in bytes: the API server takes notes of up to 1 kB
/// (`pkg/apis/core/validation/events.go`).
pub(crate) const NOTE_BYTES: usize = 1024;

/// Within this time, notes on one object are counted instead of sent again.
const WINDOW: Duration = Duration::from_secs(60);

/// Objects whose last event is remembered.
const REMEMBERED: usize = 1024;

/// An event that is not sent in this time is given up, so that the queue moves on.
const SEND_TIMEOUT: Duration = Duration::from_secs(5);

/// A note about an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Note {
    /// What the event is about.
    pub(crate) object: ObjectId,
    /// Group and version of the object, as in a manifest: `apps/v1`.
    pub(crate) api_version: String,
    /// Its uid, if known: kubectl finds the events of an object by it.
    pub(crate) uid: Option<String>,
    /// The reason of the event: `BreakGlass`, `EmergencyChangeOverdue`, `EmergencyChangeSettled`,
    /// `UndeclaredAutoscaler`, `OwnershipTaken`.
    pub(crate) reason: &'static str,
    /// The action: `Update`, `Delete`, `Scale`, `TakeOwnership`; or the new state: `Overdue`, `Absorbed`.
    pub(crate) action: &'static str,
    /// The text, of at most [`NOTE_BYTES`].
    pub(crate) text: String,
}

/// The sending end, cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Events {
    queue: mpsc::Sender<Note>,
    dropped: Arc<AtomicU64>,
    once: Arc<Mutex<HashSet<(ObjectId, &'static str)>>>,
}

/// The receiving end, run as one task.
#[derive(Debug)]
pub(crate) struct Announcer {
    queue: mpsc::Receiver<Note>,
    dropped: Arc<AtomicU64>,
    sent: HashMap<(ObjectId, &'static str), Sent>,
}

/// An event whose count may still be raised.
#[derive(Debug, Clone)]
struct Sent {
    name: String,
    count: i32,
    at: Timestamp,
}

/// The two ends of a queue.
pub(crate) fn queue() -> (Events, Announcer) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    let dropped = Arc::new(AtomicU64::new(0));
    (
        Events {
            queue: sender,
            dropped: Arc::clone(&dropped),
            once: Arc::default(),
        },
        Announcer {
            queue: receiver,
            dropped,
            sent: HashMap::new(),
        },
    )
}

impl Events {
    /// Queues a note. Never waits: if the queue is full, the note is dropped and counted.
    pub(crate) fn announce(&self, note: Note) {
        if self.queue.try_send(note).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Queues a note unless one with the same reason was queued for the same object before.
    pub(crate) fn announce_once(&self, note: impl Into<Option<Note>>) {
        let Some(note) = note.into() else {
            return;
        };
        let mut once = self.once.lock();
        // A duplicate is better than unbounded memory.
        if once.len() >= REMEMBERED {
            once.clear();
        }
        if once.insert((note.object.clone(), note.reason)) {
            self.announce(note);
        }
    }

    /// Notes that were dropped: the queue was full, or the API server did not accept them.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

impl Announcer {
    /// Sends queued notes, until every [`Events`] is gone.
    pub(crate) async fn run(mut self, client: Client) {
        while let Some(note) = self.queue.recv().await {
            let sending = self.send(&client, &note, Timestamp::now());
            let error = match timeout(SEND_TIMEOUT, sending).await {
                Ok(Ok(())) => continue,
                Ok(Err(error)) => error.to_string(),
                Err(_) => "timed out".to_owned(),
            };
            self.dropped.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(object = %note.object, error, "failed to send an event");
        }
    }

    /// The next note, without sending it.
    #[cfg(test)]
    pub(crate) fn queued(&mut self) -> Option<Note> {
        self.queue.try_recv().ok()
    }

    async fn send(&mut self, client: &Client, note: &Note, now: Timestamp) -> kube::Result<()> {
        let api: Api<Event> = Api::namespaced(client.clone(), namespace(&note.object));
        let key = (note.object.clone(), note.action);
        self.forget_old(now);
        if let Some(sent) = self.sent.get_mut(&key) {
            let series = EventSeries {
                count: sent.count + 1,
                last_observed_time: MicroTime(now),
            };
            let patch = serde_json::json!({"series": series, "note": note.text});
            match api
                .patch(&sent.name, &PatchParams::default(), &Patch::Merge(patch))
                .await
            {
                Ok(_) => {
                    sent.count += 1;
                    return Ok(());
                }
                // The event was removed: a new one is created.
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => return Err(error),
            }
        }
        let event = event(note, now);
        let name = event.metadata.name.clone().unwrap_or_default();
        api.create(&PostParams::default(), &event).await?;
        if self.sent.len() < REMEMBERED {
            self.sent.insert(
                key,
                Sent {
                    name,
                    count: 1,
                    at: now,
                },
            );
        }
        Ok(())
    }

    fn forget_old(&mut self, now: Timestamp) {
        self.sent
            .retain(|_, sent| now.duration_since(sent.at).unsigned_abs() < WINDOW);
    }
}

/// Events on cluster-scoped objects are in `default`: the API server requires it
/// (`pkg/apis/core/validation/events.go`).
fn namespace(object: &ObjectId) -> &str {
    if object.namespace.is_empty() {
        "default"
    } else {
        &object.namespace
    }
}

fn event(note: &Note, now: Timestamp) -> Event {
    let object = &note.object;
    Event {
        metadata: ObjectMeta {
            name: Some(event_name(&object.name, now)),
            namespace: Some(namespace(object).to_owned()),
            ..ObjectMeta::default()
        },
        event_time: Some(MicroTime(now)),
        action: Some(note.action.to_owned()),
        reason: Some(note.reason.to_owned()),
        note: Some(note.text.clone()),
        type_: Some(match note.reason {
            "EmergencyChangeSettled" => "Normal".to_owned(),
            _ => "Warning".to_owned(),
        }),
        regarding: Some(ObjectReference {
            api_version: Some(note.api_version.clone()),
            kind: Some(object.kind.clone()),
            name: Some(object.name.clone()),
            namespace: (!object.namespace.is_empty()).then(|| object.namespace.clone()),
            uid: note.uid.clone(),
            ..ObjectReference::default()
        }),
        reporting_controller: Some("helm-guard.dev/helm-guard".to_owned()),
        reporting_instance: Some("helm-guard".to_owned()),
        ..Event::default()
    }
}

/// Event names must be DNS subdomains, object names need not be (`system:reader`). Both may have up to 253
/// characters.
fn event_name(object: &str, now: Timestamp) -> String {
    let name: String = object
        .chars()
        .take(200)
        .map(|c| match c {
            'a'..='z' | '0'..='9' | '-' => c,
            _ => '-',
        })
        .collect();
    let name = match name.trim_matches('-') {
        "" => "object",
        name => name,
    };
    format!("{name}.{:x}", now.as_nanosecond())
}

#[cfg(test)]
mod tests;
