//! One leader of many replicas: a Lease of coordination.k8s.io, as Kubernetes' own controllers hold it.
//!
//! Clocks of machines are not compared: a holder is taken for dead when its lease has not changed for as
//! long as the lease is good for, by this machine's own clock since it last saw it change
//! (`k8s.io/client-go/tools/leaderelection`).

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{
    Api, Client,
    api::{ObjectMeta, Patch, PatchParams, PostParams},
};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::ApiFailure;

/// The name of the Lease that the replicas of one installation elect their leader with.
pub const LEASE_NAME: &str = "helm-guard";

/// The field manager of a lease that is made.
const MANAGER: &str = "helm-guard";

/// How leadership is kept.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// How long a lease is good for after its holder was last heard of.
    pub duration: Duration,
    /// How often the holder writes it, and the others look.
    pub retry: Duration,
    /// A holder that could not write for so long stops leading; less than `duration`, so that it has
    /// stopped when the next one starts.
    pub renew_within: Duration,
}

impl Default for Terms {
    /// As Kubernetes' controllers have them.
    fn default() -> Self {
        Self {
            duration: Duration::from_secs(15),
            retry: Duration::from_secs(2),
            renew_within: Duration::from_secs(10),
        }
    }
}

/// What a candidate knows of the election.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// It has not looked yet.
    #[default]
    Unknown,
    /// It leads.
    Leader,
    /// Another one leads, or led until a moment ago.
    Follower,
    /// Nobody can be elected as far as it knows: the lease cannot be read or written.
    Unelected,
}

/// Somebody who wants to lead.
#[derive(Clone)]
pub struct Candidate {
    /// Needs `get`, `create`, `patch` and `update` on the lease.
    pub client: Client,
    /// Where the lease is.
    pub namespace: String,
    /// What it is called.
    pub name: String,
    /// Who this is: a name that no other process has.
    pub identity: String,
    /// How leadership is kept.
    pub terms: Terms,
    /// Whether somebody leads, as far as this one knows: it, or who holds a lease that is good.
    pub is_led: Arc<AtomicBool>,
    /// What this one is, for whoever acts by it.
    pub role: watch::Sender<Role>,
}

/// What is seen of the holder, and since when it has not changed.
struct Seen {
    holder: String,
    renewed: Option<Timestamp>,
    at: Instant,
}

impl Candidate {
    /// Runs `work` for as long as this one leads, anew each time; until `stop`, when the lease is let go.
    pub async fn lead<W: Future>(&self, work: impl Fn() -> W, stop: CancellationToken) {
        let mut seen = None;
        let mut said = None;
        loop {
            tokio::select! {
                () = self.win(&mut seen, &mut said) => {}
                () = stop.cancelled() => return,
            }
            tracing::info!(lease = self.name, identity = self.identity, "leading");
            tokio::select! {
                _ = work() => {}
                () = self.lose(&mut seen) => {
                    tracing::warn!(lease = self.name, "not leading any more");
                }
                () = stop.cancelled() => {
                    self.release().await;
                    return;
                }
            }
        }
    }

    /// Returns once this one leads.
    async fn win(&self, seen: &mut Option<Seen>, said: &mut Option<String>) {
        loop {
            match self.attempt(seen).await {
                Ok(true) => return,
                Ok(false) => *said = None,
                Err(error) => {
                    let error = error.to_string();
                    // A right that is missing would be said every other second.
                    if said.as_ref() != Some(&error) {
                        tracing::warn!(lease = self.name, error, "failed to look after the lease");
                        *said = Some(error);
                    }
                }
            }
            sleep(self.terms.retry).await;
        }
    }

    /// Returns once this one leads no more.
    async fn lose(&self, seen: &mut Option<Seen>) {
        let mut renewed = Instant::now();
        while renewed.elapsed() < self.terms.renew_within {
            sleep(self.terms.retry).await;
            match self.attempt(seen).await {
                Ok(true) => renewed = Instant::now(),
                Ok(false) => return,
                Err(error) => {
                    tracing::warn!(lease = self.name, %error, "failed to renew the lease");
                }
            }
        }
    }

    /// Takes or renews the lease, if it may: whether it is ours now.
    async fn attempt(&self, seen: &mut Option<Seen>) -> Result<bool, ApiFailure> {
        let attempt = timeout(self.terms.retry, self.take(seen));
        let taken = attempt.await.unwrap_or_else(|_| Err(ApiFailure::timeout()));
        self.is_led.store(taken.is_ok(), Ordering::Release);
        let role = match &taken {
            Ok(true) => Role::Leader,
            Ok(false) => Role::Follower,
            Err(_) => Role::Unelected,
        };
        self.role.send_if_modified(|known| {
            let is_new = *known != role;
            *known = role;
            is_new
        });
        taken
    }

    async fn take(&self, seen: &mut Option<Seen>) -> Result<bool, ApiFailure> {
        let api = self.api();
        let mut lease = match api.get_opt(&self.name).await? {
            Some(lease) => lease,
            None => self.begin(&api).await?,
        };
        let spec = lease.spec.take().unwrap_or_default();
        let holder = spec.holder_identity.clone().unwrap_or_default();
        let renewed = spec.renew_time.as_ref().map(|time| time.0);
        if holder != self.identity && !holder.is_empty() {
            let is_as_seen = seen
                .as_ref()
                .is_some_and(|seen| seen.holder == holder && seen.renewed == renewed);
            if !is_as_seen {
                *seen = Some(Seen {
                    holder,
                    renewed,
                    at: Instant::now(),
                });
                return Ok(false);
            }
            let patience = spec
                .lease_duration_seconds
                .and_then(|seconds| u64::try_from(seconds).ok())
                .map_or(self.terms.duration, Duration::from_secs);
            if seen
                .as_ref()
                .is_some_and(|seen| seen.at.elapsed() < patience)
            {
                return Ok(false);
            }
        }
        lease.spec = Some(self.spec(Some(&spec)));
        // The resource version of what was read: of two who try, one wins.
        won(api
            .replace(&self.name, &PostParams::default(), &lease)
            .await)
    }

