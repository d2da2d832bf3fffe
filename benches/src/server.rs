//! The guard's server compared with webhooks that do nothing: the same callers, the same reviews, in turn.
//!
//! A round is one leg to each server; which comes first changes from round to round. A ratio is that of
//! one round, and the median of the rounds counts, because other load on the machine affects both. The
//! targets are ratios to the null webhook; the other ratios put them in context (see [`crate::null`]).

use std::{collections::BTreeMap, path::Path, sync::Arc};

use anyhow::{Result, bail};
use bytes::Bytes;

use crate::{
    api::Api,
    guard::Server,
    load::{self, Expected, Run, median},
    null,
    plan::Plan,
    recorded,
    report::{Goal, Report},
    stream::{self, Stream},
    tls::Identity,
};

const GROUP: &str = "server";

/// Connections by which denials are asked for: people, not pipelines.
const DENIED_AT_ONCE: usize = 4;

/// Who is called, in turn.
const CONTENDERS: [(&str, Option<&str>); 4] = [
    (GUARD, None),
    ("null webhook", Some(null::NULL)),
    ("floor", Some(null::FLOOR)),
    ("naive webhook", Some(null::NAIVE)),
];

const GUARD: &str = "guard";

/// What the goals of a stream are; the one without has none.
struct Goals {
    throughput: f64,
    cpu: Option<f64>,
}

/// Measures, against an API server of generated records.
pub async fn measure(plan: &Plan, folder: &Path, report: &mut Report) -> Result<()> {
    let identity = Identity::issue(folder)?;
    let recording = recorded::load()?;
    let mut records = stream::records();
    if let Some(recording) = &recording {
        recording.add_records(&mut records);
    }
    let api = Api::start(records, &identity).await?;
    let kubeconfig = api.kubeconfig(folder)?;
    let (guard, null) = tokio::task::block_in_place(|| {
        anyhow::Ok((
            Server::guard(folder, &identity, &kubeconfig)?,
            Server::null(folder, &identity)?,
        ))
    })?;
    let bench = Bench {
        plan,
        guard: &guard,
        null: &null,
        identity: &identity,
    };
    let goals = Goals {
        throughput: 0.85,
        cpu: Some(1.25),
    };
    bench
        .compare(&stream::mixed(), Some(&goals), report)
        .await?;
    if let Some(recording) = &recording {
        let stream = bench.that_pass(recording).await?;
        bench.compare(&stream, None, report).await?;
    }
    let goals = Goals {
        throughput: 0.60,
        cpu: None,
    };
    bench
        .compare(&stream::heavy(), Some(&goals), report)
        .await?;
    bench.alone(&stream::mixed(), report).await?;
    bench.denials(&stream::denials(), report).await?;
    report.note(format!(
        "server: {} keep-alive TLS connections on loopback, HTTP/1.1; servers and callers share the \
         cores, so rates are those of the pair, CPU is the server's alone; {} rounds of {} s to each \
         server, alternating; ratios are medians of the rounds",
        plan.connections,
        plan.rounds,
        plan.leg.as_secs_f64()
    ));
    Ok(())
}

struct Bench<'a> {
    plan: &'a Plan,
    guard: &'a Server,
    null: &'a Server,
    identity: &'a Identity,
}

type Figure = fn(&Leg) -> f64;

/// One server under one stream.
struct Leg {
    run: Run,
    /// CPU seconds of the server for 1,000 reviews.
    cpu: f64,
}

