//! Forged records: of another release, in another namespace, of another type. They must not open a way
//! past the guard, and must not make it deny Helm's own requests.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    api::{Persist, eventually},
    play::{Play, Stage},
    records::{self, Forged, Kept},
    request::{Request, Verb},
    strikes::{Act, Edit, Strike, fields, marks, values},
    target::{Role, Target},
};

/// A namespace that only Mallory uses.
pub const ELSEWHERE: &str = "mallorys";
/// The release that she forges.
const MINE: &str = "mine";
/// Higher than any revision of the victim.
const NEWEST: u32 = 99;

/// Every forgery against a release, by name.
pub async fn all(stage: &Stage<'_>) -> anyhow::Result<Vec<(String, Forged)>> {
    let release = stage.release;
    let record = records::newest(stage.world, release).await?;
    let Some(real) = records::decoded(&record) else {
        anyhow::bail!("failed to read the record of {}", release.name);
    };
    let namespace = release.namespace.as_str();
    let mut found = Vec::new();
    let mut one = |name: String, forged| found.push((name, forged));
    // Copies next to the real records, in forms that Helm's driver does not write.
    for (kept, what) in [
        (Kept::Opaque, "an opaque Secret"),
        (Kept::ConfigMap, "a ConfigMap"),
    ] {
        for status in ["uninstalled", "uninstalling", "deployed", "pending-upgrade"] {
            let forged = Forged {
                namespace: namespace.to_owned(),
                kept,
                release: release.name.clone(),
                revision: NEWEST,
                status: status.to_owned(),
                body: Some(emptied(&real)),
            };
            one(format!("{what} that says {status}"), forged);
        }
    }
    for (kept, what) in [
        (Kept::Secret, "a record"),
        (Kept::ConfigMap, "a ConfigMap record"),
    ] {
        for status in ["deployed", "pending-install", "uninstalling", "failed"] {
            let mut body = claiming(&real, namespace);
            body["name"] = json!(MINE);
            body["namespace"] = json!(ELSEWHERE);
            one(
                format!("{what} of another release elsewhere, {status}"),
                elsewhere(kept, MINE, status, Some(body)),
            );
        }
        // A copied namespace: the body still names the victim.
        for status in ["deployed", "pending-upgrade", "uninstalled"] {
            one(
                format!("{what} copied elsewhere, {status}"),
                elsewhere(
                    kept,
                    &release.name,
                    status,
                    Some(claiming(&real, namespace)),
                ),
            );
        }
        one(
            format!("{what} of another release elsewhere that cannot be read"),
            elsewhere(kept, MINE, "pending-install", None),
        );
    }
    Ok(found)
}

fn elsewhere(kept: Kept, release: &str, status: &str, body: Option<Value>) -> Forged {
    Forged {
        namespace: ELSEWHERE.to_owned(),
        kept,
        release: release.to_owned(),
        revision: 1,
        status: status.to_owned(),
        body,
    }
}

/// The same release without objects.
fn emptied(real: &Value) -> Value {
    let mut body = real.clone();
    body["manifest"] = json!("");
    body
}

/// The same manifest with other values, each document in the victim's namespace.
fn claiming(real: &Value, namespace: &str) -> Value {
    let mut body = real.clone();
    let manifest = real["manifest"].as_str().unwrap_or_default();
    let manifest = manifest
        .replace(
            "\nmetadata:\n",
            &format!("\nmetadata:\n  namespace: {namespace}\n"),
        )
        .replace("blue", "red");
    body["manifest"] = json!(manifest);
    body
}

/// The same with a policy that names deployers and lets Mallory deploy elsewhere only: then even
/// well-formed records in the release's own namespace must not allow anything.
pub async fn all_with_deployers(stage: &Stage<'_>) -> anyhow::Result<Vec<(String, Forged)>> {
    let record = records::newest(stage.world, stage.release).await?;
    let real = records::decoded(&record).unwrap_or_default();
    let own = ["uninstalled", "uninstalling", "deployed", "pending-upgrade"].map(|status| {
        let forged = Forged {
            namespace: stage.release.namespace.clone(),
            kept: Kept::Secret,
            release: stage.release.name.clone(),
            revision: NEWEST,
            status: status.to_owned(),
            body: Some(emptied(&real)),
        };
        (format!("a record of its own that says {status}"), forged)
    });
    let all = own.into_iter().chain(all(stage).await?);
    Ok(all
        .map(|(name, forged)| (format!("with deployers, {name}"), forged))
        .collect())
}

