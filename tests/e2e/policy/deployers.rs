//! Who may deploy, and who may still delete a namespace: `spec.records.deployers`, exemptions for the
//! owners of a namespace, and break-glass identities.
//!
//! Alice may deploy everywhere, because other tests may install as Alice at the same time.

use std::{
    path::{Path, PathBuf},
    sync::OnceLock,
};

use rstest::rstest;
use serde_json::{Value, json};
use testbed::{ALICE, HelmVersion, Invocation, shared};

use super::rule::{Rule, change};
use crate::{
    charts::{CONFIG_MAP, myapp, single},
    scene::{Scene, Screen, Verdict, record_name, verdict},
};

/// A cluster-admin with Helm on a laptop.
const CAROL: &str = "carol@example.com";

fn carol() -> &'static Path {
    static CAROL_CONFIG: OnceLock<PathBuf> = OnceLock::new();
    CAROL_CONFIG.get_or_init(|| {
        shared().grant_cluster_admin(CAROL).unwrap();
        shared().user(CAROL, &[]).unwrap()
    })
}

/// A release in a namespace with a pipeline, an owner and a night shift. RBAC allows all of them
/// everything.
struct Team {
    scene: Scene,
    chart: PathBuf,
    pipeline: PathBuf,
    owner: PathBuf,
    night_shift: PathBuf,
}

impl Team {
    fn new(stem: &str, version: HelmVersion) -> Self {
        let scene = Scene::new(stem, version);
        let chart = scene.install("myapp", &myapp("1.0.0"));
        let account = |name: &str| {
            let ns = scene.ns.name();
            let user = format!("system:serviceaccount:{ns}:{name}");
            shared().grant_cluster_admin(&user).unwrap();
            shared().service_account(ns, name).unwrap()
        };
        Self {
            chart,
            pipeline: account("pipeline"),
            owner: account("owner"),
            night_shift: account("night-shift"),
            scene,
        }
    }

    fn ns(&self) -> &str {
        self.scene.ns.name()
    }

    fn user(&self, name: &str) -> String {
        format!("system:serviceaccount:{}:{name}", self.ns())
    }

    /// A policy that names the deployers.
    fn policy(&self, deployers_mode: &str) -> Value {
        let account = |name: &str| json!({"serviceAccounts": [format!("{}/{name}", self.ns())]});
        json!({
            "mode": "Deny",
            "records": {
                "deployers": [
                    {"subjects": account("pipeline"), "scope": {"namespaces": [self.ns()]}},
                    {"subjects": {"users": [ALICE]}},
                ],
                "deployersMode": deployers_mode,
            },
            "exemptions": [{
                "name": "owners", "subjects": account("owner"), "kinds": [{"kind": "Namespace"}],
                "operations": ["Delete"], "scope": {"namespaces": [self.ns()]},
            }],
            "breakGlass": {"identities": [{"subjects": account("night-shift")}]},
        })
    }

    fn upgrade(&self, replicas: u32) -> String {
        let chart = self.chart.display();
        format!("upgrade myapp {chart} --reuse-values --set replicas={replicas}")
    }

    fn by_carol(&self, line: &str) -> Invocation {
        self.scene.helm_as(carol(), line)
    }

    fn by_pipeline(&self, line: &str) -> Invocation {
        self.scene.helm_as(&self.pipeline, line)
    }

    fn replicas(&self) -> Value {
        self.scene.at("deployment/myapp", "/spec/replicas")
    }

    fn has_record(&self, revision: u32) -> bool {
        let name = record_name("myapp", revision);
        self.scene.holds(&format!("secret/{name}"))
    }

    /// The guard's verdict about a write to a record, from the API server's audit log.
    fn verdict(&self, user: &str, verb: &str, revision: u32) -> Verdict {
        let name = record_name("myapp", revision);
        verdict(user, verb, ("secrets", self.ns(), &name))
    }
}

#[rstest]
fn only_the_pipeline_deploys(#[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion) {
    let team = Team::new("pipeline", version);
    let _rule = Rule::new(&team.policy("Deny"));
    team.scene.settled("deployment/myapp", 1);

    let who = format!("{CAROL} is not an allowed deployer of this release");
    let pipeline = team.user("pipeline");
    let may = format!("Allowed deployers: {ALICE}, {pipeline}");
    let says = [who.as_str(), &may];
    team.by_carol(&team.upgrade(2)).denied(&says);
    team.by_carol("rollback myapp 1").denied(&says);
    team.by_carol(&format!("install other {}", team.chart.display()))
        .denied(&says);
    // Helm continues if it cannot mark the record: the declared objects stay anyway.
    team.by_carol("uninstall myapp").refused();
    assert!(team.has_record(1) && !team.has_record(2));
    assert_eq!(team.replicas(), 3);

    for (replicas, history) in [(2, ""), (4, " --history-max 2"), (5, " --history-max 2")] {
        let line = team.upgrade(replicas) + history;
        team.by_pipeline(&line).quiet();
    }
    assert_eq!(team.replicas(), 5);
    let left = [1, 2, 3, 4].map(|revision| team.has_record(revision));
    assert_eq!(left, [false, false, true, true]);
    team.by_pipeline("rollback myapp 3").quiet();
    assert_eq!(team.replicas(), 4);
    let said = team.verdict(&pipeline, "create", 5);
    assert_eq!(said, Verdict::allowed("helms-own"));

    team.scene.settled("deployment/myapp", 5);
    // The namespace controller is not a deployer, and need not be.
    let delete = format!("delete namespace {} --timeout=120s", team.ns());
    team.scene.kubectl(&delete).denied(&["holds Helm releases"]);
    team.by_pipeline("uninstall myapp").quiet();
    assert!(!team.has_record(5));
    team.scene.kubectl(&delete).quiet();
}

