//! Deputies: controllers that may do what Mallory may not, and the objects with which she makes them do it.
//!
//! Each license is given to all matching objects at once. Then the controllers get time to act, until a
//! witness object shows that they did. Then all objects are checked.

use std::time::{Duration, Instant};

use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    play::{Done, Stage},
    request::{Place, Verb},
    strikes::{Edit, Strike, fields},
    target::{Role, Target},
};

/// A license for one target.
pub struct Deputy {
    /// The technique.
    pub name: String,
    /// The index of the target whose loss is expected.
    pub target: usize,
    /// The request.
    pub steps: Vec<Strike>,
}

/// Extra time for controllers after the witness is gone: those of the API server poll every second.
const LEAST: Duration = Duration::from_secs(3);

/// All rounds. In each one, a target has at most one license.
pub fn rounds(targets: &[Target], namespace: &str) -> Vec<Vec<Deputy>> {
    let mut rounds = vec![special(targets, namespace)];
    for (name, verb) in [
        ("a bogus owner", Verb::Merge),
        ("a bogus owner", Verb::Replace),
        ("a bogus owner", Verb::Json),
        ("a bogus owner", Verb::Apply),
    ] {
        let owned = |(target, it): (usize, &Target)| Deputy {
            name: of(name, it),
            target,
            steps: vec![Strike::edit(name, verb, it.place.clone(), bogus_owner(it))],
        };
        rounds.push(targets.iter().enumerate().map(owned).collect());
    }
    let by_status = |(target, it): (usize, &Target)| {
        let sub = it.subresources.iter().find(|sub| sub.takes("patch"))?;
        let place = it.place.sub(&sub.name);
        let name = of(&format!("a bogus owner, by {}", sub.name), it);
        let steps = vec![Strike::edit(
            name.clone(),
            Verb::Merge,
            place,
            bogus_owner(it),
        )];
        Some(Deputy {
            name,
            target,
            steps,
        })
    };
    rounds.push(targets.iter().enumerate().filter_map(by_status).collect());
    rounds
}

/// Records, namespaces and CRDs have techniques of their own.
fn of(name: &str, target: &Target) -> String {
    match target.role {
        Role::Declared => name.to_owned(),
        Role::Record | Role::Infrastructure => format!("{name} of {}", target.title),
    }
}

