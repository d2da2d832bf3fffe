//! Memory, time to ready and API calls of a guard, by the number of releases.
//!
//! Releases are those of [`crate::release`]: three revisions, about 15 objects, 50 KB of manifest. The API server
//! is [`crate::api`], because it takes minutes to write 30,000 Secrets to a real one. Up to 1,000 releases, a real
//! one is measured too, to show the difference.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result};
use futures_util::{StreamExt, TryStreamExt, stream};
use helm_guard::cluster::client::{self, KubeconfigSelection};
use kube::Client;
use serde_json::{Value, json};
use testbed::ControlPlane;
use tokio::task::block_in_place;

use crate::{
    api::{self, Api, Records},
    guard::Server,
    load::median,
    plan::Plan,
    release::{self, About, Release},
    report::{Goal, Report},
    tls::Identity,
};

const GROUP: &str = "memory and start";

/// The time for the allocator to return memory.
const SETTLE: Duration = Duration::from_secs(2);

/// The most releases in a real API server.
const REAL: usize = 1_000;

/// The payload of a record: a Secret has at most 1 MiB, including the rest of the object.
const LARGEST_PAYLOAD: usize = 1_000_000;

/// Secrets written to a real API server at a time.
const WRITERS: usize = 8;

/// The figures of a start.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// KiB, after the start.
    pub resident: f64,
    /// KiB, at most.
    pub peak: f64,
    /// Seconds.
    pub ready: f64,
    /// CPU seconds.
    pub cpu: f64,
    /// Bytes of compressed declared objects, by the guard's own count.
    pub index_bytes: f64,
    /// Requests to the API server, if they were counted.
    pub calls: f64,
}

/// Measures with generated records, and with a real API server if there is one.
pub async fn measure(
    plan: &Plan,
    folder: &Path,
    plane: Option<&ControlPlane>,
    report: &mut Report,
) -> Result<()> {
    let text = Release::settled(0).manifest(3);
    let gzipped = release::gzipped(&text) as f64 / 1024.0;
    report.add(
        GROUP,
        "manifest of a release",
        text.len() as f64 / 1024.0,
        "KiB",
    );
    report.add(GROUP, "manifest of a release, gzipped", gzipped, "KiB");
    let mut starts: Vec<(usize, Start)> = Vec::new();
    for &count in &plan.releases {
        let start = of_generated(folder, count).await?;
        add(
            report,
            &format!("{count} releases"),
            &start,
            count >= 10_000,
        );
        starts.push((count, start));
    }
    if let (Some((few, small)), Some((many, large))) = (starts.first(), starts.last())
        && many > few
    {
        let growth = (large.resident - small.resident) / (many - few) as f64;
        let row = format!("growth per release, from {few} to {many}");
        report.aim(GROUP, row, growth, "KiB", Goal::AtMost(gzipped + 2.0));
    }
    let start = of_records(folder, one_large_release()).await?;
    add(report, "one release, 10 revisions of 1 MiB", &start, false);
    if let Some(plane) = plane {
        of_real(plan, folder, plane, report).await?;
    }
    report.note(
        "memory and start: a new process each; generated records, served from memory over TLS by a \
         server on the same cores, so the time to ready holds its share of them; \"real\" is a real API \
         server with etcd",
    );
    Ok(())
}

fn add(report: &mut Report, what: &str, start: &Start, has_goals: bool) {
    let resident = start.resident / 1024.0;
    let row = format!("{what}: resident");
    if has_goals {
        report.aim(GROUP, row, resident, "MiB", Goal::AtMost(150.0));
    } else {
        report.add(GROUP, row, resident, "MiB");
    }
    report.add(
        GROUP,
        format!("{what}: resident at most"),
        start.peak / 1024.0,
        "MiB",
    );
    let row = format!("{what}: time to ready");
    if has_goals {
        report.aim(GROUP, row, start.ready, "s", Goal::AtMost(15.0));
    } else {
        report.add(GROUP, row, start.ready, "s");
    }
    report.add(GROUP, format!("{what}: CPU to ready"), start.cpu, "s");
    let objects = start.index_bytes / 1024.0 / 1024.0;
    report.add(
        GROUP,
        format!("{what}: declared objects, compressed"),
        objects,
        "MiB",
    );
    if start.calls > 0.0 {
        report.add(
            GROUP,
            format!("{what}: API calls to ready"),
            start.calls,
            "",
        );
    }
}

/// A guard and this many generated releases.
pub async fn of_generated(folder: &Path, count: usize) -> Result<Start> {
    let releases: Vec<Release> = (0..count).map(Release::settled).collect();
    let records = block_in_place(|| Records::of(&releases));
    of_records(folder, records).await
}

