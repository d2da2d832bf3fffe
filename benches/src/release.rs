//! Generates releases like those of larger charts: about 15 objects, 50 KB of manifest, all different.
//!
//! The number of a release determines its content, so that all runs are the same. The text compresses like real
//! manifests: gzip reduces them to 0.15 of their size (mean of 383 public charts). Random or constant text would
//! make compressed sizes unrealistic.

use std::fmt::Write;

use base64::{Engine, prelude::BASE64_STANDARD};
use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};

/// Releases in one namespace.
const PER_NAMESPACE: usize = 10;

/// The number of different charts.
const CHARTS: usize = 50;

/// Bytes of text in each of the `ConfigMap`s, which make most of a manifest.
const TEXT: usize = 5_600;

/// The phase of a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Revision 3 is deployed.
    Deployed,
    /// Revision 4 is being deployed.
    Upgrading,
    /// Revision 3 is being uninstalled.
    Uninstalling,
}

/// A generated release.
#[derive(Clone, Copy, Debug)]
pub struct Release {
    /// From 0; name and namespace follow from it.
    pub number: usize,
    /// Its phase.
    pub state: State,
}

/// The status of one revision, as Helm writes it.
pub type Revision = (u32, &'static str);

impl Release {
    /// A deployed release.
    pub fn settled(number: usize) -> Self {
        Self {
            number,
            state: State::Deployed,
        }
    }

    /// `app-00042`
    pub fn name(&self) -> String {
        format!("app-{:05}", self.number)
    }

    /// `team-0004`, which some releases share.
    pub fn namespace(&self) -> String {
        format!("team-{:04}", self.number / PER_NAMESPACE)
    }

    /// Its records.
    pub fn revisions(&self) -> Vec<Revision> {
        let last: &[Revision] = match self.state {
            State::Deployed => &[(3, "deployed")],
            State::Upgrading => &[(3, "deployed"), (4, "pending-upgrade")],
            State::Uninstalling => &[(3, "uninstalling")],
        };
        [&[(1, "superseded"), (2, "superseded")], last].concat()
    }

    /// The objects that a revision declares: those of a chart with two workloads.
    pub fn objects(&self, revision: u32) -> Vec<Value> {
        let name = self.name();
        let mut words = Words::new(self.number);
        let mut objects = vec![
            self.object("v1", "ServiceAccount", &name, json!({})),
            self.object(
                "v1",
                "Secret",
                &format!("{name}-login"),
                json!({
                    "type": "Opaque",
                    "stringData": {"user": name, "password": words.line(24)},
                }),
            ),
        ];
        for part in ["app", "worker"] {
            let full = format!("{name}-{part}");
            let deployment = self.workload(&full, revision, &mut words);
            objects.push(self.object("apps/v1", "Deployment", &full, deployment));
            objects.push(self.object("v1", "Service", &full, json!({"spec": {
                "type": "ClusterIP", "selector": {"app": full},
                "ports": [{"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"}],
            }})));
        }
        for part in 0..6 {
            let mut text = words.text(TEXT);
            // A revision changes one of them, as most upgrades do.
            if part == 0 {
                let _ = writeln!(text, "release.revision={revision}");
            }
            let config = json!({"data": {"application.properties": text}});
            objects.push(self.object("v1", "ConfigMap", &format!("{name}-{part}"), config));
        }
        objects.push(self.object("rbac.authorization.k8s.io/v1", "Role", &name, json!({"rules": [
            {"apiGroups": [""], "resources": ["configmaps", "endpoints"], "verbs": ["get", "list", "watch"]},
            {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["*"]},
        ]})));
        objects.push(self.object("rbac.authorization.k8s.io/v1", "RoleBinding", &name, json!({
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": self.namespace()}],
        })));
        objects.push(self.object("networking.k8s.io/v1", "Ingress", &name, json!({"spec": {
            "ingressClassName": "nginx",
            "tls": [{"hosts": [format!("{name}.example.com")], "secretName": format!("{name}-tls")}],
            "rules": [{"host": format!("{name}.example.com"), "http": {"paths": [
                {"path": "/", "pathType": "Prefix",
                 "backend": {"service": {"name": format!("{name}-app"), "port": {"name": "http"}}}},
            ]}}],
        }})));
        objects
    }

    fn workload(&self, name: &str, revision: u32, words: &mut Words) -> Value {
        let number = self.number;
        let containers: Vec<Value> = ["main", "proxy"]
            .iter()
            .map(|container| {
                let env: Vec<Value> = (0..12)
                    .map(|n| json!({"name": format!("SETTING_{n}"), "value": words.line(16)}))
                    .collect();
                json!({
                    "name": container,
                    "image": format!("registry.example.com/team/{container}-{number}:1.{revision}.0"),
                    "args": ["--config", "/etc/app/application.properties", "--level", "info"],
                    "env": env,
                    "ports": [{"name": if *container == "main" { "http" } else { "admin" },
                        "containerPort": if *container == "main" { 8080 } else { 9090 }, "protocol": "TCP"}],
                    "readinessProbe": {"httpGet": {"path": "/ready", "port": 8080}, "periodSeconds": 5},
                    "resources": {"limits": {"cpu": "1", "memory": "512Mi"},
                        "requests": {"cpu": "100m", "memory": "128Mi"}},
                    "volumeMounts": [{"name": "config", "mountPath": "/etc/app"}],
                })
            })
            .collect();
        json!({"spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {
                    "serviceAccountName": self.name(),
                    "containers": containers,
                    "volumes": [{"name": "config", "configMap": {"name": format!("{}-0", self.name())}}],
                },
            },
        }})
    }

    fn object(&self, version: &str, kind: &str, name: &str, rest: Value) -> Value {
        let mut object = rest;
        object["apiVersion"] = version.into();
        object["kind"] = kind.into();
        object["metadata"] = json!({
            "name": name, "namespace": self.namespace(),
            "labels": {
                "app.kubernetes.io/name": name, "app.kubernetes.io/instance": self.name(),
                "app.kubernetes.io/managed-by": "Helm",
                "helm.sh/chart": format!("chart-{}-1.2.3", self.number % CHARTS),
            },
        });
        object
    }

    /// The manifest of a revision, as `helm get manifest` shows it.
    pub fn manifest(&self, revision: u32) -> String {
        manifest(&self.objects(revision))
    }

    /// The body of a revision's record: what is under the key `release`.
    pub fn payload(&self, (revision, status): Revision) -> String {
        let about = About {
            namespace: &self.namespace(),
            name: &self.name(),
            chart: self.number % CHARTS,
            revision,
            status,
        };
        payload(&about, &self.manifest(revision))
    }

    /// An object as it lives in the cluster: what the API server and Helm added is there too.
    pub fn live(&self, declared: &Value) -> Value {
        live(declared, &self.name(), &self.namespace())
    }
}