/// Tries a forgery: what it allows, then what remains after its removal.
pub async fn run(
    stage: &Stage<'_>,
    targets: &mut [Target],
    (name, forged): &(String, Forged),
) -> anyhow::Result<()> {
    let world = stage.world;
    if stage.is_over() || !world.report.lock().wants(name) {
        return Ok(());
    }
    world.namespace(ELSEWHERE).await?;
    let made = Strike::body(
        name.clone(),
        Verb::Create,
        forged.place(),
        Some(forged.object()),
    );

    let probe = targets
        .iter()
        .find(|target| target.kind == "ConfigMap")
        .cloned();
    let Some(probe) = probe else { return Ok(()) };
    let done = stage.send(&probe, &made).await?;
    if done.is_none() {
        return Ok(());
    }
    let path = format!("{}/{}", forged.place().path(), forged.name());
    heard_of(stage, forged).await?;
    // The record exists already, so these plays need no setup.
    let telling = |target: &&mut Target| target.kind != "ServiceAccount";
    for target in targets.iter_mut().filter(telling) {
        let mut strikes = strikes(target);
        for strike in &mut strikes {
            strike.name = format!("{name}, then {}", strike.name);
        }
        stage.run(target, &Play::alone(strikes)).await?;
    }
    world.oncall.delete(&path, Persist::Really).await?;
    // The guard may have learned something that no watch event corrects.
    let first = |target: &&mut Target| target.kind == "ConfigMap";
    for target in targets.iter_mut().filter(first) {
        let mut strikes = crate::strikes::short(target);
        for strike in &mut strikes {
            strike.name = format!("{name}, withdrawn, then {}", strike.name);
        }
        stage.run(target, &Play::alone(strikes)).await?;
    }
    Ok(())
}

/// The guard learns of a record through a watch, and never of one that does not count.
async fn heard_of(stage: &Stage<'_>, forged: &Forged) -> anyhow::Result<()> {
    let label = format!("release=\"{}\"", forged.release);
    let namespace = format!("namespace=\"{}\"", forged.namespace);
    eventually(Duration::from_millis(700), || async {
        let metrics = stage.world.metrics();
        Ok(metrics
            .lines()
            .any(|line| line.contains(&label) && line.contains(&namespace)))
    })
    .await
    .map(drop)
}

/// What a forged record might allow: its values, removals while it is pending, its marks, a deletion.
fn strikes(target: &Target) -> Vec<Strike> {
    let place = || target.place.clone();
    let mut strikes = Vec::new();
    if target.role != Role::Declared {
        return strikes;
    }
    if target.kind == "ConfigMap" {
        let edits = vec![Edit::Set(fields(&["data", "color"]), json!("red"))];
        strikes.push(Strike::edit("its value", Verb::Merge, place(), edits));
        let edits = vec![Edit::Remove(fields(&["data", "color"]))];
        strikes.push(Strike::edit("a removal", Verb::Merge, place(), edits));
    }
    strikes.extend(values::one(target, Verb::Merge));
    strikes.extend(values::one(target, Verb::Merge).map(|strike| Strike {
        name: "a value as helm".to_owned(),
        ..strike.managed_by("helm")
    }));
    let off = |name: &str| {
        let edits = vec![Edit::Remove(marks::label())];
        Strike::edit(name, Verb::Merge, place(), edits)
    };
    strikes.push(off("the label off"));
    strikes.push(off("the label off as helm").managed_by("helm"));
    let [owner, namespace] = marks::annotations();
    let over = vec![
        Edit::Set(owner, json!(MINE)),
        Edit::Set(namespace, json!(ELSEWHERE)),
    ];
    strikes.push(Strike::edit(
        "its marks",
        Verb::Merge,
        place(),
        over.clone(),
    ));
    strikes.push(
        Strike::edit("its marks as helm", Verb::Merge, place(), over.clone()).managed_by("helm"),
    );
    if let Some(mut both) = values::one(target, Verb::Merge) {
        if let Act::Edits(all) = &mut both.act {
            for edits in all {
                edits.extend(over.clone());
            }
        }
        "a value and its marks as helm".clone_into(&mut both.name);
        strikes.push(both.managed_by("helm"));
    }
    strikes.push(Strike::body(
        "delete",
        Verb::Delete,
        place(),
        Some(json!({
            "apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background",
        })),
    ));
    strikes
}

