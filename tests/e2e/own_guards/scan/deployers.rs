//! People who run Helm without all the rights that it needs, so that its operations fail in the middle.

use std::path::PathBuf;

use testbed::shared;

use super::unguarded::Unguarded;

impl Unguarded {
    /// A user with these roles in the namespace: each its verbs and its resources.
    pub(super) fn deployer(&self, roles: &[(&str, &str)]) -> PathBuf {
        let ns = self.scene.ns.name();
        let user = format!("deployer-{ns}@example.com");
        let admin = |line: String| self.scene.kubectl_as(shared().admin(), &line).ok();
        for (number, (verbs, resources)) in roles.iter().enumerate() {
            let role = format!("deployer-{number}");
            admin(format!(
                "create role {role} --verb={verbs} --resource={resources}"
            ));
            admin(format!(
                "create rolebinding {role} --role={role} --user={user}"
            ));
        }
        shared().user(&user, &[]).unwrap()
    }
}