    /// Makes a lease that nobody holds: who does is a matter of resource versions. By server-side apply,
    /// since RBAC limits that to a name, and two who do it at once make the same one.
    async fn begin(&self, api: &Api<Lease>) -> Result<Lease, ApiFailure> {
        let lease = Lease {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                ..ObjectMeta::default()
            },
            spec: None,
        };
        let params = PatchParams::apply(MANAGER);
        let made = api.patch(&self.name, &params, &Patch::Apply(&lease)).await;
        Ok(made?)
    }

    fn spec(&self, old: Option<&LeaseSpec>) -> LeaseSpec {
        let now = MicroTime(Timestamp::now());
        let was_ours =
            old.is_some_and(|old| old.holder_identity.as_deref() == Some(&*self.identity));
        let old = old.cloned().unwrap_or_default();
        let transitions = old.lease_transitions.unwrap_or_default();
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(self.terms.duration.as_secs()).ok(),
            acquire_time: if was_ours {
                old.acquire_time
            } else {
                Some(now.clone())
            },
            renew_time: Some(now),
            lease_transitions: Some(if was_ours {
                transitions
            } else {
                transitions.saturating_add(1)
            }),
            ..LeaseSpec::default()
        }
    }

    /// So that the next one need not wait. Only ever a courtesy.
    async fn release(&self) {
        let letting_go = async {
            let api = self.api();
            let mut lease = api.get(&self.name).await?;
            let spec = lease.spec.get_or_insert_default();
            if spec.holder_identity.as_deref() == Some(&*self.identity) {
                spec.holder_identity = Some(String::new());
                api.replace(&self.name, &PostParams::default(), &lease)
                    .await?;
            }
            Ok::<_, kube::Error>(())
        };
        let _ = timeout(self.terms.retry, letting_go).await;
    }

    fn api(&self) -> Api<Lease> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }
}

/// Somebody else was faster: that is no failure.
fn won(written: kube::Result<Lease>) -> Result<bool, ApiFailure> {
    match written {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::mpsc;

    use super::*;
    use crate::webhook::testing::api::api;

    fn candidate(client: &Client, identity: &str) -> Candidate {
        Candidate {
            client: client.clone(),
            namespace: "ops".to_owned(),
            name: "helm-guard".to_owned(),
            identity: identity.to_owned(),
            terms: Terms {
                duration: Duration::from_secs(1),
                retry: Duration::from_millis(20),
                renew_within: Duration::from_millis(500),
            },
            is_led: Arc::default(),
            role: watch::Sender::default(),
        }
    }

    /// Says when it begins to lead.
    fn start(
        candidate: Candidate,
        said: &mpsc::Sender<String>,
    ) -> (tokio::task::JoinHandle<()>, CancellationToken) {
        let (stop, said) = (CancellationToken::new(), said.clone());
        let token = stop.clone();
        let running = tokio::spawn(async move {
            let who = Arc::new(candidate.identity.clone());
            let work = || {
                let (said, who) = (said.clone(), Arc::clone(&who));
                async move {
                    said.send(who.to_string()).await.unwrap();
                    std::future::pending::<()>().await;
                }
            };
            candidate.lead(work, token).await;
        });
        (running, stop)
    }

    #[tokio::test]
    async fn one_leads_until_it_lets_go() {
        let (client, _store) = api();
        let (sender, mut leading) = mpsc::channel(8);
        let (one, stop_one) = start(candidate(&client, "one"), &sender);
        assert_eq!(leading.recv().await.unwrap(), "one");
        let (_two, _stop_two) = start(candidate(&client, "two"), &sender);
        stop_one.cancel();
        one.await.unwrap();
        assert_eq!(leading.recv().await.unwrap(), "two");
    }

    #[tokio::test]
    async fn who_is_not_heard_of_any_more_is_followed() {
        let (client, _store) = api();
        let (sender, mut leading) = mpsc::channel(8);
        let (one, _stop) = start(candidate(&client, "one"), &sender);
        assert_eq!(leading.recv().await.unwrap(), "one");
        // As if its machine had gone.
        one.abort();
        let (_two, _stop_two) = start(candidate(&client, "two"), &sender);
        assert_eq!(leading.recv().await.unwrap(), "two");
    }

    #[tokio::test]
    async fn who_cannot_renew_stops_before_another_starts() {
        let (client, store) = api();
        let (sender, mut leading) = mpsc::channel(8);
        let (_one, _stop) = start(candidate(&client, "one"), &sender);
        assert_eq!(leading.recv().await.unwrap(), "one");
        let ours = store.lock().object.clone().unwrap();
        store.lock().refuse = Some(503);
        tokio::time::sleep(Duration::from_millis(600)).await;
        store.lock().refuse = None;
        // It leads again: the work that was cut short is begun anew.
        assert_eq!(leading.recv().await.unwrap(), "one");
        assert_eq!(ours["spec"]["holderIdentity"], "one");
    }
}