/// Gives out the licenses, waits for the controllers and checks the objects.
pub async fn round(
    stage: &Stage<'_>,
    targets: &mut [Target],
    deputies: &[Deputy],
) -> anyhow::Result<()> {
    if stage.is_over() {
        return Ok(());
    }
    let since = Timestamp::now();
    let all = &*targets;
    let given: Vec<(usize, Vec<Done>)> = stream::iter(deputies.iter().enumerate())
        .map(|(number, deputy)| async move {
            let done = give(stage, &all[deputy.target], deputy).await?;
            anyhow::Ok((number, done))
        })
        .buffer_unordered(4)
        .try_collect()
        .await?;
    let given: Vec<_> = given
        .into_iter()
        .filter(|(_, done)| !done.is_empty())
        .collect();
    if given.is_empty() {
        return Ok(());
    }
    stage.world.garbage_collected().await?;
    let mut losses = vec![None; deputies.len()];
    let end = Instant::now() + LEAST;
    loop {
        for (number, _) in &given {
            if losses[*number].is_none() {
                losses[*number] = stage.loss(&targets[deputies[*number].target]).await?;
            }
        }
        if Instant::now() >= end || given.iter().all(|(number, _)| losses[*number].is_some()) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    for (number, done) in given {
        let deputy = &deputies[number];
        if let Some(loss) = &losses[number] {
            let target = &targets[deputy.target];
            let about = (
                target.kind.as_str(),
                target.place.name.as_deref().unwrap_or_default(),
            );
            let named = done.iter().find_map(|done| done.warning.clone());
            let named = named.or_else(|| stage.world.named_since(since, about));
            let mut report = stage.world.report.lock();
            if let Some(by) = named {
                report.name(&deputy.name, &by);
            } else {
                let lines = done.iter().map(|done| done.request.to_string()).collect();
                report.find(&deputy.name, &target.title, loss, lines);
            }
        }
    }
    clean_up(stage).await?;
    for deputy in deputies {
        stage.restore(&mut targets[deputy.target]).await?;
    }
    Ok(())
}

async fn give(stage: &Stage<'_>, target: &Target, deputy: &Deputy) -> anyhow::Result<Vec<Done>> {
    if !stage.world.report.lock().wants(&deputy.name) {
        return Ok(Vec::new());
    }
    let mut done = Vec::new();
    for strike in &deputy.steps {
        done.extend(stage.send(target, strike).await?);
    }
    // A partial license has no effect.
    Ok(if done.len() == deputy.steps.len() {
        done
    } else {
        Vec::new()
    })
}

/// A missing owner: the garbage collector deletes its dependents.
pub fn bogus_owner(target: &Target) -> Vec<Edit> {
    let (version, kind) = match target.place.namespace {
        Some(_) => ("v1", "ConfigMap"),
        // A namespaced object cannot own a cluster-scoped one.
        None => ("rbac.authorization.k8s.io/v1", "ClusterRole"),
    };
    let owner = json!([{
        "apiVersion": version, "kind": kind, "name": "no-such",
        "uid": "11111111-1111-1111-1111-111111111111",
    }]);
    vec![Edit::Set(fields(&["metadata", "ownerReferences"]), owner)]
}

const MINE: &str = "mallorys";

/// Licenses of single kinds.
fn special(targets: &[Target], namespace: &str) -> Vec<Deputy> {
    let mut deputies = Vec::new();
    let find = |kind: &str, name: &str| {
        targets.iter().position(|target| {
            target.kind == kind
                && target.place.name.as_deref() == Some(name)
                && target.role == Role::Declared
        })
    };
    for (target, it) in targets.iter().enumerate() {
        let edit = |name: &str, edits| Strike::edit(name, Verb::Merge, it.place.clone(), edits);
        let set = |path: &[&str], value: Value| Edit::Set(fields(path), value);
        let steps = match it.kind.as_str() {
            "Job" => vec![edit(
                "a time to live",
                vec![set(&["spec", "ttlSecondsAfterFinished"], json!(0))],
            )],
            "ClusterRole" if it.declared.get("aggregationRule").is_none() => {
                let selectors = json!({"clusterRoleSelectors": [{"matchLabels": {"kubernetes.io/bootstrapping": "rbac-defaults"}}]});
                vec![edit(
                    "an aggregation rule",
                    vec![set(&["aggregationRule"], selectors)],
                )]
            }
            "APIService" => vec![edit(
                "the label of an automatic API service",
                vec![set(
                    &[
                        "metadata",
                        "labels",
                        "kube-aggregator.kubernetes.io/automanaged",
                    ],
                    json!("true"),
                )],
            )],
            "Secret" if it.declared["type"] == "kubernetes.io/service-account-token" => {
                vec![edit(
                    "the uid of no service account",
                    vec![set(
                        &[
                            "metadata",
                            "annotations",
                            "kubernetes.io/service-account.uid",
                        ],
                        json!("44444444-4444-4444-4444-444444444444"),
                    )],
                )]
            }
            "Pod" => adopted(it, namespace),
            _ => continue,
        };
        let name = steps[0].name.clone();
        deputies.push(Deputy {
            name,
            target,
            steps,
        });
    }
    if let (Some(service), Some(target)) =
        (find("Service", "partner"), find("Endpoints", "partner"))
    {
        let name = "a selector for declared endpoints";
        let selector = Edit::Set(fields(&["spec", "selector"]), json!({"app": "web"}));
        let place = targets[service].place.clone();
        let steps = vec![Strike::edit(name, Verb::Merge, place, vec![selector])];
        deputies.push(Deputy {
            name: name.to_owned(),
            target,
            steps,
        });
    }
    for (target, it) in targets
        .iter()
        .enumerate()
        .filter(|(_, it)| it.kind == "EndpointSlice")
    {
        let name = "the label of a mirrored endpoint slice";
        let label = "endpointslice.kubernetes.io/managed-by";
        let label = Edit::Set(
            fields(&["metadata", "labels", label]),
            json!("endpointslicemirroring-controller.k8s.io"),
        );
        let steps = vec![Strike::edit(
            name,
            Verb::Merge,
            it.place.clone(),
            vec![label],
        )];
        deputies.push(Deputy {
            name: name.to_owned(),
            target,
            steps,
        });
    }
    deputies
}

/// A ReplicaSet with zero replicas, which adopts a bare Pod with matching labels and deletes it.
fn adopted(pod: &Target, namespace: &str) -> Vec<Strike> {
    let labels = pod
        .baseline
        .pointer("/metadata/labels")
        .cloned()
        .unwrap_or_default();
    let place = Place {
        version: "apps/v1".to_owned(),
        plural: "replicasets".to_owned(),
        namespace: Some(namespace.to_owned()),
        name: None,
        subresource: None,
    };
    let set = json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {"name": MINE, "namespace": namespace},
        "spec": {
            "replicas": 0, "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "x", "image": "registry.example.com/x:1"}]},
            },
        },
    });
    vec![Strike::body(
        "a replica set that adopts a bare pod",
        Verb::Create,
        place,
        Some(set),
    )]
}

/// The objects that Mallory created.
async fn clean_up(stage: &Stage<'_>) -> anyhow::Result<()> {
    let namespace = &stage.release.namespace;
    let path = format!("/apis/apps/v1/namespaces/{namespace}/replicasets/{MINE}");
    stage
        .world
        .oncall
        .delete(&path, crate::api::Persist::Really)
        .await?;
    Ok(())
}
