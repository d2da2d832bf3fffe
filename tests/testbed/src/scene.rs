//! A namespace, a Helm, and the people who act in it.
//!
//! Alice runs Helm. Bob is an ordinary cluster-admin like her, and makes the out-of-band changes.
//! The on-call user belongs to a break-glass group; tests use that to create drift.
//!
//! The guard learns of a release through a watch, so a test that expects a denial first awaits
//! [`Scene::settled`]. A test never has to wait for a request to be allowed, because the guard reads
//! the records again before a denial.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what a test says panics, as an assertion does"
)]

use std::{
    path::{Path, PathBuf},
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use crate::{Chart, Helm, HelmVersion, Invocation, Namespace, Output, shared};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

/// The ordinary user who makes out-of-band changes.
pub const BOB: &str = "bob@example.com";
/// The user of the break-glass group.
pub const ONCALL: &str = "oncall@example.com";
/// The break-glass group.
pub const ONCALL_GROUP: &str = "incident-commanders";

/// Longer than anything takes on a machine that also builds. The garbage collector pauses for over
/// half a minute whenever a CRD is created or deleted.
const PATIENCE: Duration = Duration::from_secs(150);

struct People {
    bob: PathBuf,
    oncall: PathBuf,
}

fn people() -> &'static People {
    static PEOPLE: OnceLock<People> = OnceLock::new();
    PEOPLE.get_or_init(|| {
        let user = |name: &str, groups: &[&str]| {
            shared().grant_cluster_admin(name).unwrap();
            shared().user(name, groups).unwrap()
        };
        People {
            bob: user(BOB, &[]),
            oncall: user(ONCALL, &[ONCALL_GROUP]),
        }
    })
}

/// Awaits a condition. Panics on a timeout.
pub fn eventually<T>(what: &str, check: impl FnMut() -> Option<T>) -> T {
    within(PATIENCE, what, check)
}

/// The same with another timeout.
pub fn within<T>(patience: Duration, what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(found) = check() {
            return found;
        }
        assert!(
            Instant::now() < deadline,
            "should come within {patience:?}: {what}"
        );
        thread::sleep(Duration::from_millis(100));
    }
}

/// Waits until the API server serves these CRDs. `kubectl wait` fails on one that has no conditions yet.
pub fn established(crds: &[&str]) {
    for crd in crds {
        eventually(&format!("an established {crd}"), || {
            let kubectl = shared().kubectl().cmd(shared().admin());
            let crd = kubectl.args(["get", "crd", crd, "-o", "json"]).ok().json();
            let mut conditions = crd["status"]["conditions"].as_array()?.iter();
            conditions
                .any(|condition| {
                    condition["type"] == "Established" && condition["status"] == "True"
                })
                .then_some(())
        });
    }
}

/// A namespace of its own and a Helm.
pub struct Scene {
    /// Commands act in this namespace; it is deleted with the scene.
    pub ns: Namespace<'static>,
    helm: Helm,
}

impl Scene {
    /// Commands are lines as they are typed; arguments with spaces are added with `arg`.
    pub fn new(stem: &str, version: HelmVersion) -> Self {
        Self {
            ns: shared().namespace(&format!("{stem}-{version}")),
            helm: shared().helm(version),
        }
    }

    /// `helm LINE` by Alice.
    pub fn helm(&self, line: &str) -> Invocation {
        self.helm_as(shared().alice(), line)
    }

    /// `helm LINE` by the user of this kubeconfig.
    pub fn helm_as(&self, kubeconfig: &Path, line: &str) -> Invocation {
        let helm = self.helm.cmd(kubeconfig).args(["-n", self.ns.name()]);
        helm.args(line.split_whitespace())
    }

    /// `kubectl LINE` by Bob.
    pub fn kubectl(&self, line: &str) -> Invocation {
        self.kubectl_as(&people().bob, line)
    }

    /// `kubectl LINE` by the on-call user.
    pub fn oncall(&self, line: &str) -> Invocation {
        self.kubectl_as(&people().oncall, line)
    }