/// The fields of a record other than its manifest.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// The release's namespace.
    pub namespace: &'a str,
    /// The release's name.
    pub name: &'a str,
    /// The number of its chart; releases of one chart have its templates in common.
    pub chart: usize,
    /// Helm's number of the revision.
    pub revision: u32,
    /// As in the label of the record: `deployed`.
    pub status: &'a str,
}

/// The body of a record: base64 of gzip of JSON, as Helm writes it.
pub fn payload(about: &About<'_>, manifest: &str) -> String {
    let mut words = Words::new(about.chart + 1_000_000);
    let templates: Vec<Value> = (0..4)
        .map(|n| {
            let text = BASE64_STANDARD.encode(words.text(3_000));
            json!({"name": format!("templates/{n}.yaml"), "data": text})
        })
        .collect();
    let record = json!({
        "name": about.name, "namespace": about.namespace, "version": about.revision,
        "info": {
            "first_deployed": "2026-01-02T03:04:05.123456789Z",
            "last_deployed": "2026-01-02T03:04:05.123456789Z",
            "deleted": "", "description": "Upgrade complete", "status": about.status,
        },
        "chart": {
            "metadata": {
                "name": format!("chart-{}", about.chart), "version": "1.2.3", "appVersion": "4.5.6",
                "apiVersion": "v2",
            },
            "templates": templates,
            "values": {"image": {"tag": "1.0.0"}, "replicas": 2},
        },
        "config": {"image": {"tag": format!("1.{}.0", about.revision)}},
        "manifest": manifest,
    });
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    // Writing to memory cannot fail.
    let _ = std::io::Write::write_all(&mut gzip, record.to_string().as_bytes());
    BASE64_STANDARD.encode(gzip.finish().unwrap_or_default())
}

