//! One leader of many replicas: a Lease of coordination.k8s.io, as Kubernetes' own controllers use it.
//!
//! Clocks of machines are not compared: a holder counts as dead if its lease has not changed for the
//! lease duration, by this machine's own clock since it last saw a change
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
pub(crate) const LEASE_NAME: &str = "helm-guard";

/// The field manager of a created lease.
const MANAGER: &str = "helm-guard";

/// The timing of the election.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    /// How long a lease is valid after its last renewal.
    pub duration: Duration,
    /// How often the holder renews it, and the others read it.
    pub retry: Duration,
    /// A holder that failed to renew for this long stops leading; less than `duration`, so that it
    /// has stopped before the next one starts.
    pub(crate) renew_within: Duration,
}

impl Default for Terms {
    /// The values of Kubernetes' controllers.
    fn default() -> Self {
        Self {
            duration: Duration::from_secs(15),
            retry: Duration::from_secs(2),
            renew_within: Duration::from_secs(10),
        }
    }
}

/// The state of the election as a candidate sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// The lease has not been read yet.
    #[default]
    Unknown,
    /// This candidate leads.
    Leader,
    /// Another candidate leads, or led until recently.
    Follower,
    /// The lease cannot be read or written.
    Unelected,
}

/// A candidate for leadership.
#[derive(Clone)]
pub(crate) struct Candidate {
    /// Needs `get`, `create`, `patch` and `update` on the lease.
    pub client: Client,
    /// The namespace of the lease.
    pub namespace: String,
    /// The name of the lease.
    pub name: String,
    /// The identity of this candidate, unique among processes.
    pub identity: String,
    /// The timing of the election.
    pub(crate) terms: Terms,
    /// Whether some candidate leads: this one, or the holder of a valid lease.
    pub(crate) is_led: Arc<AtomicBool>,
    /// This candidate's role, for code that depends on it.
    pub role: watch::Sender<Role>,
}

/// The last seen lease, and since when it has not changed.
struct SeenLease {
    holder: String,
    renewed: Option<Timestamp>,
    at: Instant,
}

impl Candidate {
    /// Runs `work` while this candidate leads, from the start each time; at `stop`, the lease is released.
    pub(crate) async fn lead<W: Future>(&self, work: impl Fn() -> W, stop: CancellationToken) {
        let mut seen = None;
        let mut logged = None;
        loop {
            tokio::select! {
                () = self.win(&mut seen, &mut logged) => {}
                () = stop.cancelled() => return,
            }
            tracing::info!(lease = self.name, identity = self.identity, "leading");
            tokio::select! {
                _ = work() => {}
                () = self.lose(&mut seen) => {
                    tracing::warn!(lease = self.name, "lost leadership");
                }
                () = stop.cancelled() => {
                    self.release().await;
                    return;
                }
            }
        }
    }

    /// Returns once this candidate leads.
    async fn win(&self, seen: &mut Option<SeenLease>, logged: &mut Option<String>) {
        loop {
            match self.attempt(seen).await {
                Ok(true) => return,
                Ok(false) => *logged = None,
                Err(error) => {
                    let error = error.to_string();
                    // A missing right would be logged every other second.
                    if logged.as_ref() != Some(&error) {
                        tracing::warn!(
                            lease = self.name,
                            error,
                            "failed to acquire or renew the lease"
                        );
                        *logged = Some(error);
                    }
                }
            }
            sleep(self.terms.retry).await;
        }
    }

