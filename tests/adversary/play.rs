//! A play: a setup, then strikes, on one object; and what happens when something is lost.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    api::{Persist, Reply},
    invariant::Loss,
    releases::Release,
    report::Outcome,
    request::{Request, Verb},
    strikes::Strike,
    target::{Role, Target},
    world::World,
};

/// After this many repetitions in which the API server failed open, that is a finding: the attack
/// keeps the guard from answering.
const ANSWERS_MISSED: usize = 4;

/// One attack on one object.
#[derive(Clone, Debug)]
pub struct Play {
    /// The setup's name; empty for strikes alone.
    pub name: String,
    /// The setup. It may be denied.
    pub set_up: Vec<Strike>,
    /// The strikes, in order.
    pub strikes: Vec<Strike>,
}

impl Play {
    /// Strikes without a setup.
    pub fn alone(strikes: Vec<Strike>) -> Self {
        Self {
            name: String::new(),
            set_up: Vec::new(),
            strikes,
        }
    }

    fn technique(&self, strike: &Strike, target: &Target) -> String {
        let alone = alone(strike, target);
        if self.name.is_empty() {
            alone
        } else {
            format!("{}, then {alone}", self.name)
        }
    }
}

/// The technique of a strike without a setup. A loss that affects a whole namespace is one finding, not a
/// hundred.
fn alone(strike: &Strike, target: &Target) -> String {
    if target.place.namespace.as_deref() == Some("kube-system") {
        format!("{} in kube-system", strike.name)
    } else if target.kind == "Lease" {
        format!("{} of a Lease", strike.name)
    } else {
        strike.name.clone()
    }
}

/// A request that was executed.
pub struct Done {
    /// It.
    pub request: Request,
    /// The guard's answer.
    pub warning: Option<String>,
}

/// The stage of a play: one release.
#[derive(Clone, Copy)]
pub struct Stage<'a> {
    pub world: &'a World,
    /// Whose objects these are.
    pub release: &'a Release,
    /// When to stop.
    pub deadline: Instant,
}