/// The bytes of a manifest when gzipped alone.
pub fn gzipped(text: &str) -> usize {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    let _ = std::io::Write::write_all(&mut gzip, text.as_bytes());
    gzip.finish().unwrap_or_default().len()
}

/// The text that Helm stores for these objects.
pub fn manifest(objects: &[Value]) -> String {
    let mut text = String::new();
    for (number, object) in objects.iter().enumerate() {
        let _ = writeln!(text, "---\n# Source: app/templates/{number}.yaml");
        yaml(&mut text, object, 0);
    }
    text
}

/// Block YAML: that is what charts render to, and it is slower to read than JSON.
fn yaml(text: &mut String, value: &Value, indent: usize) {
    let pad = |text: &mut String| text.extend(std::iter::repeat_n(' ', indent));
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                pad(text);
                let _ = write!(text, "{}:", scalar(&Value::String(key.clone())));
                nested(text, value, indent + 2);
            }
        }
        Value::Array(items) => {
            for item in items {
                pad(text);
                text.push('-');
                nested(text, item, indent + 2);
            }
        }
        scalar_value => {
            pad(text);
            let _ = writeln!(text, "{}", scalar(scalar_value));
        }
    }
}

fn nested(text: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            text.push('\n');
            yaml(text, value, indent);
        }
        Value::Array(items) if !items.is_empty() => {
            text.push('\n');
            yaml(text, value, indent);
        }
        Value::String(lines) if lines.contains('\n') => {
            text.push_str(" |\n");
            for line in lines.lines() {
                text.extend(std::iter::repeat_n(' ', indent));
                text.push_str(line);
                text.push('\n');
            }
        }
        other => {
            let _ = writeln!(text, " {}", scalar(other));
        }
    }
}

/// Plain where that is safe, else quoted as JSON, which is YAML.
fn scalar(value: &Value) -> String {
    let is_plain = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_alphabetic())
            && !matches!(
                text,
                "true" | "false" | "null" | "yes" | "no" | "on" | "off" | "y" | "n"
            )
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-./_".contains(&byte))
    };
    match value.as_str() {
        Some(text) if is_plain(text) => text.to_owned(),
        _ => value.to_string(),
    }
}

/// As it lives in the cluster.
pub fn live(declared: &Value, release: &str, namespace: &str) -> Value {
    let mut object = declared.clone();
    // The API server takes `stringData` over into `data`.
    if let Some(fields) = object.as_object_mut()
        && let Some(Value::Object(texts)) = fields.remove("stringData")
    {
        let data = texts.into_iter().map(|(key, value)| {
            let text = value.as_str().unwrap_or_default().to_owned();
            (key, Value::String(BASE64_STANDARD.encode(text)))
        });
        fields.insert("data".to_owned(), Value::Object(data.collect()));
    }
    let fields = fields_of(&object);
    let metadata = &mut object["metadata"];
    metadata["uid"] = "c5d3f1b0-7a64-4c1d-9a53-2b1f0e6d7c88".into();
    metadata["resourceVersion"] = "123456".into();
    metadata["generation"] = 3.into();
    metadata["creationTimestamp"] = "2026-01-02T03:04:05Z".into();
    metadata["annotations"] = json!({
        "meta.helm.sh/release-name": release, "meta.helm.sh/release-namespace": namespace,
    });
    metadata["managedFields"] = json!([{
        "manager": "helm", "operation": "Update", "apiVersion": declared["apiVersion"],
        "time": "2026-01-02T03:04:05Z", "fieldsType": "FieldsV1", "fieldsV1": fields,
    }]);
    object
}

