//! All checks on the objects of one release at one stage.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};

use crate::{
    api::Persist,
    declared::Object,
    drift::{self, Denied, head},
    harmless,
    leaves::{self, Leaf, Sort},
    probe::{self, Attempt, Context, Target, is_not_evaluated, same_object},
    tally::{Outcome, Tally},
};

/// How many objects, and how many fields of one object, are tried at the same time. Requests in
/// flight have their own limit.
const AT_ONCE: usize = 4;

/// Fields of an object that are changed for real and written back.
const DRIFTS: usize = 3;

/// Denied removals of an object of which a break-glass user's dry run says whether they would have
/// changed anything at all.
const VERIFIED: usize = 5;

pub const CRD_KIND: &str = "CustomResourceDefinition";

/// Whether fields are also changed for real and written back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Dry runs only: the release is unchanged afterwards.
    DryRuns,
    /// The release is about to be uninstalled.
    WithDrift,
}

/// The result of all checks.
#[derive(Default)]
pub struct Checked {
    pub tally: Tally,
    /// Changes that were denied to an ordinary user, a few of each object.
    pub denied: Vec<(Target, Vec<Denied>)>,
}

/// Runs all checks on every object.
pub async fn check(context: &Context<'_>, objects: Vec<Object>, depth: Depth) -> Checked {
    let mut tally = Tally::default();
    let mut drifts = Vec::new();
    // CRDs last: they are by far the largest, and the time of a chart is bounded.
    let mut objects = objects;
    objects.sort_by_key(|object| object.kind == CRD_KIND);
    let mut checked = stream::iter(objects)
        .map(|object| check_object(context, object))
        .buffer_unordered(AT_ONCE);
    while let Some((one, drift)) = checked.next().await {
        tally += one;
        drifts.extend(drift);
    }
    drop(checked);
    if depth == Depth::WithDrift {
        // CRDs last: a CRD with drift may reject or lose its resources.
        drifts.sort_by_key(|(target, _)| target.object.kind == CRD_KIND);
        for (target, denied) in &drifts {
            if context.is_over() {
                break;
            }
            match drift::and_back(context, target, denied).await {
                Ok(one) => tally += one,
                Err(error) => {
                    tally.errors += 1;
                    context.report(
                        "error",
                        &target.object,
                        &json!({"error": format!("{error:#}")}),
                    );
                }
            }
        }
    }
    Checked {
        tally,
        denied: drifts,
    }
}

async fn check_object(
    context: &Context<'_>,
    object: Object,
) -> (Tally, Option<(Target, Vec<Denied>)>) {
    let mut tally = Tally::default();
    if object.exempt.is_some() {
        tally.exempt += 1;
        return (tally, None);
    }
    let live = match context.somebody.get(&object.path).await {
        Ok(reply) if reply.is_ok() => reply.body,
        Ok(reply) if reply.code == 404 => {
            tally.absent += 1;
            context.report("absent", &object, &json!({}));
            return (tally, None);
        }
        Ok(reply) => return failed(context, &object, tally, reply.message()),
        Err(error) => return failed(context, &object, tally, &format!("{error:#}")),
    };
    let target = Target::new(object, live);
    tally.objects += 1;
    match attempts(context, &target).await {
        Ok((one, denied)) => {
            tally += one;
            (tally, Some((target, denied)))
        }
        Err(error) => failed(context, &target.object, tally, &format!("{error:#}")),
    }
}

fn failed(
    context: &Context<'_>,
    object: &Object,
    mut tally: Tally,
    error: &str,
) -> (Tally, Option<(Target, Vec<Denied>)>) {
    tally.errors += 1;
    context.report("error", object, &json!({"error": error}));
    (tally, None)
}

async fn attempts(context: &Context<'_>, target: &Target) -> anyhow::Result<(Tally, Vec<Denied>)> {
    let mut tally = Tally::default();
    tally.deletes.count(delete(context, target).await?);
    if !target.object.is_evaluated_when_written() {
        context.report("left to its holder", &target.object, &json!({}));
        return Ok((tally, Vec::new()));
    }
    if let Some(outcome) = scale(context, target).await? {
        tally.changed.count(outcome);
    }
    write(context, target, &mut tally).await?;

    let mut found = shuffled(leaves::leaves(&target.object.value, &target.live));
    let left_out = found.split_off(found.len().min(context.most_leaves));
    tally.removed.not_tried += left_out.len();
    let scalars = found.iter().filter(|leaf| leaf.sort == Sort::Scalar);
    let changes: Vec<_> = stream::iter(scalars)
        .map(|leaf| async move {
            Ok::<_, anyhow::Error>((leaf, probe::change(context, target, leaf).await?))
        })
        .buffer_unordered(AT_ONCE)
        .try_collect::<Vec<(_, Attempt)>>()
        .await?;
    let mut denied = Vec::new();
    for (leaf, attempt) in changes {
        tally.changed.count(attempt.outcome);
        tally.late += usize::from(attempt.late);
        if attempt.outcome == Outcome::Denied && !leaf.is_identity() {
            denied.push(Denied {
                leaf: leaf.clone(),
                object: attempt.object,
            });
        }
    }
    denied = spread(denied);

    // Nothing is awaited between the items of a stream: a request that is under way and not polled
    // would keep its permit.
    let left = AtomicUsize::new(VERIFIED);
    let removals = stream::iter(&found)
        .map(|leaf| removal(context, target, leaf, &left))
        .buffer_unordered(AT_ONCE)
        .try_collect::<Vec<Tally>>()
        .await?;
    for one in removals {
        tally += one;
    }
    Ok((tally, denied))
}