impl Bench<'_> {
    async fn leg(&self, path: Option<&'static str>, bodies: &Arc<[Bytes]>) -> Result<Leg> {
        let (server, target) = match path {
            Some(path) => (self.null, self.null.target_at(path, self.identity)?),
            None => (self.guard, self.guard.target(self.identity)?),
        };
        let before = server.cpu_seconds()?;
        let Plan {
            connections, leg, ..
        } = *self.plan;
        let run = load::run(&target, bodies, connections, leg, Expected::Allowed).await?;
        let cpu = (server.cpu_seconds()? - before) * 1e3 / run.requests.max(1) as f64;
        Ok(Leg { run, cpu })
    }

    /// All of them under a stream, in turn.
    async fn compare(
        &self,
        stream: &Stream,
        goals: Option<&Goals>,
        report: &mut Report,
    ) -> Result<()> {
        let reasons = self.reasons(stream).await?;
        let bodies: Arc<[Bytes]> = stream.bodies.clone().into();
        let metrics = self.guard.metrics()?;
        let mut legs: [Vec<Leg>; CONTENDERS.len()] = Default::default();
        for round in 0..self.plan.rounds {
            for turn in 0..CONTENDERS.len() {
                let who = (round + turn) % CONTENDERS.len();
                legs[who].push(self.leg(CONTENDERS[who].1, &bodies).await?);
            }
        }
        let inside = self.guard.metrics()?.quantile_since(
            &metrics,
            "helm_guard_request_duration_seconds",
            0.99,
        );

        let name = stream.name;
        report.add(
            GROUP,
            format!("{name}: bytes of a review, mean"),
            stream.mean_bytes(),
            "B",
        );
        for ((server, _), legs) in CONTENDERS.iter().zip(&legs) {
            let figures: [(&str, &'static str, Figure); 4] = [
                ("reviews a second", "/s", |leg| leg.run.rate()),
                ("p50", "ms", |leg| leg.run.milliseconds(0.5)),
                ("p99", "ms", |leg| leg.run.milliseconds(0.99)),
                ("CPU of 1,000 reviews", "s", |leg| leg.cpu),
            ];
            for (what, unit, figure) in figures {
                let row = format!("{name}: {server}, {what}");
                report.add(GROUP, row, median(legs.iter().map(figure).collect()), unit);
            }
        }
        let ratio = |one: usize, other: usize, figure: Figure| {
            let pairs = legs[one].iter().zip(&legs[other]);
            median(
                pairs
                    .map(|(one, other)| figure(one) / figure(other))
                    .collect(),
            )
        };
        let [guard, null, floor, naive] = [0, 1, 2, 3];
        let throughput: Figure = |leg| leg.run.rate();
        let cpu: Figure = |leg| leg.cpu;
        let aim = |report: &mut Report, row: String, value: f64, goal: Option<Goal>| match goal {
            Some(goal) => report.aim(GROUP, row, value, "", goal),
            None => report.add(GROUP, row, value, ""),
        };
        let row = format!("{name}: throughput, guard / null webhook");
        let goal = goals.map(|goals| Goal::AtLeast(goals.throughput));
        aim(report, row, ratio(guard, null, throughput), goal);
        let row = format!("{name}: CPU of a review, guard / null webhook");
        let goal = goals.and_then(|goals| goals.cpu).map(Goal::AtMost);
        aim(report, row, ratio(guard, null, cpu), goal);
        for (what, one, other) in [
            ("guard / floor", guard, floor),
            ("naive webhook / null webhook", naive, null),
        ] {
            let row = format!("{name}: throughput, {what}");
            aim(report, row, ratio(one, other, throughput), None);
        }
        let row = format!("{name}: p99 inside the guard, at most");
        report.aim(GROUP, row, inside * 1e3, "ms", Goal::AtMost(1.0));
        report.about(&format!("stream {name}"), reasons);
        Ok(())
    }

    /// Sends each review once, and returns the shares of the verdicts: 45 % not-declared, and so on.
    async fn reasons(&self, stream: &Stream) -> Result<String> {
        let mut caller = self.guard.target(self.identity)?.connect().await?;
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for (at, body) in stream.bodies.iter().enumerate() {
            let answer = caller.call(body.clone()).await?;
            if !stream::is_plain_pass(&answer) {
                bail!(
                    "review {at} of the {} stream should pass: {}",
                    stream.name,
                    String::from_utf8_lossy(&answer)
                );
            }
            *counts.entry(stream::reason(&answer)).or_default() += 1;
        }
        let all = stream.bodies.len().max(1);
        let shares = counts.iter().map(|(reason, count)| {
            let percent = *count as f64 * 100.0 / all as f64;
            format!("{reason} {percent:.0} %")
        });
        Ok(shares.collect::<Vec<_>>().join(", "))
    }

    /// Those of a recording that pass: the others wait for a read-through.
    async fn that_pass(&self, recording: &recorded::Recording) -> Result<Stream> {
        let mut caller = self.guard.target(self.identity)?.connect().await?;
        let mut bodies = Vec::new();
        for body in &recording.reviews {
            let answer = caller.call(body.clone()).await?;
            if stream::is_plain_pass(&answer) {
                bodies.push(body.clone());
            }
        }
        if bodies.is_empty() {
            bail!("none of the recorded reviews passes");
        }
        Ok(Stream {
            name: "recorded",
            bodies,
            expected: Expected::Allowed,
        })
    }

    /// One caller at a time: the time of an answer without a queue.
    async fn alone(&self, stream: &Stream, report: &mut Report) -> Result<()> {
        let bodies: Arc<[Bytes]> = stream.bodies.clone().into();
        let leg = self.plan.leg / 2;
        for (name, server) in [("null webhook", self.null), ("guard", self.guard)] {
            let target = server.target(self.identity)?;
            let run = load::run(&target, &bodies, 1, leg, Expected::Allowed).await?;
            for (what, share) in [("p50", 0.5), ("p99", 0.99)] {
                let row = format!("one connection, {}: {name}, {what}", stream.name);
                report.add(GROUP, row, run.milliseconds(share), "ms");
            }
        }
        Ok(())
    }

    /// Each waits for its release's records to be read again; here they come from a fast API server.
    async fn denials(&self, stream: &Stream, report: &mut Report) -> Result<()> {
        let bodies: Arc<[Bytes]> = stream.bodies.clone().into();
        let target = self.guard.target(self.identity)?;
        let before = self.guard.metrics()?.sum("helm_guard_read_throughs_total");
        let leg = self.plan.leg;
        let run = load::run(&target, &bodies, DENIED_AT_ONCE, leg, stream.expected).await?;
        let reads = self.guard.metrics()?.sum("helm_guard_read_throughs_total") - before;
        if reads < run.requests as f64 {
            bail!("{} denials came of {reads} read-throughs", run.requests);
        }
        let row = |what: &str| format!("denials with read-through: {what}");
        report.add(GROUP, row("a second"), run.rate(), "/s");
        report.add(GROUP, row("p50"), run.milliseconds(0.5), "ms");
        report.aim(
            GROUP,
            row("p99"),
            run.milliseconds(0.99),
            "ms",
            Goal::AtMost(10.0),
        );
        Ok(())
    }
}
