//! `break-glass open` and `extend`: the scope of a grant, and waiting for its approvals.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use serde_json::json;
use testbed::shared;

use super::night::{ACCOUNT, Night, admin, break_glass, break_glass_ok, people};
use crate::scene::{Screen, eventually};

/// The file for a token, which does not exist yet.
fn file(name: &str) -> PathBuf {
    shared().scratch().join(format!("{name}.yaml"))
}

/// `open` for the namespace, without the scope and the token's file.
const OPEN: [&str; 5] = [
    "open",
    "--reason=a",
    "--ticket=b",
    "--service-account",
    ACCOUNT,
];

/// The policy of the night, also in the cluster, where `open` reads how many approvals are needed.
struct Published;

impl Published {
    fn of(night: &Night) -> Self {
        admin("create -f").arg(night.policy()).ok();
        Self
    }
}

impl Drop for Published {
    fn drop(&mut self) {
        admin("delete guardpolicy default").run();
    }
}

/// A command that runs until the grant is approved. It is killed if the test fails.
struct Waiting {
    child: Child,
}

impl Waiting {
    fn start(line: &[&str]) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_helm-guard"))
            .arg("break-glass")
            .args(line)
            .arg("--kubeconfig")
            .arg(&people().oscar)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self {
            child: child.unwrap(),
        }
    }

    fn is_over(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    fn succeeds(&mut self) {
        let status = eventually("the end of the command", || self.child.try_wait().unwrap());
        assert!(status.success(), "{status}");
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The name of the only grant in force for the namespace, apart from these.
fn new_grant(night: &Night, apart_from: &[&str]) -> String {
    eventually("a new grant", || {
        let grants = admin("get breakglassgrants -o json").ok().json();
        let grants = grants["items"].as_array().unwrap().iter();
        let mut names = grants
            .filter(|grant| grant["spec"]["scope"]["namespaces"] == json!([night.ns()]))
            .map(|grant| grant["metadata"]["name"].as_str().unwrap())
            .filter(|name| !apart_from.contains(name));
        names.next().map(str::to_owned)
    })
}

fn is_revoked(grant: &str) -> bool {
    let grant = admin(&format!("get breakglassgrant {grant} -o json"));
    grant.ok().json()["spec"]["revoked"] == true
}

fn raise_with(night: &Night, file: &Path, memory: &str) -> testbed::Invocation {
    let line = format!("set resources deploy/myapp --limits memory={memory}");
    night.scene.kubectl_as(file, &line)
}

#[test]
fn open_and_extend_wait_for_approvals_and_the_old_grant_stays_until_then() {
    let night = Night::new("waiting", &json!({"approvals": 1}));
    let _published = Published::of(&night);
    let (first, second) = (file("waiting-1"), file("waiting-2"));
    let scope = [
        "-n",
        night.ns(),
        "--write-kubeconfig",
        first.to_str().unwrap(),
    ];
    let mut open = Waiting::start(&[&OPEN[..], &scope].concat());
    let old = new_grant(&night, &[]);
    night.raise("2Gi").denied(&["has 0 of 1 approval"]);
    assert!(!open.is_over() && !first.exists(), "without an approval");
    break_glass_ok(&people().anna, &["approve", &old]);
    open.succeeds();
    raise_with(&night, &first, "2Gi").warned(&["recorded as myapp-"]);

    let output = second.to_str().unwrap();
    let mut extend = Waiting::start(&["extend", &old, "--for", "2h", "--write-kubeconfig", output]);
    let new = new_grant(&night, &[&old]);
    // Longer than a command takes that does not wait: three others.
    raise_with(&night, &first, "3Gi").warned(&["recorded as myapp-"]);
    assert!(!is_revoked(&old) && !extend.is_over() && !second.exists());
    break_glass_ok(&people().anna, &["approve", &new]);
    extend.succeeds();
    assert!(is_revoked(&old) && !is_revoked(&new));
    raise_with(&night, &second, "4Gi").warned(&["recorded as myapp-"]);
    eventually("the end of the old token", || {
        let asked = night.scene.kubectl_as(&first, "auth whoami").run();
        asked.says("Unauthorized").then_some(())
    });
}

#[test]
fn open_without_waiting_gives_a_token_that_is_good_once_approved() {
    let night = Night::new("no-wait", &json!({"approvals": 1}));
    let _published = Published::of(&night);
    let file = file("no-wait");
    let scope = [
        "-n",
        night.ns(),
        "--write-kubeconfig",
        file.to_str().unwrap(),
    ];
    let line = [&OPEN[..], &scope, &["--no-wait"]].concat();
    Waiting::start(&line).succeeds();
    let grant = new_grant(&night, &[]);
    raise_with(&night, &file, "2Gi").denied(&["has 0 of 1 approval"]);
    break_glass_ok(&people().anna, &["approve", &grant]);
    raise_with(&night, &file, "2Gi").warned(&["recorded as myapp-"]);
}

#[test]
fn a_grant_covers_the_releases_and_kinds_that_open_names() {
    let night = Night::new("named", &json!({"requireGrant": true}));
    let (this, other) = (
        format!("{}/myapp", night.ns()),
        format!("{}/other", night.ns()),
    );
    let scopes = [
        (&["--release", &this][..], true),
        (&["--release", &other], false),
        (&["--release", &this, "--kind", "Deployment.apps"], true),
        (&["--release", &this, "--kind", "Service"], false),
        (&["-n", "default", "-n", night.ns()], true),
        (&["-n", "default"], false),
        (&["-A"], true),
        (&["-A", "--kind", "Service"], false),
    ];
    for (memory, (scope, is_covered)) in (2..).zip(scopes) {
        let file = file(&format!("named-{memory}"));
        let output = ["--write-kubeconfig", file.to_str().unwrap()];
        let line = [&OPEN[..], scope, &output].concat();
        let grant = break_glass_ok(&people().oscar, &line);
        let raise = night.raise(&format!("{memory}Gi"));
        if is_covered {
            raise.warned(&["recorded as myapp-"]);
        } else {
            raise.denied(&["is only for "]);
        }
        break_glass_ok(&people().oscar, &["close", grant.trim()]);
    }
}

/// A user who may request a grant, but no token, would be left with a grant in force that helps nobody.
#[test]
fn without_the_rights_to_a_token_no_grant_is_created() {
    let night = Night::new("no-token", &json!({"requireGrant": true}));
    let nora = shared().user("nora@example.com", &[]).unwrap();
    admin("create clusterrolebinding nora --clusterrole=helm-guard-emergency-operator")
        .arg("--user=nora@example.com")
        .ok();
    let file = file("no-token");
    let grants = || admin("get breakglassgrants -o name").ok().stdout;
    let before = grants();
    let scope = [
        "-n",
        night.ns(),
        "--write-kubeconfig",
        file.to_str().unwrap(),
    ];
    let output = break_glass(&nora, &[&OPEN[..], &scope].concat());
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(
        stderr.contains("you may not create serviceaccounts/token in namespace"),
        "{stderr}"
    );
    assert!(stderr.contains("nothing was created"), "{stderr}");
    assert!(!file.exists());
    assert_eq!(grants(), before);
}
