//! The people who type into a terminal. Alice is its user, a cluster-admin.

use std::{fs, path::PathBuf};

use super::Terminal;

impl Terminal {
    /// The kubeconfig of a person, who gets the rights of the role when first named.
    pub fn person(&self, name: &str) -> PathBuf {
        let file = self.kubeconfig(name);
        if file.exists() {
            return file;
        }
        let user = format!("{name}@example.com");
        let binding = match name {
            "bob" => "create clusterrolebinding bob --clusterrole=cluster-admin",
            // On call: deploy/examples/break-glass.yaml binds the rights to a group, and here the same to him.
            "oscar" => {
                "create clusterrolebinding oscar --clusterrole=helm-guard-emergency-operator"
            }
            "anna" => "create clusterrolebinding anna --clusterrole=helm-guard-approver",
            "vera" => "create clusterrolebinding vera --clusterrole=helm-guard-viewer",
            // A developer: everything in one namespace, nothing outside.
            "nora" => "create rolebinding nora --clusterrole=admin --namespace=shop",
            _ => panic!("nobody is named {name}"),
        };
        self.must(&format!("kubectl {binding} --user={user}"));
        let groups: &[&str] = if name == "oscar" { &["oncall"] } else { &[] };
        let kubeconfig = self.plane.user(&user, groups).unwrap();
        fs::copy(kubeconfig, &file).unwrap();
        file
    }
}
