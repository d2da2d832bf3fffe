//! The policy object in the cluster, as a watch tells of it.
//!
//! One that was there is not believed to be gone before reads have said so for some time: a definition that
//! is made anew, or an API server that restarts, shows nothing for a while too.

use std::time::Duration;

use futures_util::{StreamExt, stream::BoxStream};
use helm_guard_core::api::{self, GuardPolicyStatus};
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams},
    runtime::{
        WatchStreamExt,
        watcher::{self, Event},
    },
};
use serde_json::json;
use tokio::time::{Instant, sleep_until, timeout};

use super::ApiFailure;

/// Seconds after which a quiet watch is renewed.
const RENEW_WATCH_AFTER: u32 = 90;

/// For one read of the object.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest time between two reads while it is not there.
const READ_AGAIN: Duration = Duration::from_secs(15);

/// What there is. The object is not read into the types here: one that does not fit them must be
/// reported, and not stop the watch.
#[derive(Clone, Debug)]
pub enum Seen {
    /// This.
    Object(Box<DynamicObject>),
    /// Nothing now, though there was something: it may come back. Said once.
    Missing,
    /// Nothing, or the kind is not even installed. Where there was something, reads have said so for the
    /// whole of the grace.
    Absent,
    /// It cannot be looked at, now or for want of rights.
    Unknown(ApiFailure),
}

/// The watch of the object that counts.
pub struct PolicyWatch {
    client: Client,
    events: BoxStream<'static, watcher::Result<Event<DynamicObject>>>,
    listed: Option<Box<DynamicObject>>,
    presence: Presence,
    grace: Duration,
}

/// What is known of whether the object is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Presence {
    /// It was not there when last looked at, or nobody has looked.
    No,
    /// It was.
    Yes,
    /// It was, and is not seen now.
    Missing {
        /// Since when every read has said so.
        since: Instant,
        /// When it is read again.
        read: Instant,
    },
}

fn objects(client: Client) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk(api::GROUP, api::VERSION, "GuardPolicy");
    Api::all_with(
        client,
        &ApiResource::from_gvk_with_plural(&kind, "guardpolicies"),
    )
}

impl PolicyWatch {
    /// Begins to watch. An object that vanishes is [`Seen::Absent`] when it was not there for `grace`.
    pub fn new(client: Client, grace: Duration) -> Self {
        let config = watcher::Config {
            timeout: Some(RENEW_WATCH_AFTER),
            ..watcher::Config::default()
        }
        .fields(&format!("metadata.name={}", api::POLICY_NAME));
        let events = watcher::watcher(objects(client.clone()), config).default_backoff();
        Self {
            client,
            events: events.boxed(),
            listed: None,
            presence: Presence::No,
            grace,
        }
    }

    /// What is to be said next; `None` never comes, as the watch does not end.
    pub async fn next(&mut self) -> Option<Seen> {
        loop {
            let seen = if let Presence::Missing { since, read } = self.presence {
                tokio::select! {
                    event = self.events.next() => self.told(event?),
                    () = sleep_until(read) => Some(self.read(since).await),
                }
            } else {
                let event = self.events.next().await?;
                self.told(event)
            };
            if let Some(seen) = seen.and_then(|seen| self.weigh(seen)) {
                return Some(seen);
            }
        }
    }

    fn told(&mut self, event: watcher::Result<Event<DynamicObject>>) -> Option<Seen> {
        match event {
            Ok(Event::Init) => {
                self.listed = None;
                None
            }
            Ok(Event::InitApply(object)) => {
                self.listed = Some(Box::new(object));
                None
            }
            Ok(Event::InitDone) => Some(self.listed.take().map_or(Seen::Missing, Seen::Object)),
            Ok(Event::Apply(object)) => Some(Seen::Object(Box::new(object))),
            Ok(Event::Delete(_)) => Some(Seen::Missing),
            Err(error) => {
                let failure = ApiFailure::from(&error);
                Some(if failure.is_not_found() {
                    Seen::Missing
                } else {
                    Seen::Unknown(failure)
                })
            }
        }
    }

    /// Reads the object that is not there. What cannot be read is not known to be absent.
    async fn read(&mut self, since: Instant) -> Seen {
        let api = objects(self.client.clone());
        let read = timeout(READ_TIMEOUT, api.get_opt(api::POLICY_NAME)).await;
        let now = Instant::now();
        let (seen, since) = match read {
            Ok(Ok(Some(object))) => return Seen::Object(Box::new(object)),
            Ok(Ok(None)) if now.duration_since(since) >= self.grace => return Seen::Absent,
            Ok(Ok(None)) => (Seen::Missing, since),
            Ok(Err(error)) => (Seen::Unknown(ApiFailure::from(&error)), now),
            Err(_) => (Seen::Unknown(ApiFailure::timeout()), now),
        };
        self.presence = self.missing(since, now);
        seen
    }

    fn missing(&self, since: Instant, now: Instant) -> Presence {
        let end = since + self.grace;
        let read = (now + READ_AGAIN).min(end.max(now + Duration::from_millis(100)));
        Presence::Missing { since, read }
    }

    /// What it means beside what was seen before, if it is worth saying.
    fn weigh(&mut self, seen: Seen) -> Option<Seen> {
        match (&seen, self.presence) {
            (Seen::Object(_), _) => self.presence = Presence::Yes,
            (Seen::Absent, _) => self.presence = Presence::No,
            (Seen::Missing, Presence::No) => return Some(Seen::Absent),
            (Seen::Missing, Presence::Yes) => {
                let now = Instant::now();
                self.presence = self.missing(now, now);
            }
            (Seen::Missing, Presence::Missing { .. }) => return None,
            (Seen::Unknown(_), _) => {}
        }
        Some(seen)
    }
}

/// Writes what the guard says of the object.
///
/// # Errors
/// Whatever the API server says.
pub async fn set_status(client: Client, status: &GuardPolicyStatus) -> Result<(), ApiFailure> {
    let patch = Patch::Merge(json!({ "status": status }));
    objects(client)
        .patch_status(api::POLICY_NAME, &PatchParams::default(), &patch)
        .await?;
    Ok(())
}
