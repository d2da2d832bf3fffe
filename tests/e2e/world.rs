//! The guard that many tests share. It runs as in its Deployment: with the ServiceAccount and the
//! rights of `deploy/`.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use serde_json::Value;
use testbed::{Guard, GuardConfig, shared, turns};

pub use crate::deployed::EMERGENCY_OPS;
use crate::{
    deployed::{BREAK_GLASS, install},
    scene::{ONCALL_GROUP, eventually},
};

pub const RUNBOOK: &str = "https://runbooks.example.com/helm-guard";

/// The control plane after `deploy/`: the guard, and the emergency account.
pub struct World {
    pub guard: Guard,
    /// The kubeconfig of the guard's ServiceAccount.
    pub guard_kubeconfig: PathBuf,
    /// The kubeconfig of the emergency account, with the rights that `deploy/` gives it.
    pub emergency: PathBuf,
}

static WORLD: Mutex<Option<Arc<World>>> = Mutex::new(None);

/// The world, which the calling test shares from now on until its end. It is started when it is needed, also again
/// after a test that ran alone.
pub fn world() -> Arc<World> {
    turns::share();
    let mut world = WORLD.lock().unwrap_or_else(PoisonError::into_inner);
    Arc::clone(world.get_or_insert_with(|| Arc::new(World::start())))
}

/// Stops the guard, for a test that runs alone.
pub fn stop() {
    let world = WORLD.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(world) = world.and_then(Arc::into_inner) {
        world.guard.stop();
    }
}

/// Removes what applies to the whole cluster: a registration and a policy. Tests that do not fail leave none.
pub fn clear() {
    for object in [
        "validatingwebhookconfiguration/helm-guard",
        "guardpolicy/default",
    ] {
        let kubectl = shared().kubectl().cmd(shared().admin());
        // The second kind may not exist yet.
        let _ = kubectl.args(["delete", object, "--ignore-not-found"]).run();
    }
}

impl World {
    fn start() -> Self {
        let plane = shared();
        clear();
        install();
        // Some releases here store their records in ConfigMaps.
        let options = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/options");
        plane
            .kubectl()
            .cmd(plane.admin())
            .args(["apply", "--server-side", "-f"])
            .arg(options.join("config-map-records.yaml"))
            .ok();
        let guard_kubeconfig = plane.service_account("helm-guard", "helm-guard").unwrap();
        let emergency = plane.service_account(BREAK_GLASS, "emergency-ops").unwrap();
        let config = GuardConfig::new(
            Path::new(env!("CARGO_BIN_EXE_helm-guard")),
            &guard_kubeconfig,
            "Deny",
        )
        .args(["--break-glass-user", EMERGENCY_OPS])
        .args(["--break-glass-group", ONCALL_GROUP])
        .args(["--runbook-url", RUNBOOK])
        .args(["--guard-namespace", "helm-guard"])
        .args(["--storage-drivers", "secrets,configmaps"])
        .args(["--log-format", "json"])
        .args(["--drain-delay", "200ms"]);
        let guard = Guard::start(plane, config).unwrap_or_else(|error| panic!("{error}"));
        Self {
            guard,
            guard_kubeconfig,
            emergency,
        }
    }
}

/// The lines of the guard's log about a namespace.
pub fn log_about(namespace: &str) -> Vec<Value> {
    let quoted = format!("\"{namespace}\"");
    let mut lines = world().guard.log();
    lines.retain(|line| line.to_string().contains(&quoted));
    lines
}

/// The audit line of a break-glass change in a namespace.
pub fn break_glass_line(namespace: &str) -> Value {
    eventually("a break-glass line in the guard's log", || {
        let mut lines = log_about(namespace).into_iter();
        let line =
            lines.find(|line| line["target"] == "audit" && line["verdict"] == "break-glass")?;
        testbed::schema::assert_valid("AuditLine", &line);
        Some(line)
    })
}