    /// `kubectl LINE` by the user of this kubeconfig.
    pub fn kubectl_as(&self, kubeconfig: &Path, line: &str) -> Invocation {
        let kubectl = shared().kubectl().cmd(kubeconfig);
        kubectl
            .args(["-n", self.ns.name()])
            .args(line.split_whitespace())
    }

    /// `helm install` by Alice. Returns the folder of the chart, for upgrades.
    pub fn install(&self, release: &str, chart: &Chart) -> PathBuf {
        let chart = shared().chart(chart);
        self.helm(&format!("install {release} {}", chart.display()))
            .ok();
        chart
    }

    /// An object, read by Bob: `deployment/myapp`.
    pub fn get(&self, what: &str) -> Value {
        self.kubectl(&format!("get {what} -o json")).ok().json()
    }

    /// A value of an object, by its JSON pointer; null if missing.
    pub fn at(&self, what: &str, pointer: &str) -> Value {
        let object = self.get(what);
        object.pointer(pointer).cloned().unwrap_or_default()
    }

    /// Whether an object exists.
    pub fn holds(&self, what: &str) -> bool {
        !self
            .kubectl(&format!("get {what} -o name --ignore-not-found"))
            .ok()
            .stdout
            .trim()
            .is_empty()
    }

    /// `kubectl patch` by Bob: strategic, merge or json.
    pub fn patch(&self, what: &str, kind: &str, patch: &Value) -> Invocation {
        self.kubectl(&format!("patch {what} --type={kind} -p"))
            .arg(patch.to_string())
    }

    /// `kubectl patch` by the on-call user.
    pub fn drift(&self, what: &str, kind: &str, patch: &Value) {
        self.oncall(&format!("patch {what} --type={kind} -p"))
            .arg(patch.to_string())
            .ok();
    }

    /// Waits until the guard evaluates an object by a revision of its release.
    pub fn settled(&self, what: &str, revision: u32) {
        let by = format!("revision {revision},");
        let by_two = format!("revisions {revision},");
        let line = format!("delete {what} --dry-run=server");
        eventually(&format!("a guard that knows {what}, {by}"), || {
            let output = self.kubectl(&line).run();
            (output.says(&by) || output.says(&by_two)).then_some(())
        });
    }

    /// A release's record, decoded.
    pub fn record(&self, release: &str, revision: u32) -> Value {
        let record = self.get(&format!("secret/{}", record_name(release, revision)));
        decode(record["data"]["release"].as_str().unwrap())
    }

    /// Changes a release's record behind Helm's back, as only a break-glass user may.
    pub fn rewrite_record(&self, release: &str, revision: u32, change: impl FnOnce(&mut Value)) {
        let secret = self.rewritten_record(release, revision, change);
        self.oncall("replace -f -").stdin(secret).ok();
    }

    /// A release's record with another content. It is stored uncompressed, as Helm used to do; Helm
    /// still reads that.
    pub fn rewritten_record(
        &self,
        release: &str,
        revision: u32,
        change: impl FnOnce(&mut Value),
    ) -> String {
        let name = format!("secret/{}", record_name(release, revision));
        let mut secret = self.get(&name);
        let mut body = decode(secret["data"]["release"].as_str().unwrap());
        change(&mut body);
        secret["metadata"]["labels"]["status"] = body["info"]["status"].clone();
        let inner = BASE64_STANDARD.encode(body.to_string());
        secret["data"]["release"] = BASE64_STANDARD.encode(inner).into();
        secret["metadata"]["resourceVersion"] = Value::Null;
        secret.to_string()
    }

    /// Puts a release's record into another state.
    pub fn set_status(&self, release: &str, revision: u32, status: &str) {
        self.rewrite_record(release, revision, |body| {
            body["info"]["status"] = status.into();
        });
    }

    /// The guard's verdict about Bob's request on an object of this namespace, from the API server's audit log.
    pub fn verdict(&self, verb: &str, resource: &str, name: &str) -> Verdict {
        verdict(BOB, verb, (resource, self.ns.name(), name))
    }
}

/// The name of a release's record.
pub fn record_name(release: &str, revision: u32) -> String {
    format!("sh.helm.release.v1.{release}.v{revision}")
}

