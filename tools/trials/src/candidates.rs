//! Plausible alternatives to a declared value, of the same type and likely to be valid. There are
//! several, because the API server rejects many.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use crate::{
    leaves::{self, Step},
    semantics::same_scalar,
};

/// Values of enumerated fields.
const ENUMS: &[(&str, &[&str])] = &[
    ("imagePullPolicy", &["Always", "IfNotPresent", "Never"]),
    ("protocol", &["TCP", "UDP", "SCTP"]),
    ("appProtocol", &["http", "https"]),
    ("restartPolicy", &["Always", "OnFailure", "Never"]),
    (
        "dnsPolicy",
        &["ClusterFirst", "Default", "ClusterFirstWithHostNet"],
    ),
    ("type", &["ClusterIP", "NodePort", "LoadBalancer"]),
    ("type", &["RollingUpdate", "Recreate", "OnDelete"]),
    ("type", &["RuntimeDefault", "Unconfined"]),
    ("type", &["Utilization", "AverageValue", "Value"]),
    (
        "type",
        &["Directory", "DirectoryOrCreate", "File", "FileOrCreate"],
    ),
    (
        "type",
        &["string", "integer", "boolean", "number", "array", "object"],
    ),
    ("type", &["date", "string", "integer"]),
    ("type", &["Percent", "Pods"]),
    ("type", &["Container", "Pod"]),
    ("sessionAffinity", &["None", "ClientIP"]),
    ("externalTrafficPolicy", &["Cluster", "Local"]),
    ("internalTrafficPolicy", &["Cluster", "Local"]),
    ("ipFamilyPolicy", &["SingleStack", "PreferDualStack"]),
    ("pathType", &["Prefix", "Exact", "ImplementationSpecific"]),
    (
        "operator",
        &["In", "NotIn", "Exists", "DoesNotExist", "Equal"],
    ),
    ("effect", &["NoSchedule", "PreferNoSchedule", "NoExecute"]),
    ("concurrencyPolicy", &["Allow", "Forbid", "Replace"]),
    ("whenUnsatisfiable", &["DoNotSchedule", "ScheduleAnyway"]),
    ("podManagementPolicy", &["OrderedReady", "Parallel"]),
    ("whenDeleted", &["Retain", "Delete"]),
    ("whenScaled", &["Retain", "Delete"]),
    ("scheme", &["HTTP", "HTTPS"]),
    ("volumeBindingMode", &["Immediate", "WaitForFirstConsumer"]),
    ("reclaimPolicy", &["Delete", "Retain"]),
    ("failurePolicy", &["Fail", "Ignore"]),
    ("sideEffects", &["None", "NoneOnDryRun"]),
    ("matchPolicy", &["Exact", "Equivalent"]),
    ("scope", &["Namespaced", "Cluster", "*"]),
    ("strategy", &["None", "Webhook"]),
    (
        "terminationMessagePolicy",
        &["File", "FallbackToLogsOnError"],
    ),
    (
        "unhealthyPodEvictionPolicy",
        &["IfHealthyBudget", "AlwaysAllow"],
    ),
    ("preemptionPolicy", &["PreemptLowerPriority", "Never"]),
    ("mountPropagation", &["None", "HostToContainer"]),
    ("completionMode", &["NonIndexed", "Indexed"]),
    ("selectPolicy", &["Max", "Min", "Disabled"]),
    ("fsGroupChangePolicy", &["Always", "OnRootMismatch"]),
    (
        "fieldPath",
        &[
            "metadata.name",
            "metadata.namespace",
            "status.podIP",
            "spec.nodeName",
            "spec.serviceAccountName",
            "status.hostIP",
        ],
    ),
    (
        "resource",
        &[
            "limits.cpu",
            "limits.memory",
            "requests.cpu",
            "requests.memory",
            "cpu",
            "memory",
        ],
    ),
    (
        "kind",
        &["ServiceAccount", "User", "Group", "Role", "ClusterRole"],
    ),
    ("apiGroup", &["rbac.authorization.k8s.io", ""]),
    (
        "accessModes",
        &["ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany"],
    ),
    ("policyTypes", &["Ingress", "Egress"]),
    ("verbs", &["get", "list", "watch", "update"]),
    ("drop", &["ALL", "NET_RAW", "CHOWN"]),
    ("add", &["NET_BIND_SERVICE", "NET_ADMIN", "SYS_PTRACE"]),
    ("format", &["int32", "int64", "date-time"]),
    ("versions", &["v1", "v1beta1"]),
    ("schedule", &["17 3 * * *", "0 4 * * *"]),
    ("updateStrategy", &["RollingUpdate", "OnDelete"]),
    ("fsType", &["ext4", "xfs"]),
];

