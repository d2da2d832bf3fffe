//! The policy object in the cluster, through a watch.
//!
//! An existing policy counts as gone only after reads have confirmed it for some time: a CRD that is
//! recreated, or an API server that restarts, also returns nothing for a while.

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

/// Seconds after which a watch without events is renewed.
const RENEW_WATCH_AFTER: u32 = 90;

const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest time between two reads while it is missing.
const READ_AGAIN: Duration = Duration::from_secs(15);

/// The state of the policy object. The object is not parsed here: an invalid one must be reported,
/// and not stop the watch.
#[derive(Clone, Debug)]
pub(crate) enum SeenPolicy {
    /// It exists, with this content.
    Object(Box<DynamicObject>),
    /// It is missing, but existed before and may come back. Reported once.
    Missing,
    /// There is none, or the kind is not installed. If there was one, reads have confirmed this for the
    /// entire grace period.
    Absent,
    /// It cannot be read: the call failed, or the right is missing.
    Unknown(ApiFailure),
}

/// The watch of the policy object.
pub(crate) struct PolicyWatch {
    client: Client,
    events: BoxStream<'static, watcher::Result<Event<DynamicObject>>>,
    listed: Option<Box<DynamicObject>>,
    presence: Presence,
    grace: Duration,
}

/// What is known about the existence of the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Presence {
    /// It did not exist at the last read, or has not been read.
    No,
    /// It existed.
    Yes,
    /// It existed, and is missing now.
    Missing {
        /// Since when every read has confirmed it.
        since: Instant,
        /// The time of the next read.
        read: Instant,
    },
}

/// The policy objects, unparsed.
pub fn objects(client: Client) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk(api::GROUP, api::VERSION, "GuardPolicy");
    Api::all_with(
        client,
        &ApiResource::from_gvk_with_plural(&kind, "guardpolicies"),
    )
}

impl PolicyWatch {
    /// Starts the watch. An object that vanishes is [`SeenPolicy::Absent`] after it has been missing for `grace`.
    pub(crate) fn new(client: Client, grace: Duration) -> Self {
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

    /// The next state to report. Never `None`, because the watch does not end.
    pub(crate) async fn next(&mut self) -> Option<SeenPolicy> {
        loop {
            let seen = if let Presence::Missing { since, read } = self.presence {
                tokio::select! {
                    event = self.events.next() => self.on_event(event?),
                    () = sleep_until(read) => Some(self.read(since).await),
                }
            } else {
                let event = self.events.next().await?;
                self.on_event(event)
            };
            if let Some(seen) = seen.and_then(|seen| self.weigh(seen)) {
                return Some(seen);
            }
        }
    }

    fn on_event(&mut self, event: watcher::Result<Event<DynamicObject>>) -> Option<SeenPolicy> {
        match event {
            Ok(Event::Init) => {
                self.listed = None;
                None
            }
            Ok(Event::InitApply(object)) => {
                self.listed = Some(Box::new(object));
                None
            }
            Ok(Event::InitDone) => Some(
                self.listed
                    .take()
                    .map_or(SeenPolicy::Missing, SeenPolicy::Object),
            ),
            Ok(Event::Apply(object)) => Some(SeenPolicy::Object(Box::new(object))),
            Ok(Event::Delete(_)) => Some(SeenPolicy::Missing),
            Err(error) => {
                let failure = ApiFailure::from(&error);
                Some(if failure.is_not_found() {
                    SeenPolicy::Missing
                } else {
                    SeenPolicy::Unknown(failure)
                })
            }
        }
    }

    /// Reads the missing object. A failed read does not confirm that it is missing.
    async fn read(&mut self, since: Instant) -> SeenPolicy {
        let api = objects(self.client.clone());
        let read = timeout(READ_TIMEOUT, api.get_opt(api::POLICY_NAME)).await;
        let now = Instant::now();
        let (seen, since) = match read {
            Ok(Ok(Some(object))) => return SeenPolicy::Object(Box::new(object)),
            Ok(Ok(None)) if now.duration_since(since) >= self.grace => return SeenPolicy::Absent,
            Ok(Ok(None)) => (SeenPolicy::Missing, since),
            Ok(Err(error)) => (SeenPolicy::Unknown(ApiFailure::from(&error)), now),
            Err(_) => (SeenPolicy::Unknown(ApiFailure::timeout()), now),
        };
        self.presence = self.missing(since, now);
        seen
    }

    fn missing(&self, since: Instant, now: Instant) -> Presence {
        let end = since + self.grace;
        let read = (now + READ_AGAIN).min(end.max(now + Duration::from_millis(100)));
        Presence::Missing { since, read }
    }

    /// The state to report, given the state before; `None` if there is nothing new.
    fn weigh(&mut self, seen: SeenPolicy) -> Option<SeenPolicy> {
        match (&seen, self.presence) {
            (SeenPolicy::Object(_), _) => self.presence = Presence::Yes,
            (SeenPolicy::Absent, _) => self.presence = Presence::No,
            (SeenPolicy::Missing, Presence::No) => return Some(SeenPolicy::Absent),
            (SeenPolicy::Missing, Presence::Yes) => {
                let now = Instant::now();
                self.presence = self.missing(now, now);
            }
            (SeenPolicy::Missing, Presence::Missing { .. }) => return None,
            (SeenPolicy::Unknown(_), _) => {}
        }
        Some(seen)
    }
}

/// Writes the status of the object.
///
/// # Errors
/// The error of the API server.
pub async fn set_status(client: Client, status: &GuardPolicyStatus) -> Result<(), ApiFailure> {
    let patch = Patch::Merge(json!({ "status": status }));
    objects(client)
        .patch_status(api::POLICY_NAME, &PatchParams::default(), &patch)
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, sync::Arc};