/// Tries a removal. For a few denied ones, checks whether they would have changed anything.
async fn removal(
    context: &Context<'_>,
    target: &Target,
    leaf: &Leaf,
    left: &AtomicUsize,
) -> anyhow::Result<Tally> {
    let mut tally = Tally::default();
    let attempt = probe::remove(context, target, leaf).await?;
    tally.removed.count(attempt.outcome);
    tally.late += usize::from(attempt.late);
    let take = |left: usize| left.checked_sub(1);
    if attempt.outcome == Outcome::Denied && left.fetch_update(Relaxed, Relaxed, take).is_ok() {
        let reply = target
            .put(context.emergency, &attempt.object, Persist::DryRun)
            .await?;
        if reply.is_ok() && same_object(&target.live, &reply.body) {
            tally.false_denials += 1;
            let details = json!({"write": "a removal that has no effect", "path": leaf.path});
            context.report("false denial", &target.object, &details);
        }
    }
    Ok(tally)
}

/// In a fixed order unrelated to the manifest, so that what remains when the time is over is not a
/// particular part.
fn shuffled(mut leaves: Vec<Leaf>) -> Vec<Leaf> {
    leaves.sort_by_cached_key(|leaf| {
        let mut hasher = DefaultHasher::new();
        leaf.path.hash(&mut hasher);
        hasher.finish()
    });
    leaves
}

/// A sample from the beginning, the middle and the end.
fn spread(mut all: Vec<Denied>) -> Vec<Denied> {
    all.sort_by(|a, b| a.leaf.path.cmp(&b.leaf.path));
    let step = (all.len() / DRIFTS).max(1);
    all.into_iter().step_by(step).take(DRIFTS).collect()
}

async fn delete(context: &Context<'_>, target: &Target) -> anyhow::Result<Outcome> {
    if context.is_over() {
        return Ok(Outcome::NotTried);
    }
    let path = &target.object.path;
    let mut reply = context.somebody.delete(path, Persist::DryRun).await?;
    for _ in 0..3 {
        if is_not_evaluated(&reply) {
            reply = context.somebody.delete(path, Persist::DryRun).await?;
        }
    }
    Ok(if reply.denied_by_guard() {
        Outcome::Denied
    } else if reply.is_ok() {
        let details = json!({"how": "deleted", "warnings": reply.warnings});
        context.report("missed", &target.object, &details);
        Outcome::Missed
    } else {
        let details = json!({"how": "deleted", "message": head(reply.message())});
        context.report("refused by the API server", &target.object, &details);
        Outcome::Api
    })
}

/// Changes declared replicas through the scale subresource, which goes to another entry of the
/// registration.
async fn scale(context: &Context<'_>, target: &Target) -> anyhow::Result<Option<Outcome>> {
    let object = &target.object;
    let declared = object
        .value
        .pointer("/spec/replicas")
        .and_then(Value::as_i64);
    let scalable = matches!(
        object.kind.as_str(),
        "Deployment" | "StatefulSet" | "ReplicaSet"
    );
    let Some(declared) = declared.filter(|_| object.group == "apps" && scalable) else {
        return Ok(None);
    };
    if context.is_over() {
        return Ok(Some(Outcome::NotTried));
    }
    let path = format!("{}/scale", object.path);
    let mut scale = context.somebody.get(&path).await?.body;
    let wanted = json!(declared + 3);
    if let Some(replicas) = scale.pointer_mut("/spec/replicas") {
        *replicas = wanted;
    } else if let Some(spec) = scale.pointer_mut("/spec").and_then(Value::as_object_mut) {
        spec.insert("replicas".to_owned(), wanted);
    }
    let reply = context.somebody.put(&path, &scale, Persist::DryRun).await?;
    Ok(Some(if reply.denied_by_guard() {
        Outcome::Denied
    } else if reply.is_ok() {
        let details = json!({"how": "scaled", "warnings": reply.warnings});
        context.report("missed", object, &details);
        Outcome::Missed
    } else {
        Outcome::Api
    }))
}

async fn write(context: &Context<'_>, target: &Target, tally: &mut Tally) -> anyhow::Result<()> {
    for write in harmless::writes(&target.object, &target.live) {
        if context.is_over() {
            break;
        }
        let reply = target
            .put(context.somebody, &write.object, Persist::DryRun)
            .await?;
        if reply.is_ok() {
            tally.writes_passed += 1;
        } else if reply.denied_by_guard() {
            tally.false_denials += 1;
            let details = json!({"write": write.what, "message": head(reply.message())});
            context.report("false denial", &target.object, &details);
        } else {
            tally.writes_api += 1;
        }
    }
    Ok(())
}