/// The maximum number of requests for one value.
const MOST: usize = 6;

/// Candidates for the value at a live path, none of which means the same as the declared or the live
/// value.
pub fn candidates(object: &Value, path: &[Step], declared: &Value) -> Vec<Value> {
    let kind = object
        .get("kind")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let live = leaves::get(object, path);
    let base = live
        .filter(|live| !live.is_object() && !live.is_array())
        .unwrap_or(declared);
    let mut found = match base {
        Value::Bool(flag) => vec![json!(!flag)],
        Value::Number(number) => numbers(number),
        Value::String(text) if kind == "Secret" && is_data(path) => vec![json!(base64_of(text))],
        Value::String(text) => volumes(object, path)
            .into_iter()
            .chain(strings(field(path), text))
            .collect(),
        Value::Null | Value::Object(_) | Value::Array(_) => Vec::new(),
    };
    found.retain(|value| {
        !same_scalar(value, declared) && !live.is_some_and(|live| same_scalar(value, live))
    });
    let mut unique: Vec<Value> = Vec::new();
    for value in found {
        if !unique.contains(&value) {
            unique.push(value);
        }
    }
    unique.truncate(MOST);
    unique
}

/// For the name in a volume mount: the names of the pod's volumes, because no others are valid.
fn volumes(object: &Value, path: &[Step]) -> Vec<Value> {
    let is = |step: &Step, name: &str| matches!(step, Step::Field(field) if field == name);
    let mount = path.iter().any(|step| is(step, "volumeMounts")) && field(path) == "name";
    let pod = path
        .iter()
        .position(|step| is(step, "containers") || is(step, "initContainers"))
        .and_then(|end| leaves::get(object, path.get(..end)?));
    let volumes = pod
        .and_then(|pod| pod.get("volumes"))
        .and_then(Value::as_array);
    volumes
        .into_iter()
        .flatten()
        .filter(|_| mount)
        .filter_map(|volume| volume.get("name").cloned())
        .take(2)
        .collect()
}

fn is_data(path: &[Step]) -> bool {
    matches!(path.first(), Some(Step::Field(field)) if field == "data")
}

fn base64_of(text: &str) -> String {
    let mut bytes = BASE64_STANDARD.decode(text).unwrap_or_default();
    bytes.extend(b"corpus");
    BASE64_STANDARD.encode(bytes)
}

/// The nearest field; for a list item, the field of the list.
fn field(path: &[Step]) -> &str {
    path.iter()
        .rev()
        .find_map(|step| match step {
            Step::Field(name) => Some(name.as_str()),
            Step::Item(_) => None,
        })
        .unwrap_or_default()
}

fn numbers(number: &serde_json::Number) -> Vec<Value> {
    if let Some(n) = number.as_i64() {
        return [
            n.saturating_add(1),
            n - 1,
            n.saturating_mul(2),
            1,
            0,
            10_001,
        ]
        .into_iter()
        .map(|n| json!(n))
        .collect();
    }
    number
        .as_f64()
        .map(|n| vec![json!(n + 1.0), json!(n / 2.0)])
        .unwrap_or_default()
}

