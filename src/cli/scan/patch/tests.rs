//! The script, read by a real shell.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use super::*;
use crate::cli::scan::sample::{self, HOSTILE};

/// Each command of the script with its arguments; a patch on standard input is the last of them.
fn run(script: &str) -> Vec<Vec<String>> {
    let kubectl = "kubectl() {
        for word; do printf '%s\\0' \"$word\"; done
        case \"$*\" in *--patch-file*) cat; printf '\\0';; esac
        printf '\\1\\0'
    }
    ";
    let mut shell = Command::new("sh")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = shell.stdin.take().unwrap();
    let script = format!("{kubectl}{script}");
    let writer = std::thread::spawn(move || stdin.write_all(script.as_bytes()).unwrap());
    let output = shell.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(
        output.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let words = String::from_utf8(output.stdout).unwrap();
    let words: Vec<&str> = words.split_terminator('\0').collect();
    let commands = words.split(|word| *word == "\u{1}");
    let commands = commands.filter(|command| !command.is_empty());
    commands
        .map(|command| command.iter().map(|word| (*word).to_owned()).collect())
        .collect()
}

fn changed_config(live: &str) -> DriftFinding {
    sample::config("declared", live).changed(
        "Changed",
        ".data[\"nginx.conf\"]",
        (&json!("declared"), Some(&json!(live))),
    )
}

#[test]
fn a_report_is_a_script() {
    insta::assert_snapshot!("patch", patch(&sample::report()));
}

#[test]
fn each_object_has_one_command_and_each_finding_a_line() {
    let report = sample::report();
    let script = patch(&report);
    let commands = run(&script);
    let objects: Vec<&[String]> = commands.iter().map(|command| &command[1..3]).collect();
    assert_eq!(
        objects,
        [["Deployment.v1.apps", "web"], ["ConfigMap", "web"]]
    );
    let comments = script.lines().filter(|line| line.starts_with("# "));
    for finding in report.findings() {
        let class = finding.class.as_str();
        let of_class = comments.clone().filter(|line| {
            let line = line
                .trim_start_matches("# ")
                .trim_start_matches("not patched: ");
            line.starts_with(class)
        });
        let wanted = report.findings().filter(|one| one.class == finding.class);
        assert_eq!(of_class.count(), wanted.count(), "{class}");
    }
}

#[test]
fn the_command_is_what_kubectl_takes() {
    let finding =
        sample::deployment().changed("Changed", ".spec.replicas", (&json!(3), Some(&json!(5))));
    let script = patch(&sample::of(vec![finding]));
    let expected = "kubectl patch Deployment.v1.apps web -n shop --type=json -p \
        '[{\"op\":\"test\",\"path\":\"/spec/replicas\",\"value\":5},\
        {\"op\":\"replace\",\"path\":\"/spec/replicas\",\"value\":3}]'";
    assert!(script.lines().any(|line| line == expected), "{script}");
}

#[test]
fn any_value_reaches_kubectl_as_it_is() {
    let script = patch(&sample::of(vec![changed_config(HOSTILE)]));
    let is_invisible = |char: char| char.is_control() && char != '\n' || char == '\u{202e}';
    assert!(!script.contains(is_invisible), "{script:?}");
    let [command] = &*run(&script) else {
        panic!("{script}");
    };
    let [head @ .., patch] = &**command else {
        panic!("{command:?}");
    };
    assert_eq!(
        head,
        [
            "patch",
            "ConfigMap",
            "web",
            "-n",
            "shop",
            "--type=json",
            "-p"
        ]
    );
    let patch: Value = serde_json::from_str(patch).unwrap();
    let at = "/data/nginx.conf";
    assert_eq!(
        patch,
        json!([
            {"op": "test", "path": at, "value": HOSTILE},
            {"op": "replace", "path": at, "value": "declared"},
        ])
    );
}

#[test]
fn a_patch_that_is_too_long_for_an_argument_is_standard_input() {
    let long = format!("{HOSTILE}\nPATCH\n").repeat(2_000);
    let script = patch(&sample::of(vec![changed_config(&long)]));
    let commands = run(&script);
    let command = &commands[0];
    assert!(command.contains(&"--patch-file=/dev/stdin".to_owned()));
    let patch: Value = serde_json::from_str(command.last().unwrap()).unwrap();
    assert_eq!(patch[0]["value"], long);
}

#[test]
fn no_name_is_an_option_or_a_command() {
    let mut finding = changed_config("live");
    finding.object.name = "--kubeconfig=/tmp/x; $(id)\nrm -rf '".to_owned();
    finding.object.namespace = String::new();
    finding.object.api_version = "rbac.authorization.k8s.io/v1".to_owned();
    let mut report = sample::of(vec![finding]);
    report.releases[0].name = "web\nrm -rf /".to_owned();
    let commands = run(&patch(&report));
    let words = &commands[0][..3];
    assert_eq!(
        words,
        [
            "patch",
            "ConfigMap.v1.rbac.authorization.k8s.io/--kubeconfig=/tmp/x; $(id)\nrm -rf '",
            "--type=json"
        ]
    );
    assert_eq!(commands.len(), 1);
}

#[test]
fn a_value_that_is_not_whole_is_never_patched() {
    let mut report = sample::report();
    for release in &mut report.releases {
        for finding in &mut release.findings {
            finding.exact = None;
        }
    }
    let script = patch(&report);
    assert_eq!(run(&script), Vec::<Vec<String>>::new());
    assert!(!script.contains("<redacted"), "{script}");
    assert!(script.contains("its whole value is not known"), "{script}");
}

#[test]
fn a_change_of_an_open_emergency_stays() {
    let mut finding = changed_config("live");
    finding.class = FindingClass::Emergency;
    finding.emergency_change = Some("shop/web-1".to_owned());
    let script = patch(&sample::of(vec![finding]));
    assert_eq!(run(&script), Vec::<Vec<String>>::new());
    assert!(
        script.contains("emergency change shop/web-1 made it"),
        "{script}"
    );
}