/// What the API server keeps of who set what: the tree of the object's fields.
fn fields_of(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields
                .iter()
                .filter(|(key, _)| !matches!(key.as_str(), "apiVersion" | "kind"));
            fields
                .map(|(key, value)| (format!("f:{key}"), fields_of(value)))
                .collect()
        }
        Value::Array(items) if items.iter().all(|item| item["name"].is_string()) => items
            .iter()
            .map(|item| (format!("k:{{\"name\":{}}}", item["name"]), fields_of(item)))
            .collect(),
        _ => json!({}),
    }
}

/// Pseudo-random words: xorshift64*, so that a number always makes the same text.
struct Words(u64);

const VOCABULARY: [&str; 64] = [
    "server", "client", "timeout", "retry", "limit", "pool", "queue", "worker", "thread", "cache",
    "memory", "disk", "network", "address", "port", "host", "user", "group", "token", "secret",
    "level", "format", "output", "input", "stream", "buffer", "batch", "window", "period", "delay",
    "policy", "rule", "match", "filter", "route", "proxy", "backend", "service", "metric", "trace",
    "alert", "report", "storage", "bucket", "index", "shard", "replica", "leader", "follower",
    "snapshot", "backup", "restore", "schema", "table", "column", "query", "session", "cookie",
    "header", "payload", "encoding", "region", "zone", "tenant",
];

const VALUES: [&str; 8] = ["true", "false", "10s", "30s", "1m", "512Mi", "8080", "info"];

impl Words {
    fn new(seed: usize) -> Self {
        Self((seed as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32
    }

    fn word(&mut self) -> &'static str {
        let at = self.next() as usize % VOCABULARY.len();
        VOCABULARY.get(at).copied().unwrap_or_default()
    }

    /// About this many bytes without a line break.
    fn line(&mut self, bytes: usize) -> String {
        let mut line = String::new();
        while line.len() < bytes {
            let word = self.word();
            let _ = write!(line, "{word}-{}.", self.next() % 10_000);
        }
        line.pop();
        line
    }

    /// About this many bytes of settings, which come in families as in real files.
    fn text(&mut self, bytes: usize) -> String {
        let mut text = String::new();
        let mut family = String::new();
        while text.len() < bytes {
            if text.is_empty() || self.next().is_multiple_of(8) {
                family = format!("{}.{}.{}", self.word(), self.word(), self.word());
            }
            let (word, value) = (self.word(), self.next() as usize % VALUES.len());
            let value = VALUES.get(value).copied().unwrap_or_default();
            let _ = writeln!(text, "{family}.{word}={value}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use helm_guard_core::helm::{ReleaseName, manifest, record};

    use super::*;

    #[test]
    fn a_release_is_of_the_size_that_the_table_says_and_reads_as_it_was_made() {
        let release = Release::settled(17);
        let text = release.manifest(3);
        assert!((48_000..56_000).contains(&text.len()), "{}", text.len());
        let payload = release.payload((3, "deployed"));
        let record = record::decode(payload.as_bytes(), &record::RecordLimits::default());
        let record = record.expect("the record is as Helm writes it");
        assert_eq!((record.revision, &record.manifest), (3, &text));
        let name = ReleaseName {
            namespace: release.namespace(),
            name: release.name(),
        };
        let parsed = manifest::parse(&text, &name);
        assert!(parsed.problems.is_empty());
        let objects = release.objects(3);
        assert_eq!((parsed.objects.len(), objects.len()), (15, 15));
        for (parsed, made) in parsed.objects.iter().zip(&objects) {
            let read: Value = serde_json::from_str(&parsed.json).expect("JSON");
            assert_eq!(read["spec"], made["spec"]);
            // Text of a Secret is declared as the API server takes it over.
            assert_eq!(read["data"], release.live(made)["data"]);
        }
    }

    #[test]
    fn a_manifest_compresses_as_real_ones_do() {
        let text = Release::settled(17).manifest(3);
        let share = gzipped(&text) as f64 / text.len() as f64;
        assert!((0.14..0.19).contains(&share), "{share}");
    }

    #[test]
    fn releases_differ_and_so_do_revisions() {
        let texts = [(1, 3), (2, 3), (1, 2)].map(|(n, at)| Release::settled(n).manifest(at));
        assert!(texts[0] != texts[1] && texts[0] != texts[2]);
    }
}