#[rstest]
fn in_mode_warn_other_deployers_are_reported(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
) {
    let team = Team::new("laptop", version);
    let rule = Rule::new(&team.policy("Warn"));
    let output = team.by_carol(&team.upgrade(2)).ok();
    let who = format!("{CAROL} is not an allowed deployer of this release");
    assert!(output.says(&who), "{}", output.stderr);
    assert!(output.says(&team.user("pipeline")), "{}", output.stderr);
    assert_eq!(team.replicas(), 2);
    let line = rule.guard.await_log("a deployment by Carol", |line| {
        line["target"] == "audit"
            && line["reason"] == "not-a-deployer"
            && line["object"]["name"] == record_name("myapp", 2)
            && line["object"]["namespace"] == team.ns()
    });
    assert_eq!(line["verdict"], "warned");
    assert_eq!(line["user"], CAROL);
    assert_eq!(line["findings"][0]["release"]["name"], "myapp");
    team.by_pipeline(&team.upgrade(3)).quiet();
    change(&team.policy("Deny"));
    team.by_carol(&team.upgrade(2)).denied(&[&who]);
}

#[test]
fn break_glass_identities_may_deploy_in_an_emergency() {
    let team = Team::new("night-shift", HelmVersion::V4);
    let _rule = Rule::new(&team.policy("Deny"));
    team.scene.settled("deployment/myapp", 1);
    let output = team.scene.helm_as(&team.night_shift, &team.upgrade(7)).ok();
    let user = team.user("night-shift");
    let says = format!("break-glass change by {user} recorded");
    assert!(output.says(&says), "{}", output.stderr);
    assert_eq!(team.replicas(), 7);
    for (verb, revision) in [("create", 2), ("update", 1), ("update", 2)] {
        let said = team.verdict(&user, verb, revision);
        assert_eq!(
            (&*said.decision, &*said.reason),
            ("break-glass", "not-a-deployer")
        );
    }
}

#[test]
fn the_owners_of_a_namespace_may_delete_it_with_its_releases() {
    let team = Team::new("owned", HelmVersion::V3);
    let _rule = Rule::new(&team.policy("Deny"));
    team.scene.settled("deployment/myapp", 1);
    let delete = format!("delete namespace {} --timeout=120s", team.ns());
    team.scene.kubectl(&delete).denied(&["holds Helm releases"]);
    team.scene.kubectl_as(&team.owner, &delete).quiet();
    let said = verdict(
        &team.user("owner"),
        "delete",
        ("namespaces", team.ns(), team.ns()),
    );
    assert_eq!(said, Verdict::exempt("owners"));
}

/// A record that claims objects of another namespace.
#[rstest]
fn a_pipeline_cannot_deploy_into_a_namespace_outside_its_scope(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
) {
    let team = Team::new("outside", version);
    let _rule = Rule::new(&team.policy("Deny"));
    team.scene.settled("deployment/myapp", 1);
    let away = shared().namespace("away");
    let reaching = CONFIG_MAP.replace(
        "{name: settings}",
        &format!("{{name: settings, namespace: {away}}}"),
    );
    let list = format!(
        "apiVersion: v1\nkind: List\nitems:\n- {}",
        reaching.trim_end().replace('\n', "\n  ")
    );
    let pipeline = team.user("pipeline");
    let where_to = format!("ConfigMap \"settings\" in namespace \"{away}\"");
    let says = [
        format!("It declares objects where {pipeline} may not deploy"),
        where_to,
    ];
    let says = [says[0].as_str(), says[1].as_str()];
    for manifest in [&reaching, &list] {
        let chart = shared().chart(&single(manifest));
        let chart = chart.display();
        team.by_pipeline(&format!("install reaching {chart}"))
            .denied(&says);
        team.by_pipeline(&format!("upgrade myapp {chart}"))
            .denied(&says);
    }
    assert!(!team.has_record(2));
    // By hand: a record of another release, stored in the pipeline's own namespace.
    let forged = team.scene.rewritten_record("myapp", 1, |body| {
        body["version"] = json!(9);
        body["namespace"] = json!(away.name());
    });
    let mut forged: Value = serde_json::from_str(&forged).unwrap();
    forged["metadata"] = json!({"name": record_name("myapp", 9), "labels": {
        "owner": "helm", "name": "myapp", "version": "9", "status": "deployed",
    }});
    let who = format!("{pipeline} is not an allowed deployer of this release");
    team.scene
        .kubectl_as(&team.pipeline, "create -f -")
        .stdin(forged.to_string())
        .denied(&[&who]);
    // A deployer for all namespaces may.
    let chart = shared().chart(&single(&reaching));
    team.scene
        .helm(&format!("install reaching {}", chart.display()))
        .quiet();
    team.scene.helm("uninstall reaching").quiet();
}
