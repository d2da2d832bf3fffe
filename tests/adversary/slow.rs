//! Slow deputies: they get their license first and are checked last, on a release without other attacks.

use jiff::Timestamp;
use serde_json::json;
use testbed::{Chart, HelmVersion};

use crate::{
    play::{Done, Stage},
    releases::Release,
    request::{Place, Verb},
    strikes::{Edit, Strike, fields},
    target::Target,
    world::World,
};

/// Which target got which license.
pub struct Slow {
    release: Release,
    targets: Vec<Target>,
    given: Vec<(usize, String, Done)>,
    since: Timestamp,
}

/// An autoscaler for declared replicas, which may scale but must be reported, and the annotation that
/// marks flow schemas as removable by the API server.
pub async fn begin(world: &World) -> anyhow::Result<Slow> {
    let chart = Chart::new("slow", "1.0.0").template("objects.yaml", include_str!("slow.yaml"));
    let release = Release {
        name: "slow".to_owned(),
        namespace: "slow".to_owned(),
        chart: world.plane.chart(&chart),
        helm: HelmVersion::V4,
        args: Vec::new(),
        webhooks: Vec::new(),
    };
    release.install(world).await?;
    let targets = release.targets(world).await?;
    let stage = Stage {
        world,
        release: &release,
        deadline: std::time::Instant::now(),
    };
    let since = Timestamp::now();
    let mut given = Vec::new();
    for (number, target) in targets.iter().enumerate() {
        let strike = match target.kind.as_str() {
            "Deployment" => autoscaler(&release.namespace),
            "FlowSchema" | "PriorityLevelConfiguration" => {
                let annotation = [
                    "metadata",
                    "annotations",
                    "apf.kubernetes.io/autoupdate-spec",
                ];
                let edits = vec![Edit::Set(fields(&annotation), json!("true"))];
                let name = "the annotation of an automatic flow schema";
                Strike::edit(name, Verb::Merge, target.place.clone(), edits)
            }
            _ => continue,
        };
        if world.report.lock().wants(&strike.name)
            && let Some(done) = stage.send(target, &strike).await?
        {
            given.push((number, strike.name, done));
        }
    }
    Ok(Slow {
        release,
        targets,
        given,
        since,
    })
}

fn autoscaler(namespace: &str) -> Strike {
    let place = Place {
        version: "autoscaling/v2".to_owned(),
        plural: "horizontalpodautoscalers".to_owned(),
        namespace: Some(namespace.to_owned()),
        name: None,
        subresource: None,
    };
    let autoscaler = json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "mallorys", "namespace": namespace},
        "spec": {
            "minReplicas": 7, "maxReplicas": 7,
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "busy"},
        },
    });
    let name = "an autoscaler that no release declares";
    Strike::body(name, Verb::Create, place, Some(autoscaler))
}

/// Checks the outcome.
pub async fn end(world: &World, slow: Slow) -> anyhow::Result<()> {
    let stage = Stage {
        world,
        release: &slow.release,
        deadline: std::time::Instant::now(),
    };
    for (number, technique, done) in slow.given {
        let target = &slow.targets[number];
        let Some(loss) = stage.loss(target).await? else {
            let note = format!("{technique}: {} is as it was", target.title);
            world.report.lock().note(note);
            continue;
        };
        let name = target.place.name.clone().unwrap_or_default();
        let named = done.warning.clone();
        let named = named.or_else(|| world.named_since(slow.since, (&target.kind, &name)));
        let named = match named {
            None if target.kind == "Deployment" => {
                world.names_autoscaler(&slow.release.namespace).await?
            }
            named => named,
        };
        let mut report = world.report.lock();
        match named {
            Some(by) => report.name(&technique, &by),
            None => report.find(
                &technique,
                &target.title,
                &loss,
                vec![done.request.to_string()],
            ),
        }
    }
    Ok(())
}