/// The JSON of a record in a Secret.
fn decode(data: &str) -> Value {
    use std::io::Read;
    let inner = BASE64_STANDARD.decode(data).unwrap();
    let bytes = BASE64_STANDARD.decode(inner).unwrap();
    if !bytes.starts_with(&[0x1f, 0x8b, 0x08]) {
        return serde_json::from_slice(&bytes).unwrap();
    }
    let mut text = String::new();
    flate2::read::GzDecoder::new(&*bytes)
        .read_to_string(&mut text)
        .unwrap();
    serde_json::from_str(&text).unwrap()
}

/// The guard's annotations of a request in the API server's audit log; empty if it was not called.
#[derive(Debug, PartialEq, Eq, Default)]
pub struct Verdict {
    /// What was answered.
    pub decision: String,
    /// The name of the reason.
    pub reason: String,
    /// The exemption or preset that allowed it; empty if none did.
    pub exemption: String,
}

impl Verdict {
    /// What the audit log has of an allowed request.
    pub fn allowed(reason: &str) -> Self {
        Self {
            decision: "allowed".to_owned(),
            reason: reason.to_owned(),
            exemption: String::new(),
        }
    }

    /// Allowed by this preset or exemption.
    pub fn exempt(preset: &str) -> Self {
        Self {
            exemption: preset.to_owned(),
            ..Self::allowed("exempt")
        }
    }

    /// The guard was not asked.
    pub fn not_called() -> Self {
        Self::default()
    }
}

/// The guard's verdict about a request, from the API server's audit log: user, verb, and (resource,
/// namespace, name), the resource with its subresource as in `deployments/scale`.
pub fn verdict(user: &str, verb: &str, object: (&str, &str, &str)) -> Verdict {
    let (resource, namespace, name) = object;
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let event = shared().await_audit_event(&format!("{verb} {object:?} by {user}"), |event| {
        let about = &event["objectRef"];
        event["verb"] == verb
            && event["user"]["username"] == user
            && about["resource"] == resource
            && text(&about["subresource"]) == subresource
            && text(&about["namespace"]) == namespace
            && about["name"] == name
            && !text(&event["requestURI"]).contains("dryRun")
            && event["responseStatus"]["code"] != 409
    });
    let annotation = |key: &str| {
        let entries = event["annotations"].as_object().into_iter().flatten();
        entries
            .filter(|(name, _)| name.ends_with(&format!("helm-guard.dev/{key}")))
            .map(|(_, value)| text(value))
            .next()
            .unwrap_or_default()
    };
    Verdict {
        decision: annotation("verdict"),
        reason: annotation("reason"),
        exemption: annotation("exemption"),
    }
}

/// What a user sees of the guard.
pub trait Screen {
    /// Denied by the guard, with all of these words.
    fn denied(self, words: &[&str]) -> Output;
    /// Allowed, without a message of the guard.
    fn quiet(self) -> Output;
    /// Allowed, with a warning of the guard that contains all of these words.
    fn warned(self, words: &[&str]) -> Output;
}

impl Screen for Invocation {
    fn denied(self, words: &[&str]) -> Output {
        let output = self.refused();
        must_say(&output, "helm-guard.dev\" denied the request: ");
        for word in words {
            must_say(&output, word);
        }
        output
    }

    fn quiet(self) -> Output {
        let output = self.ok();
        assert!(
            !output.says("helm-guard:"),
            "{}\nshould pass quietly:\n{}",
            output.line,
            output.stderr
        );
        output
    }

    fn warned(self, words: &[&str]) -> Output {
        let output = self.ok();
        must_say(&output, "Warning: helm-guard: ");
        for word in words {
            must_say(&output, word);
        }
        output
    }
}

fn must_say(output: &Output, word: &str) {
    assert!(
        output.says(word),
        "{}\nshould say {word:?}:\n{}{}",
        output.line,
        output.stderr,
        output.stdout
    );
}

/// A patch that adds an annotation.
pub fn note(text: &str) -> Value {
    json!({"metadata": {"annotations": {"example.com/note": text}}})
}