    use http::{Request, Response};
    use kube::client::Body;
    use parking_lot::Mutex;
    use serde_json::Value;
    use tokio::time::sleep;

    use super::*;

    /// What the API server says to everything.
    #[derive(Clone, Copy, PartialEq, Eq)]
    enum Answer {
        Policy,
        /// No such object, or no such kind.
        NotFound,
        Error(u16),
    }

    fn object() -> Value {
        json!({
            "apiVersion": "helm-guard.dev/v1alpha1", "kind": "GuardPolicy",
            "metadata": {"name": "default", "resourceVersion": "7"}, "spec": {"mode": "Deny"},
        })
    }

    fn error(code: u16) -> (u16, Value) {
        let status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": "no", "reason": "no", "code": code,
        });
        (code, status)
    }

    /// A client of an API server whose answers change. A watch ends with an error when they do.
    fn client(answer: Answer) -> (Client, Arc<Mutex<Answer>>) {
        let answer = Arc::new(Mutex::new(answer));
        let served = Arc::clone(&answer);
        let service = tower::service_fn(move |request: Request<Body>| {
            let served = Arc::clone(&served);
            async move {
                let before = *served.lock();
                let query = request.uri().query().unwrap_or_default();
                let (code, body) = if query.contains("watch=true") && before == Answer::Policy {
                    while *served.lock() == before {
                        sleep(Duration::from_millis(100)).await;
                    }
                    error(410)
                } else {
                    match before {
                        Answer::Policy if request.uri().path().ends_with("/default") => {
                            (200, object())
                        }
                        Answer::Policy => {
                            let list = json!({
                                "apiVersion": "helm-guard.dev/v1alpha1", "kind": "GuardPolicyList",
                                "metadata": {"resourceVersion": "7"}, "items": [object()],
                            });
                            (200, list)
                        }
                        Answer::NotFound => error(404),
                        Answer::Error(code) => error(code),
                    }
                };
                let body = Body::from(serde_json::to_vec(&body).unwrap());
                Ok::<_, Infallible>(Response::builder().status(code).body(body).unwrap())
            }
        });
        (Client::new(service, "default"), answer)
    }

    const GRACE: Duration = Duration::from_secs(120);

    /// The next state other than `Unknown`.
    async fn next_known(watch: &mut PolicyWatch) -> SeenPolicy {
        loop {
            match watch.next().await.unwrap() {
                SeenPolicy::Unknown(_) => {}
                known => return known,
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_policy_that_cannot_be_read_is_unknown_and_not_absent() {
        for code in [403, 500, 503] {
            let (client, answer) = client(Answer::Error(code));
            let mut watch = PolicyWatch::new(client, GRACE);
            let begun = Instant::now();
            while begun.elapsed() < 2 * GRACE {
                let seen = watch.next().await.unwrap();
                assert!(
                    matches!(&seen, SeenPolicy::Unknown(failure) if failure.code == Some(code)),
                    "{seen:?}"
                );
            }
            *answer.lock() = Answer::Policy;
            let seen = next_known(&mut watch).await;
            assert!(matches!(seen, SeenPolicy::Object(_)), "{seen:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_status_that_cannot_be_written_is_an_error() {
        let status = GuardPolicyStatus {
            observed_generation: 1,
            in_force: true,
            error: String::new(),
            since: None,
        };
        for (answer, code) in [(Answer::Error(403), 403), (Answer::NotFound, 404)] {
            let (client, _answer) = client(answer);
            let failure = set_status(client, &status).await.unwrap_err();
            assert_eq!(failure.code, Some(code));
        }
    }
}
