//! `deploy/` on the control plane of these tests: the CRDs, the guard's rights, the admission
//! policies, and the emergency account.

use std::{path::Path, sync::OnceLock};

use crate::shared;

use crate::scene::established;

/// The emergency account, as the API server names it.
pub const EMERGENCY_OPS: &str = "system:serviceaccount:helm-guard-break-glass:emergency-ops";
/// Its namespace.
pub const BREAK_GLASS: &str = "helm-guard-break-glass";

/// Applies it all, once. The account may act everywhere, because each test creates its own namespace.
pub fn install() {
    static INSTALLED: OnceLock<()> = OnceLock::new();
    INSTALLED.get_or_init(apply);
}

fn apply() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy");
    let kubectl = |line: &str| {
        let kubectl = shared().kubectl().cmd(shared().admin());
        kubectl.args(line.split_whitespace())
    };
    let crds = root.join("manifests/05-crds.yaml");
    kubectl("apply --server-side -f").arg(crds).ok();
    established(&[
        "guardpolicies.helm-guard.dev",
        "breakglassgrants.helm-guard.dev",
        "emergencychanges.helm-guard.dev",
    ]);
    for folder in [root.clone(), root.join("break-glass")] {
        kubectl("apply --server-side -k").arg(folder).ok();
    }
    kubectl("create clusterrolebinding emergency --clusterrole=helm-guard-emergency-ops")
        .arg(format!("--serviceaccount={BREAK_GLASS}:emergency-ops"))
        .ok();
}