/// What forgeries might block. Those of other releases are tried all at once; copies one by one, because
/// only the newest record of a release counts.
pub async fn all_locks(stage: &Stage<'_>, forgeries: &[(String, Forged)]) -> anyhow::Result<()> {
    let of = |release: &str| -> Vec<(String, Forged)> {
        // Helm itself counts records in its namespace: these would block it even without a guard.
        let wanted = |(_, forged): &&(String, Forged)| {
            forged.namespace == ELSEWHERE && forged.release == release
        };
        forgeries.iter().filter(wanted).cloned().collect()
    };
    lock(stage, "records of other releases elsewhere", &of(MINE)).await?;
    for forgery in of(&stage.release.name) {
        if forgery.1.status != "uninstalled" && forgery.1.kept == Kept::Secret {
            lock(stage, &forgery.0, std::slice::from_ref(&forgery)).await?;
        }
    }
    Ok(())
}

/// Creates forged records, lets Helm work next to them, and removes them.
async fn lock(stage: &Stage<'_>, name: &str, all: &[(String, Forged)]) -> anyhow::Result<()> {
    stage.world.namespace(ELSEWHERE).await?;
    let mut lines = Vec::new();
    let mut made = Vec::new();
    for (number, (_, forged)) in (1_u32..).zip(all) {
        let mut forged = forged.clone();
        if all.len() > 1 {
            // They would have the same name.
            forged.release = format!("{}-{number}", forged.release);
            if let Some(body) = &mut forged.body {
                body["name"] = json!(forged.release);
            }
        }
        let request = Request::with(Verb::Create, forged.place(), forged.object());
        let reply = request.send(&stage.world.mallory).await?;
        if reply.is_ok() {
            lines.push(request.to_string());
            made.push(forged);
        }
    }
    if let Some(forged) = made.last() {
        heard_of(stage, forged).await?;
        locks(stage, name, &lines.join("; ")).await?;
        let uninstall = ["uninstall", &stage.release.name];
        passes(stage, (name, "uninstall", &lines.join("; ")), &uninstall).await?;
    }
    for forged in made {
        let path = format!("{}/{}", forged.place().path(), forged.name());
        stage.world.oncall.delete(&path, Persist::Really).await?;
    }
    stage.release.rebuild(stage.world).await
}

/// Helm's own steps are allowed despite any forgery: an upgrade that changes and prunes, a rollback.
pub async fn locks(stage: &Stage<'_>, name: &str, line: &str) -> anyhow::Result<()> {
    let release = stage.release.name.as_str();
    let chart = stage.release.chart.display().to_string();
    for (step, words) in [
        (
            "upgrade",
            &[
                "upgrade",
                release,
                &chart,
                "--set",
                "extra=true,color=green",
            ][..],
        ),
        (
            "upgrade that prunes",
            &["upgrade", release, &chart, "--set", "extra=false"],
        ),
        ("rollback", &["rollback", release]),
    ] {
        passes(stage, (name, step, line), words).await?;
    }
    Ok(())
}

/// A Helm step that the guard denies is a finding too. Helm does not always report it; the guard's log
/// does. A step that Helm itself rejects is not a finding: to Helm, a pending record is an operation in
/// progress.
pub async fn passes(
    stage: &Stage<'_>,
    (name, step, line): (&str, &str, &str),
    words: &[&str],
) -> anyhow::Result<()> {
    let since = Timestamp::now();
    let output = stage.release.helm(stage.world, words).await;
    if let Some(denial) = stage.world.denied_helm(since) {
        stage.world.report.lock().found(
            &format!("{name}, then Helm's {step} is refused"),
            &stage.release.name,
            denial,
            vec![line.to_owned(), output.line],
        );
    }
    Ok(())
}
