//! What a chart turns out to need for its installation: namespaces, kinds of other charts, skipped
//! hooks. Derived from Helm's errors, once for each chart.

use serde_json::{Value, json};

/// The preparation for the installation of a chart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Setup {
    /// Namespaces to create.
    pub namespaces: Vec<String>,
    /// Kinds that get a CRD without a schema: (group, version, kind).
    pub kinds: Vec<(String, String, String)>,
    /// Whether Helm skips hooks, because they do not finish here.
    pub no_hooks: bool,
    /// Whether kubectl applies the chart's `crds/`, and skips what is invalid: some charts have
    /// more than CRDs there.
    pub crds_apart: bool,
}

impl Setup {
    /// Adds what would fix an error; returns whether there is anything.
    pub fn learn(&mut self, error: &str) -> bool {
        if error.contains("failed to install CRD") && !self.crds_apart {
            self.crds_apart = true;
            return true;
        }
        let before = self.clone();
        for name in all_between(error, "namespaces \"", "\" not found") {
            if !self.namespaces.contains(&name) {
                self.namespaces.push(name);
            }
        }
        for (kind, version) in missing_kinds(error) {
            if let Some((group, version)) = version.split_once('/') {
                let known = (group.to_owned(), version.to_owned(), kind);
                // A removed kind of Kubernetes itself cannot be restored.
                let custom = group.contains('.') && !group.ends_with(".k8s.io");
                let gateway = group == "gateway.networking.k8s.io" || group.ends_with(".x-k8s.io");
                if (custom || gateway) && !self.kinds.contains(&known) {
                    self.kinds.push(known);
                }
            }
        }
        let hook = error.contains("hook") || error.contains("BackoffLimitExceeded");
        let late = ["timed out", "deadline exceeded", "failed"]
            .iter()
            .any(|word| error.contains(word));
        if hook && late {
            self.no_hooks = true;
        }
        *self != before
    }

    /// The preparation as text, for the table.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.no_hooks {
            notes.push("--no-hooks".to_owned());
        }
        if self.crds_apart {
            notes.push("--skip-crds".to_owned());
        }
        if !self.kinds.is_empty() {
            notes.push(format!("{} kinds defined without schema", self.kinds.len()));
        }
        notes
    }

    /// The CRDs of the missing kinds.
    pub fn crds(&self) -> Vec<Value> {
        let mut crds: Vec<Value> = Vec::new();
        for (group, version, kind) in &self.kinds {
            let plural = plural(kind);
            let name = format!("{plural}.{group}");
            crds.push(json!({
                "apiVersion": "apiextensions.k8s.io/v1",
                "kind": "CustomResourceDefinition",
                "metadata": {
                    "name": name,
                    // The API server requires an approval for groups in its own domain.
                    "annotations": {"api-approved.kubernetes.io": "unapproved, for a test"},
                },
                "spec": {
                    "group": group,
                    "scope": scope(kind),
                    "names": {"kind": kind, "plural": plural, "singular": kind.to_lowercase()},
                    "versions": [{
                        "name": version, "served": true, "storage": true,
                        "schema": {"openAPIV3Schema": {
                            "type": "object", "x-kubernetes-preserve-unknown-fields": true,
                        }},
                    }],
                },
            }));
        }
        crds
    }
}

fn scope(kind: &str) -> &'static str {
    let cluster = kind.starts_with("Cluster") || kind.ends_with("Class");
    if cluster { "Cluster" } else { "Namespaced" }
}

fn plural(kind: &str) -> String {
    let lower = kind.to_lowercase();
    match lower.strip_suffix('y') {
        Some(stem) if !stem.ends_with(['a', 'e', 'o', 'u']) => format!("{stem}ies"),
        _ if lower.ends_with('s') => format!("{lower}es"),
        _ => format!("{lower}s"),
    }
}

/// `no matches for kind "ServiceMonitor" in version "monitoring.coreos.com/v1"`
fn missing_kinds(error: &str) -> Vec<(String, String)> {
    let kinds = all_between(error, "no matches for kind \"", "\" in version");
    let versions = error
        .split("no matches for kind \"")
        .skip(1)
        .filter_map(|rest| {
            let (_, rest) = rest.split_once("in version \"")?;
            Some(rest.split_once('"')?.0.to_owned())
        });
    kinds.into_iter().zip(versions).collect()
}

fn all_between(text: &str, start: &str, end: &str) -> Vec<String> {
    text.split(start)
        .skip(1)
        .filter_map(|rest| Some(rest.split_once(end)?.0))
        .filter(|found| !found.contains('\n') && found.len() < 254)
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_shows_what_is_missing() {
        let mut setup = Setup::default();
        assert!(setup.learn("Error: namespaces \"istio-system\" not found"));
        assert!(setup.learn(
            "resource mapping not found for name: \"x\" namespace: \"\" from \"\": no matches for kind \
             \"ServiceMonitor\" in version \"monitoring.coreos.com/v1\"\nensure CRDs are installed first"
        ));
        assert!(
            !setup.learn("no matches for kind \"PodSecurityPolicy\" in version \"policy/v1beta1\"")
        );
        assert!(
            setup.learn("failed post-install: 1 error: hook timed out waiting for the condition")
        );
        assert_eq!(setup.namespaces, ["istio-system"]);
        assert_eq!(
            setup.crds()[0]["metadata"]["name"],
            "servicemonitors.monitoring.coreos.com"
        );
        assert_eq!(setup.notes().len(), 2);
        assert!(!setup.learn("Error: namespaces \"istio-system\" not found"));
    }

    #[test]
    fn plurals_are_those_of_the_crds() {
        let kinds = ["Gateway", "NetworkPolicy", "Ingress", "ServiceMonitor"];
        let plurals = [
            "gateways",
            "networkpolicies",
            "ingresses",
            "servicemonitors",
        ];
        assert_eq!(kinds.map(plural), plurals);
    }
}