/// The median of several starts, for the gate.
pub async fn median_resident(folder: &Path, count: usize, starts: usize) -> Result<Start> {
    let mut all = Vec::new();
    for _ in 0..starts {
        all.push(of_generated(folder, count).await?);
    }
    let of = |figure: fn(&Start) -> f64| median(all.iter().map(figure).collect());
    Ok(Start {
        resident: of(|start| start.resident),
        peak: of(|start| start.peak),
        ready: of(|start| start.ready),
        cpu: of(|start| start.cpu),
        index_bytes: of(|start| start.index_bytes),
        calls: of(|start| start.calls),
    })
}

async fn of_records(folder: &Path, records: Records) -> Result<Start> {
    let identity = Identity::issue(folder)?;
    let api = Api::start(records, &identity).await?;
    let kubeconfig = api.kubeconfig(folder)?;
    let mut start = start(folder, &identity, &kubeconfig).await?;
    start.calls = api.calls().values().sum::<usize>() as f64;
    Ok(start)
}

async fn start(folder: &Path, identity: &Identity, kubeconfig: &Path) -> Result<Start> {
    let guard = block_in_place(|| Server::guard(folder, identity, kubeconfig))?;
    let cpu = guard.cpu_seconds()?;
    tokio::time::sleep(SETTLE).await;
    let memory = guard.memory()?;
    let index_bytes = guard.metrics()?.sum("helm_guard_index_bytes");
    block_in_place(|| {
        let ready = guard.ready_after.as_secs_f64();
        drop(guard);
        Ok(Start {
            resident: memory.resident,
            peak: memory.peak,
            ready,
            cpu,
            index_bytes,
            calls: 0.0,
        })
    })
}

/// Ten revisions of the maximum size.
fn one_large_release() -> Records {
    let mut records = Records::default();
    let (namespace, name) = ("large", "large");
    for revision in 1..=9 {
        // Its body is never requested.
        records.add(namespace, name, (revision, "superseded"), "");
    }
    let about = About {
        namespace,
        name,
        chart: 0,
        revision: 10,
        status: "deployed",
    };
    let mut objects: Vec<Value> = Vec::new();
    let mut payload = String::new();
    for number in 0_usize.. {
        objects.extend(Release::settled(number).objects(10));
        // To compress it after each would take a minute.
        if !number.is_multiple_of(8) {
            continue;
        }
        let longer = release::payload(&about, &release::manifest(&objects));
        if longer.len() > LARGEST_PAYLOAD {
            break;
        }
        payload = longer;
    }
    records.add(namespace, name, (10, "deployed"), &payload);
    records
}

/// The same releases in a real API server, unless that takes too long.
async fn of_real(
    plan: &Plan,
    folder: &Path,
    plane: &ControlPlane,
    report: &mut Report,
) -> Result<()> {
    let identity = Identity::issue(folder)?;
    let client = client::connect(&KubeconfigSelection {
        kubeconfig: Some(plane.alice().to_owned()),
        ..client::KubeconfigSelection::default()
    })
    .await?;
    let mut written = 0;
    for &count in plan.releases.iter().filter(|count| **count <= REAL) {
        fill(&client, written..count).await?;
        written = written.max(count);
        let start = start(folder, &identity, plane.alice()).await?;
        add(report, &format!("real, {count} releases"), &start, false);
    }
    Ok(())
}

/// Writes the namespaces and records of releases.
async fn fill(client: &Client, numbers: std::ops::Range<usize>) -> Result<()> {
    let mut namespaces: Vec<String> = Vec::new();
    for number in numbers.clone() {
        let namespace = Release::settled(number).namespace();
        if namespaces.last() != Some(&namespace) {
            namespaces.push(namespace);
        }
    }
    for namespace in namespaces {
        let object =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
        create(client, "/api/v1/namespaces", &object).await?;
    }
    let writes = numbers.map(|number| async move {
        let release = Release::settled(number);
        let (namespace, name) = (release.namespace(), release.name());
        for revision in release.revisions() {
            let payload = tokio::task::spawn_blocking(move || release.payload(revision)).await?;
            let secret = api::secret(&namespace, &name, revision, &payload);
            let path = format!("/api/v1/namespaces/{namespace}/secrets");
            create(client, &path, &secret).await?;
        }
        anyhow::Ok(())
    });
    stream::iter(writes)
        .buffer_unordered(WRITERS)
        .try_collect::<Vec<()>>()
        .await
        .map(drop)
}

/// Writes an object, unless it is there.
async fn create(client: &Client, path: &str, object: &Value) -> Result<()> {
    let request = http::Request::post(path)
        .header("content-type", "application/json")
        .body(serde_json::to_vec(object)?)?;
    match client.request_text(request).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        Err(error) => Err(error).with_context(|| format!("failed to write to {path}")),
    }
}