    /// Returns once this candidate no longer leads.
    async fn lose(&self, seen: &mut Option<SeenLease>) {
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

    /// Takes or renews the lease, if possible; returns whether this candidate holds it now.
    async fn attempt(&self, seen: &mut Option<SeenLease>) -> Result<bool, ApiFailure> {
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

    async fn take(&self, seen: &mut Option<SeenLease>) -> Result<bool, ApiFailure> {
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
                *seen = Some(SeenLease {
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
        // With the resource version that was read: of two candidates, one wins.
        won(api
            .replace(&self.name, &PostParams::default(), &lease)
            .await)
    }

    /// Creates a lease without a holder; the holder is decided by resource versions. By server-side
    /// apply, because RBAC can limit that to a name, and concurrent creations have the same result.
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

    /// So that the next leader need not wait. Failures are ignored.
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

/// Another candidate was faster, which is not a failure.
fn won(written: kube::Result<Lease>) -> Result<bool, ApiFailure> {
    match written {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, atomic::AtomicUsize};

    use tokio::sync::mpsc;

    use super::*;
    use crate::webhook::testing::api::{api, client_unless};

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

    /// The work of a leader: it sends its name, and counts how many work at once.
    #[derive(Clone)]
    struct Work {
        said: mpsc::Sender<String>,
        working: Arc<AtomicUsize>,
        most: Arc<AtomicUsize>,
    }

    impl Work {
        async fn begin(self, who: String) {
            let _working = Working::begin(&self);
            self.said.send(who).await.unwrap();
            std::future::pending::<()>().await;
        }
    }

    /// Counts until it is dropped.
    struct Working(Arc<AtomicUsize>);

    impl Working {
        fn begin(work: &Work) -> Self {
            let now = work.working.fetch_add(1, Ordering::SeqCst) + 1;
            work.most.fetch_max(now, Ordering::SeqCst);
            Self(Arc::clone(&work.working))
        }
    }

    impl Drop for Working {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }

    fn run(candidate: Candidate, work: Work) -> (tokio::task::JoinHandle<()>, CancellationToken) {
        let stop = CancellationToken::new();
        let token = stop.clone();
        let running = tokio::spawn(async move {
            let begin = || work.clone().begin(candidate.identity.clone());
            candidate.lead(begin, token).await;
        });
        (running, stop)
    }

    /// Sends its name when it starts to lead.
    fn start(
        candidate: Candidate,
        said: &mpsc::Sender<String>,
    ) -> (tokio::task::JoinHandle<()>, CancellationToken) {
        let work = Work {
            said: said.clone(),
            working: Arc::default(),
            most: Arc::default(),
        };
        run(candidate, work)
    }

    #[tokio::test]
    async fn a_leader_leads_until_it_releases_the_lease() {
        let (client, _store) = api();
        let (sender, mut leading) = mpsc::channel(8);
        let (one, stop_one) = start(candidate(&client, "one"), &sender);
        assert_eq!(leading.recv().await.unwrap(), "one");
        let two = candidate(&client, "two");
        let mut role = two.role.subscribe();
        let (_two, _stop_two) = start(two, &sender);
        role.wait_for(|role| *role == Role::Follower).await.unwrap();
        // Several terms of the lease: the leader renews it.
        tokio::time::sleep(Duration::from_millis(2500)).await;
        assert!(leading.is_empty(), "another one leads meanwhile");
        stop_one.cancel();
        one.await.unwrap();
        assert_eq!(leading.recv().await.unwrap(), "two");
    }

    /// The other one has known the lease before, so it does not take it at first sight.
    #[tokio::test]
    async fn a_dead_leader_is_replaced_once_its_lease_has_expired() {
        let (client, store) = api();
        let (sender, mut leading) = mpsc::channel(8);
        let (one, _stop) = start(candidate(&client, "one"), &sender);
        assert_eq!(leading.recv().await.unwrap(), "one");
        let two = candidate(&client, "two");
        let mut role = two.role.subscribe();
        let (_two, _stop_two) = start(two, &sender);
        role.wait_for(|role| *role == Role::Follower).await.unwrap();
        // As if its machine had failed.
        one.abort();
        let died = Instant::now();
        assert_eq!(leading.recv().await.unwrap(), "two");
        assert!(died.elapsed() > Duration::from_millis(800));
        let lease = store.lock().object.clone().unwrap();
        assert_eq!(lease["spec"]["holderIdentity"], "two");
        assert_eq!(lease["spec"]["leaseTransitions"], 2);
    }

    /// Of two candidates, one at a time works: a leader that only it cannot reach the API server stops first.
    #[tokio::test]
    async fn a_leader_that_cannot_renew_stops_before_another_starts() {
        let (client, store) = api();
        let cut_off = Arc::new(AtomicBool::new(false));
        let working = Arc::new(AtomicUsize::new(0));
        let most = Arc::new(AtomicUsize::new(0));
        let (sender, mut leading) = mpsc::channel(8);
        let of_one = client_unless(&store, Arc::clone(&cut_off));
        let work = Work {
            said: sender,
            working: Arc::clone(&working),
            most: Arc::clone(&most),
        };
        let (_one, _stop) = run(candidate(&of_one, "one"), work.clone());
        assert_eq!(leading.recv().await.unwrap(), "one");
        let two = candidate(&client, "two");
        let mut role = two.role.subscribe();
        let (_two, _stop_two) = run(two, work);
        role.wait_for(|role| *role == Role::Follower).await.unwrap();
        cut_off.store(true, Ordering::SeqCst);
        assert_eq!(leading.recv().await.unwrap(), "two");
        assert_eq!(working.load(Ordering::SeqCst), 1);
        cut_off.store(false, Ordering::SeqCst);
        // The first one is a follower again, and does not start again.
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(leading.is_empty());
        assert_eq!(most.load(Ordering::SeqCst), 1, "both worked at once");
    }
}