fn strings(field: &str, text: &str) -> Vec<Value> {
    let mut found: Vec<String> = Vec::new();
    let known = ENUMS
        .iter()
        .find(|(name, values)| *name == field && (values.contains(&text) || text.is_empty()));
    if let Some((_, values)) = known {
        found.extend(values.iter().map(|value| (*value).to_owned()));
    }
    match text {
        "true" => found.push("false".to_owned()),
        "false" => found.push("true".to_owned()),
        _ => {}
    }
    found.extend(other_number(text));
    found.extend(suffixed(text));
    found.into_iter().map(Value::from).collect()
}

/// Another number with the same unit: quantities, durations, percentages, versions.
fn other_number(text: &str) -> Vec<String> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let short = unit.len() <= 3 && unit.chars().all(|c| c.is_ascii_alphanumeric() || c == '%');
    match number.parse::<u32>() {
        Ok(number) if short => vec![
            format!("{}{unit}", number.saturating_mul(2)),
            format!("{}{unit}", number.saturating_add(1)),
            format!("{}{unit}", number / 2),
        ],
        _ => Vec::new(),
    }
}

fn suffixed(text: &str) -> Vec<String> {
    let mut found = vec![format!("{text}-corpus"), format!("{text}x")];
    // Labels and names have a maximum length, so the length stays the same.
    let mut shorter = text.to_owned();
    if let Some(last) = shorter.pop() {
        shorter.push(if last == 'a' { 'b' } else { 'a' });
        found.push(shorter);
    }
    // IP ranges, paths, addresses.
    match text {
        _ if text.starts_with('/') => found.insert(0, format!("{text}/corpus")),
        _ if text.contains("://") => found.push(format!("{text}/corpus")),
        _ if text.ends_with("/0") => found.insert(0, "10.1.0.0/16".to_owned()),
        "" => found.insert(0, "corpus".to_owned()),
        _ => {}
    }
    found
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn of(kind: &str, path: &[&str], value: &Value) -> Vec<Value> {
        let path: Vec<Step> = path
            .iter()
            .map(|name| Step::Field((*name).to_owned()))
            .collect();
        let mut object = json!({"kind": kind});
        assert!(leaves::set(&mut object, &path, value.clone()));
        candidates(&object, &path, value)
    }

    #[rstest]
    #[case("Service", &["spec", "type"], json!("ClusterIP"), json!("NodePort"))]
    #[case("Deployment", &["spec", "replicas"], json!(1), json!(2))]
    #[case("Deployment", &["limits", "memory"], json!("64Mi"), json!("128Mi"))]
    #[case("Deployment", &["hostNetwork"], json!(true), json!(false))]
    #[case("ConfigMap", &["data", "enabled"], json!("true"), json!("false"))]
    #[case("Deployment", &["image"], json!("nginx:1"), json!("nginx:1-corpus"))]
    #[case("Secret", &["data", "key"], json!("YQ=="), json!("YWNvcnB1cw=="))]
    fn the_first_candidate_is_plausible(
        #[case] kind: &str,
        #[case] path: &[&str],
        #[case] value: Value,
        #[case] first: Value,
    ) {
        assert_eq!(of(kind, path, &value).first(), Some(&first));
    }

    #[test]
    fn no_candidate_is_equivalent_to_the_value() {
        let object = json!({"kind": "Deployment", "cpu": "1"});
        let path = [Step::Field("cpu".to_owned())];
        for candidate in candidates(&object, &path, &json!("1000m")) {
            assert!(!same_scalar(&candidate, &json!(1)), "{candidate}");
        }
    }

    #[test]
    fn a_volume_mount_gets_another_volume_of_its_pod() {
        let object = json!({"spec": {"volumes": [{"name": "a"}, {"name": "b"}],
            "containers": [{"volumeMounts": [{"name": "a"}]}]}});
        let path: Vec<Step> = leaves::leaves(&object, &object)
            .into_iter()
            .find_map(|leaf| {
                leaf.live
                    .filter(|_| leaf.path.contains("volumeMounts[name=a].name"))
            })
            .unwrap();
        assert_eq!(candidates(&object, &path, &json!("a"))[0], "b");
    }
}