impl Stage<'_> {
    /// Whether the time is over.
    pub fn is_over(&self) -> bool {
        Instant::now() >= self.deadline
    }

    /// Runs a play and leaves the object as it was.
    pub async fn run(&self, target: &mut Target, play: &Play) -> anyhow::Result<()> {
        let wanted = |strike: &&Strike| {
            let report = self.world.report.lock();
            // A strike that works alone needs no setup.
            report.wants(&play.technique(strike, target))
                && (play.name.is_empty() || report.times(&alone(strike, target)) == 0)
        };
        let strikes: Vec<&Strike> = play.strikes.iter().filter(wanted).collect();
        if strikes.is_empty() || self.is_over() {
            return Ok(());
        }
        let since = Timestamp::now();
        let mut done = self.set_up(target, play).await?;
        if play.set_up.iter().any(|strike| !strike.name.is_empty()) && done.is_empty() {
            // Denied: the strikes without a setup are tried separately.
            return Ok(());
        }
        for strike in strikes {
            if self.is_over() {
                break;
            }

            let sent = self.send(target, strike).await?;
            let Some(loss) = (match sent {
                Some(_) => self.loss(target).await?,
                None => None,
            }) else {
                done.extend(sent);
                continue;
            };
            done.extend(sent);
            self.lost(target, (play, strike), (loss, &done, since))
                .await?;
            done = self.set_up(target, play).await?;
        }
        if !done.is_empty() {
            self.restore(target).await?;
        }
        Ok(())
    }

    async fn set_up(&self, target: &Target, play: &Play) -> anyhow::Result<Vec<Done>> {
        let mut done = Vec::new();
        for strike in &play.set_up {
            done.extend(self.send(target, strike).await?);
        }
        Ok(done)
    }

    /// Sends a strike and returns the executed request, if any.
    pub async fn send(&self, target: &Target, strike: &Strike) -> anyhow::Result<Option<Done>> {
        let live = if strike.edits() {
            let path = strike.place.main().path();
            let reply = self.world.mallory.get(&path).await?;
            if !reply.is_ok() {
                return Ok(None);
            }
            reply.body
        } else {
            Value::Null
        };
        for request in strike.requests(&live) {
            let reply = request.send(&self.world.mallory).await?;
            let outcome = outcome(&reply);
            let place = &request.place;
            let verb = (request.verb.as_str(), place.subresource.as_deref());
            self.world.report.lock().count(verb, &target.kind, outcome);
            match outcome {
                Outcome::Denied => return Ok(None),
                Outcome::Rejected => self.world.report.lock().rejected(verb, reply.message()),
                Outcome::Passed | Outcome::Warned => {
                    let warning = guards_warning(&reply).map(str::to_owned);
                    return Ok(Some(Done { request, warning }));
                }
            }
        }
        Ok(None)
    }

    /// The current losses of an object.
    pub async fn loss(&self, target: &Target) -> anyhow::Result<Option<Loss>> {
        let reply = self.world.oncall.get(&target.place.path()).await?;
        Ok(target.promises.broken(reply.code, &reply.body))
    }

    /// Finds the minimal attack, reports it and restores the object.
    async fn lost(
        &self,
        target: &mut Target,
        (play, strike): (&Play, &Strike),
        (loss, done, since): (Loss, &[Done], Timestamp),
    ) -> anyhow::Result<()> {
        let object = (
            target.kind.clone(),
            target.place.name.clone().unwrap_or_default(),
        );
        let named = done.iter().find_map(|done| done.warning.clone());
        let named = named.or_else(|| self.world.named_since(since, (&object.0, &object.1)));
        let technique = play.technique(strike, target);
        let by_itself = alone(strike, target);
        if let Some(by) = named {
            self.world.report.lock().name(&technique, &by);
            return self.restore(target).await;
        }
        let known = |technique: &str| self.world.report.lock().times(technique) > 1;
        if known(&technique) || known(&by_itself) {
            return self.restore(target).await;
        }
        let lines = |done: &[Done]| done.iter().map(|done| done.request.to_string()).collect();
        let whole: Vec<String> = lines(done);
        self.restore(target).await?;
        // The strike alone, then with its setup.
        for (technique, set_up) in [(&by_itself, &[][..]), (&technique, &play.set_up)] {
            let mut times_unanswered = 0;
            loop {
                let unanswered = self.world.failed_open();
                let mut done = Vec::new();
                for before in set_up.iter().chain([strike]) {
                    done.extend(self.send(target, before).await?);
                }
                let Some(loss) = self.loss(target).await? else {
                    break;
                };
                if self.world.failed_open() > unanswered {
                    // The guard did not answer in time: a busy machine, or a request that is too expensive.
                    times_unanswered += 1;
                    let title = &target.title;
                    let note = format!("not answered in time: {technique}: {title}");
                    self.world.report.lock().note(note);
                    self.restore(target).await?;
                    if times_unanswered < ANSWERS_MISSED {
                        continue;
                    }
                    if self.world.is_slow_build {
                        return Ok(());
                    }
                }
                let mut requests = lines(&done);
                if times_unanswered == ANSWERS_MISSED {
                    requests.push(format!("# not answered in time, {ANSWERS_MISSED} times"));
                }
                let title = &target.title;
                self.world
                    .report
                    .lock()
                    .find(technique, title, &loss, requests);
                return self.restore(target).await;
            }
            self.restore(target).await?;
        }
        // An attack of many requests is not repeated in full.
        let was_heard = self.world.failed_open() == 0;
        let mut report = self.world.report.lock();
        if done.len() > 2 && was_heard {
            report.find(&technique, &target.title, &loss, whole);
        } else {
            // It did not happen again: the machine was too busy for the guard to answer.
            report.note(format!(
                "seen once: {technique}: {}: {loss}: {whole:?}",
                target.title
            ));
        }
        Ok(())
    }

    /// Restores an object: undeclared fields by hand, missing objects by Helm.
    pub async fn restore(&self, target: &mut Target) -> anyhow::Result<()> {
        let path = target.place.path();
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let reply = self.world.oncall.get(&path).await?;
            let live = &reply.body;
            if reply.code == 404 {
                return self.made_by_helm(target).await;
            }
            if live.pointer("/metadata/deletionTimestamp").is_some() {
                let none = json!({"metadata": {"finalizers": null}});
                self.world.oncall.merge_patch(&path, &none).await?;
                // A pod has a grace period.
                let mut at_once = Request::new(Verb::Delete, target.place.clone());
                "gracePeriodSeconds=0".clone_into(&mut at_once.query);
                at_once.send(&self.world.oncall).await?;
                tokio::time::sleep(Duration::from_millis(50)).await;
            } else {
                let before = target.as_it_was(live);
                let put = self
                    .world
                    .oncall
                    .put(&path, &before, Persist::Really)
                    .await?;
                if put.is_ok() && self.loss(target).await?.is_none() {
                    return Ok(());
                }
                if put.code == 422 || put.is_ok() {
                    self.world.oncall.delete(&path, Persist::Really).await?;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            anyhow::ensure!(
                Instant::now() < deadline,
                "failed to put {} back: {:?}",
                target.title,
                self.loss(target).await?
            );
        }
    }

    async fn made_by_helm(&self, target: &mut Target) -> anyhow::Result<()> {
        let path = target.place.path();
        if target.role == Role::Declared {
            self.release.upgrade(self.world, &[]).await;
        }
        let mut reply = self.world.oncall.get(&path).await?;
        if !reply.is_ok() {
            self.release.rebuild(self.world).await?;
            reply = self.world.oncall.get(&path).await?;
        }
        anyhow::ensure!(reply.is_ok(), "failed to make {} again", target.title);
        target.retake(reply.body);
        Ok(())
    }
}

/// The outcome of a request.
pub fn outcome(reply: &Reply) -> Outcome {
    if reply.denied_by_guard() {
        Outcome::Denied
    } else if !reply.is_ok() {
        Outcome::Rejected
    } else if guards_warning(reply).is_some() {
        Outcome::Warned
    } else {
        Outcome::Passed
    }
}

/// The guard's warnings.
pub fn guards_warning(reply: &Reply) -> Option<&str> {
    let mut warnings = reply.warnings.iter();
    warnings
        .find(|warning| warning.contains("helm-guard:"))
        .map(String::as_str)
}
