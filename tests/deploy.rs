//! What `deploy/` and `certs/` promise about rights and confinement, read from the files themselves.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use helm_guard_core::{api::GuardPolicy, policy::Policy};
use rstest::rstest;
use serde_json::Value;

/// Applied only if an emergency account is wanted.
const ACCOUNT: &str = "deploy/break-glass/account.yaml";

/// The guard's rights for emergencies.
const RIGHTS: &str = "deploy/break-glass/rights.yaml";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn yaml_files(folder: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(root().join(folder))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "yaml")
        })
        .collect();
    files.sort();
    files
}

fn documents(file: &Path) -> Vec<Value> {
    let text = fs::read_to_string(file).unwrap();
    serde_saphyr::from_multiple(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// All objects of the plain manifests, of the emergency account, and of the options.
fn manifests() -> Vec<Value> {
    let files = [
        yaml_files("deploy/manifests"),
        vec![root().join(ACCOUNT), root().join(RIGHTS)],
        yaml_files("deploy/options"),
    ]
    .concat();
    let objects: Vec<Value> = files.iter().flat_map(|file| documents(file)).collect();
    assert!(!objects.is_empty());
    objects
}

fn object(kind: &str, name: &str) -> Value {
    manifests()
        .into_iter()
        .find(|object| object["kind"] == kind && object["metadata"]["name"] == name)
        .unwrap_or_else(|| panic!("no {kind} {name}"))
}

fn strings(value: &Value) -> BTreeSet<&str> {
    let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
    items.iter().filter_map(Value::as_str).collect()
}

fn arguments(deployment: &Value) -> BTreeSet<&str> {
    strings(&deployment["spec"]["template"]["spec"]["containers"][0]["args"])
}

/// The rules that the guard's own account has, with the kind of role they come from.
fn guard_rules() -> Vec<(String, Value)> {
    let objects = manifests();
    let granted = objects
        .iter()
        .filter(|binding| {
            let subjects = binding["subjects"].as_array();
            subjects.is_some_and(|subjects| {
                subjects.iter().any(|subject| {
                    subject["name"] == "helm-guard" && subject["namespace"] == "helm-guard"
                })
            })
        })
        .map(|binding| {
            let role = &binding["roleRef"];
            (
                role["kind"].as_str().unwrap().to_owned(),
                role["name"].as_str().unwrap().to_owned(),
            )
        });
    let rules: Vec<(String, Value)> = granted
        .flat_map(|(kind, name)| {
            let role = object(&kind, &name);
            // An aggregated role has no rules of its own.
            let held = role["rules"].as_array().cloned().unwrap_or_default();
            held.into_iter().map(move |rule| (kind.clone(), rule))
        })
        .collect();
    assert!(rules.len() > 5, "{rules:?}");
    rules
}

const READS: [&str; 3] = ["get", "list", "watch"];

#[rstest]
#[case::deploy("deploy")]
#[case::manifests("deploy/manifests")]
#[case::break_glass("deploy/break-glass")]
#[case::examples("deploy/examples")]
#[case::monitoring("deploy/monitoring")]
#[case::certificates("certs")]
fn every_document_parses_and_has_a_kind_and_a_name(#[case] folder: &str) {
    let files = yaml_files(folder);
    assert!(!files.is_empty());
    for file in files {
        for document in documents(&file) {
            let what = file.display();
            assert!(document["apiVersion"].is_string(), "{what}: {document}");
            assert!(document["kind"].is_string(), "{what}: {document}");
            let named = document["metadata"]["name"].is_string();
            assert!(
                named || document["kind"] == "Kustomization",
                "{what}: {document}"
            );
        }
    }
}

/// `kubectl delete -k deploy` removes the guard, but neither the records of emergencies nor the account.
#[test]
fn the_kustomization_names_every_manifest_except_the_crds() {
    let kustomization = documents(&root().join("deploy/kustomization.yaml")).remove(0);
    let named: Vec<PathBuf> = strings(&kustomization["resources"])
        .into_iter()
        .map(|path| root().join("deploy").join(path))
        .collect();
    let (crds, others): (Vec<PathBuf>, Vec<PathBuf>) = yaml_files("deploy/manifests")
        .into_iter()
        .partition(|file| file.ends_with("05-crds.yaml"));
    assert_eq!(crds.len(), 1);
    assert_eq!(named, others);
    let objects = others.iter().flat_map(|file| documents(file));
    let namespaces: Vec<Value> = objects
        .filter(|object| object["kind"] == "Namespace")
        .map(|object| object["metadata"]["name"].clone())
        .collect();
    assert_eq!(namespaces, ["helm-guard"]);
}

#[test]
fn the_emergency_account_has_its_own_namespace_and_only_bound_rights() {
    let account = documents(&root().join(ACCOUNT));
    let of_kind = |kind: &str| -> Vec<&Value> {
        let objects = account.iter();
        objects.filter(|object| object["kind"] == kind).collect()
    };
    assert_eq!(of_kind("ClusterRoleBinding"), Vec::<&Value>::new());
    let namespace = &of_kind("Namespace")[0]["metadata"]["name"];
    assert_eq!(namespace, "helm-guard-break-glass");
    let user = &of_kind("ServiceAccount")[0];
    assert_eq!(&user["metadata"]["namespace"], namespace);
    assert_eq!(user["automountServiceAccountToken"], false);
    for binding in of_kind("RoleBinding") {
        assert_eq!(&binding["metadata"]["namespace"], namespace);
        assert_eq!(binding["subjects"][0]["name"], "helm-guard");
    }
    // Write access to these grants more than the role itself.
    for rule in of_kind("ClusterRole")[0]["rules"].as_array().unwrap() {
        let resources = strings(&rule["resources"]);
        for resource in ["secrets", "serviceaccounts", "roles", "rolebindings"] {
            assert!(!resources.contains(resource), "{rule}");
        }
    }
}

#[test]
fn the_break_glass_example_is_valid_and_binds_the_account_in_one_namespace() {
    let example = documents(&root().join("deploy/examples/break-glass.yaml"));
    let policy = example
        .iter()
        .find(|object| object["kind"] == "GuardPolicy");
    let policy: GuardPolicy = serde_json::from_value(policy.unwrap().clone()).unwrap();
    let account = policy.spec.break_glass.service_account.clone();
    assert_eq!(
        account.as_deref(),
        Some("helm-guard-break-glass/emergency-ops")
    );
    assert!(
        !Policy::compile(&policy.spec)
            .unwrap()
            .emergencies()
            .is_empty()
    );
    for binding in example
        .iter()
        .filter(|object| object["roleRef"].is_object())
    {
        let role = binding["roleRef"]["name"].as_str().unwrap();
        let is_accounts_own = binding["subjects"][0]["name"] == "emergency-ops";
        assert!(
            !is_accounts_own || binding["kind"] == "RoleBinding",
            "{binding}"
        );
        object(binding["roleRef"]["kind"].as_str().unwrap(), role);
    }
}

#[test]
fn each_admission_policy_is_bound_to_deny() {
    let objects = documents(&root().join("deploy/manifests/60-admission-policies.yaml"));
    let names = |kind: &str| -> BTreeSet<String> {
        let objects = objects.iter().filter(|object| object["kind"] == kind);
        objects
            .map(|object| object["metadata"]["name"].as_str().unwrap().to_owned())
            .collect()
    };
    let policies = names("ValidatingAdmissionPolicy");
    assert_eq!(policies, names("ValidatingAdmissionPolicyBinding"));
    assert_eq!(policies.len(), 5);
    for object in &objects {
        if object["kind"] == "ValidatingAdmissionPolicyBinding" {
            assert_eq!(object["spec"]["policyName"], object["metadata"]["name"]);
            assert_eq!(
                object["spec"]["validationActions"],
                serde_json::json!(["Deny"])
            );
        }
    }
}

#[test]
fn the_alerts_example_is_valid() {
    let [secret, policy] = &documents(&root().join("deploy/examples/alerts.yaml"))[..] else {
        panic!("a Secret and a policy");
    };
    let policy: GuardPolicy = serde_json::from_value(policy.clone()).unwrap();
    let policy = Policy::compile(&policy.spec).unwrap();
    assert_eq!(policy.alerts().sinks.len(), 4);
    for key in policy.alerts().sinks.iter().flat_map(|sink| sink.secrets()) {
        assert_eq!(secret["metadata"]["name"], *key.name);
        assert!(secret["stringData"][&key.key].is_string(), "{}", key.key);
    }
    let readable = guard_rules().into_iter().any(|(role, rule)| {
        role == "Role" && strings(&rule["resourceNames"]).contains("helm-guard-alerts")
    });
    assert!(readable);
}

#[test]
fn the_guard_may_only_write_its_kinds_events_registration_and_certificate() {
    for (role, rule) in guard_rules() {
        let resources = strings(&rule["resources"]);
        let writes: BTreeSet<&str> = strings(&rule["verbs"])
            .into_iter()
            .filter(|verb| !READS.contains(verb))
            .collect();
        if writes.is_empty() {
            continue;
        }
        let allowed: BTreeSet<&str> = match (role.as_str(), resources.iter().next().copied()) {
            ("ClusterRole", Some("events")) => ["create", "patch"].into(),
            ("ClusterRole", Some("subjectaccessreviews")) => ["create"].into(),
            ("ClusterRole", Some("emergencychanges")) => ["create", "delete"].into(),
            ("ClusterRole", Some("emergencychanges/status")) => ["update"].into(),
            ("ClusterRole", Some("breakglassgrants")) => ["delete"].into(),
            ("ClusterRole", Some("guardpolicies/status")) => {
                assert_eq!(strings(&rule["resourceNames"]), ["default"].into());
                ["patch"].into()
            }
            ("ClusterRole", Some("validatingwebhookconfigurations")) => {
                assert_eq!(strings(&rule["resourceNames"]), ["helm-guard"].into());
                ["create", "update", "patch", "delete"].into()
            }
            // Only Secrets in the namespace of the emergency account.
            ("Role", Some("secrets")) if rule["verbs"] == serde_json::json!(["list", "delete"]) => {
                let role = object("Role", "helm-guard-tokens");
                assert_eq!(role["metadata"]["namespace"], "helm-guard-break-glass");
                assert_eq!(role["rules"].as_array().unwrap().len(), 1);
                ["delete"].into()
            }
            ("Role", Some("secrets")) => {
                assert_eq!(strings(&rule["resourceNames"]), ["helm-guard-tls"].into());
                ["create", "update", "patch"].into()
            }
            ("Role", Some("leases")) => {
                assert_eq!(strings(&rule["resourceNames"]), ["helm-guard"].into());
                ["create", "update", "patch"].into()
            }
            ("Role", Some("configmaps")) => {
                let names = strings(&rule["resourceNames"]);
                assert_eq!(names, ["helm-guard-forecast"].into());
                ["create", "update", "patch"].into()
            }
            _ => panic!("writes in {rule}"),
        };
        assert_eq!(resources.len(), 1, "one resource a writing rule: {rule}");
        assert!(writes.is_subset(&allowed), "{writes:?} in {rule}");
    }
}

#[test]
fn the_guard_may_write_the_forecast_and_the_policy_owner_may_read_it() {
    use helm_guard::record::forecast::document::NAME;

    let may = |rules: &[Value], verb: &str| {
        rules.iter().any(|rule| {
            strings(&rule["resources"]).contains("configmaps")
                && strings(&rule["resourceNames"]) == [NAME].into()
                && strings(&rule["verbs"]).contains(verb)
        })
    };
    let guard: Vec<Value> = guard_rules().into_iter().map(|(_, rule)| rule).collect();
    assert!(may(&guard, "get") && may(&guard, "update"));
    for name in ["helm-guard-viewer", "helm-guard-policy-owner"] {
        let role = object("ClusterRole", name);
        assert!(may(role["rules"].as_array().unwrap(), "get"), "{name}");
    }
}

#[test]
fn no_account_has_a_wildcard_or_may_escalate_its_rights() {
    let roles = manifests()
        .into_iter()
        .filter(|object| object["kind"] == "ClusterRole" || object["kind"] == "Role");
    for role in roles {
        for rule in role["rules"].as_array().into_iter().flatten() {
            for field in ["apiGroups", "resources", "verbs"] {
                let words = strings(&rule[field]);
                assert!(
                    !words.is_empty() && !words.contains("*"),
                    "{field} of {rule}"
                );
            }
            // `get` on these allows far more than reading.
            for resource in strings(&rule["resources"]) {
                let part = resource.split_once('/').map_or("", |(_, part)| part);
                assert!(
                    !["exec", "attach", "portforward", "proxy"].contains(&part),
                    "{rule}"
                );
            }
            for verb in ["escalate", "bind", "impersonate"] {
                assert!(!strings(&rule["verbs"]).contains(verb), "{verb} in {rule}");
            }
            assert!(
                !strings(&rule["apiGroups"]).contains("rbac.authorization.k8s.io")
                    || strings(&rule["verbs"])
                        .iter()
                        .all(|verb| READS.contains(verb)),
                "{rule}"
            );
        }
    }
}

#[test]
fn the_guard_may_read_the_objects_that_it_compares_with() {
    let rules = guard_rules();
    for (group, resource) in [
        ("", "secrets"),
        ("", "namespaces"),
        ("apiextensions.k8s.io", "customresourcedefinitions"),
    ] {
        assert!(
            rules.iter().any(|(role, rule)| role == "ClusterRole"
                && rule["resourceNames"].is_null()
                && strings(&rule["apiGroups"]).contains(group)
                && strings(&rule["resources"]).contains(resource)
                && READS
                    .iter()
                    .all(|verb| strings(&rule["verbs"]).contains(verb))),
            "{group}/{resource}"
        );
    }
}

#[test]
fn the_pods_run_with_a_restricted_security_context() {
    let deployment = object("Deployment", "helm-guard");
    let pod = &deployment["spec"]["template"]["spec"];
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["securityContext"]["runAsUser"], 65532);
    assert_eq!(
        pod["securityContext"]["seccompProfile"]["type"],
        "RuntimeDefault"
    );
    for field in ["hostNetwork", "hostPID", "hostIPC"] {
        assert!(pod[field].is_null(), "{field}");
    }
    let containers = pod["containers"].as_array().unwrap();
    assert_eq!(containers.len(), 1);
    for container in containers {
        let context = &container["securityContext"];
        assert_eq!(context["allowPrivilegeEscalation"], false);
        assert_eq!(context["readOnlyRootFilesystem"], true);
        assert_eq!(context["capabilities"]["drop"], serde_json::json!(["ALL"]));
        assert!(context["capabilities"]["add"].is_null());
        assert!(context["privileged"].is_null());
        assert!(container["resources"]["limits"]["memory"].is_string());
        assert!(container["resources"]["limits"]["cpu"].is_null());
    }
}

#[test]
fn a_rollout_or_a_drain_never_stops_the_last_replica() {
    let deployment = object("Deployment", "helm-guard");
    let spec = &deployment["spec"];
    assert_eq!(spec["replicas"], 2);
    assert_eq!(spec["strategy"]["rollingUpdate"]["maxUnavailable"], 0);
    assert_eq!(spec["strategy"]["rollingUpdate"]["maxSurge"], 1);
    // 5 s of drain delay, then requests of at most 3 s.
    let grace = spec["template"]["spec"]["terminationGracePeriodSeconds"]
        .as_u64()
        .unwrap();
    assert!(grace > 8, "{grace}");
    let budget = object("PodDisruptionBudget", "helm-guard");
    assert_eq!(budget["spec"]["maxUnavailable"], 1);
    let selector = &spec["selector"]["matchLabels"];
    assert_eq!(&budget["spec"]["selector"]["matchLabels"], selector);
    assert_eq!(
        &object("Service", "helm-guard")["spec"]["selector"],
        selector
    );
    let labels = &spec["template"]["metadata"]["labels"];
    for (key, value) in selector.as_object().unwrap() {
        assert_eq!(&labels[key], value);
    }
}

#[test]
fn the_deployment_serves_on_the_ports_of_the_service_and_the_probes() {
    let deployment = object("Deployment", "helm-guard");
    let arguments = arguments(&deployment);
    for argument in [
        "serve",
        "--listen=0.0.0.0:8443",
        "--admin-listen=0.0.0.0:8080",
        "--register-service=helm-guard/helm-guard",
        // The garbage collector needs the name of the ClusterRole that is shipped.
        "--owner-cluster-role=helm-guard",
        "--mode=Audit",
    ] {
        assert!(arguments.contains(argument), "{argument} in {arguments:?}");
    }
    // Otherwise each rollout would remove the registration of the remaining replica.
    assert!(!arguments.contains("--unregister-on-exit"));
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    let port = |name: &str| {
        let ports = container["ports"].as_array().unwrap();
        ports.iter().find(|port| port["name"] == name).unwrap()["containerPort"].clone()
    };
    assert_eq!(port("https"), 8443);
    assert_eq!(port("admin"), 8080);
    let service = object("Service", "helm-guard");
    assert_eq!(service["spec"]["ports"][0]["port"], 443);
    assert_eq!(service["spec"]["ports"][0]["targetPort"], "https");
    for (probe, path) in [("readinessProbe", "/readyz"), ("livenessProbe", "/livez")] {
        assert_eq!(container[probe]["httpGet"]["path"], path);
        assert_eq!(container[probe]["httpGet"]["port"], "admin");
    }
}

/// The account is opt-in: without it, an account of the same name must not have break-glass, whoever creates
/// it.
/// A patch cannot add arguments to a list without merge keys, so it repeats them.
#[test]
fn the_patch_for_own_certificates_keeps_the_arguments_of_the_deployment() {
    let deployment = object("Deployment", "helm-guard");
    let patch = documents(&root().join("certs/deployment-patch.yaml"));
    let patched = arguments(&patch[0]);
    let lost: Vec<_> = arguments(&deployment)
        .difference(&patched)
        .copied()
        .collect();
    assert!(lost.is_empty(), "{lost:?}");
}

#[test]
fn no_break_glass_identity_is_configured_by_default() {
    let deployment = object("Deployment", "helm-guard");
    let arguments = arguments(&deployment);
    assert!(
        !arguments
            .iter()
            .any(|argument| argument.contains("break-glass"))
    );
}

#[test]
fn no_manifest_is_managed_by_helm_so_the_guard_does_not_guard_itself() {
    for object in manifests() {
        let label = "app.kubernetes.io/managed-by";
        assert!(object["metadata"]["labels"][label].is_null(), "{object}");
        assert!(
            object["spec"]["template"]["metadata"]["labels"][label].is_null(),
            "{object}"
        );
    }
}

#[test]
fn the_plugin_of_helm_has_the_version_of_the_crate() {
    let plugin = documents(&root().join("deploy/plugins/helm/plugin.yaml"));
    assert_eq!(plugin[0]["version"], env!("CARGO_PKG_VERSION"));
}

/// A release replaces these words; nothing else in the manifest changes from release to release.
#[test]
fn the_manifest_for_krew_has_a_placeholder_for_all_that_a_release_knows() {
    let manifest = &documents(&root().join("deploy/plugins/krew/helm-guard.yaml"))[0];
    assert_eq!(manifest["spec"]["version"], "vVERSION");
    let platforms = manifest["spec"]["platforms"].as_array().unwrap();
    assert_eq!(platforms.len(), 3);
    for platform in platforms {
        let labels = &platform["selector"]["matchLabels"];
        let [os, arch] = ["os", "arch"].map(|label| labels[label].as_str().unwrap());
        let archive = format!("/vVERSION/helm-guard-{os}-{arch}.tar.gz");
        assert!(platform["uri"].as_str().unwrap().ends_with(&archive));
        let sum = format!("SHA256_{os}_{arch}").to_uppercase();
        assert_eq!(platform["sha256"], sum.as_str());
        // kubectl looks for this name.
        assert_eq!(platform["bin"], "kubectl-helm_guard");
    }
}

#[test]
fn the_image_has_the_version_of_the_crate() {
    let deployment = object("Deployment", "helm-guard");
    let image = &deployment["spec"]["template"]["spec"]["containers"][0]["image"];
    let expected = concat!("ghcr.io/helm-guard/helm-guard:", env!("CARGO_PKG_VERSION"));
    assert_eq!(image, expected);
}

fn make_certs(arguments: &[&str]) -> Output {
    Command::new(root().join("certs/make-certs.sh"))
        .args(arguments)
        .output()
        .unwrap()
}

#[test]
fn the_script_creates_certificates_for_the_service_and_overwrites_nothing() {
    use std::os::unix::fs::PermissionsExt;

    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().to_str().unwrap();
    let first = make_certs(&["--out", out, "--san", "IP:127.0.0.1"]);
    let said = String::from_utf8_lossy(&first.stderr).into_owned();
    if Command::new("openssl").arg("version").output().is_err() {
        assert!(said.contains("openssl is not installed"), "{said}");
        let is_ci = std::env::var_os("CI").is_some_and(|value| value == "true");
        assert!(!is_ci, "openssl is not installed: an error in CI");
        return;
    }
    assert!(first.status.success(), "{said}");
    for key in ["tls.key", "ca.key"] {
        let mode = fs::metadata(folder.path().join(key))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{key}");
    }
    let pem = fs::read(folder.path().join("tls.crt")).unwrap();
    let (_, pem) = x509_parser::pem::parse_x509_pem(&pem).unwrap();
    let leaf = pem.parse_x509().unwrap();
    let names = leaf.subject_alternative_name().unwrap().unwrap();
    let names = format!("{:?}", names.value.general_names);
    assert!(names.contains("\"helm-guard.helm-guard.svc\""), "{names}");
    assert!(!leaf.is_ca());

    let key = fs::read(folder.path().join("tls.key")).unwrap();
    let again = make_certs(&["--out", out]);
    assert_eq!(again.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&again.stderr).contains("not overwritten"));
    assert_eq!(fs::read(folder.path().join("tls.key")).unwrap(), key);
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(left.len(), 4, "{left:?}");
}

#[test]
fn no_key_is_committed_with_the_certificate_script() {
    for entry in fs::read_dir(root().join("certs")).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        assert!(!text.contains("-----BEGIN"), "{}", path.display());
    }
}
