//! The nodes that KWOK simulates, and the life cycle of their pods.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use crate::{
    Binaries,
    error::{Error, on_file},
};

/// KWOK ends the pods of Jobs. Other pods that should run only once, such as the hooks of `helm test`,
/// would run forever.
const COMPLETE_BARE_POD: &str = r"
apiVersion: kwok.x-k8s.io/v1alpha1
kind: Stage
metadata:
  name: pod-complete-bare
spec:
  resourceRef:
    apiGroup: v1
    kind: Pod
  selector:
    matchExpressions:
    - { key: .metadata.deletionTimestamp, operator: DoesNotExist }
    - { key: .metadata.ownerReferences, operator: DoesNotExist }
    - { key: .status.phase, operator: In, values: [Running] }
    - { key: .spec.restartPolicy, operator: In, values: [Never, OnFailure] }
  next:
    statusTemplate: |
      {{ $now := Now }}
      containerStatuses:
      {{ range .spec.containers }}
      - image: {{ .image | Quote }}
        name: {{ .name | Quote }}
        ready: false
        restartCount: 0
        started: false
        state:
          terminated:
            exitCode: 0
            finishedAt: {{ $now | Quote }}
            reason: Completed
            startedAt: {{ $now | Quote }}
      {{ end }}
      phase: Succeeded
";

/// Writes KWOK's configuration.
pub(super) fn stages(binaries: &Binaries, dir: &Path) -> Result<PathBuf, Error> {
    let stages = on_file(
        fs::read_to_string(&binaries.kwok_stages),
        "read",
        &binaries.kwok_stages,
    )?;
    let path = dir.join("kwok.yaml");
    on_file(
        fs::write(&path, format!("{stages}\n---{COMPLETE_BARE_POD}")),
        "write",
        &path,
    )?;
    Ok(path)
}

/// Two nodes, so that pods can be spread, and the storage class whose volumes KWOK's stages provide.
pub(super) fn objects() -> Value {
    let resources =
        json!({ "cpu": "256", "memory": "1Ti", "ephemeral-storage": "1Ti", "pods": "1000" });
    let node = |name: &str, zone: &str| {
        json!({
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": name,
                "labels": {
                    "kubernetes.io/hostname": name,
                    "kubernetes.io/os": "linux",
                    "kubernetes.io/arch": "amd64",
                    "topology.kubernetes.io/zone": zone,
                },
            },
            "status": { "allocatable": resources, "capacity": resources },
        })
    };
    let storage_class = json!({
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {
            "name": "kwok-volume",
            "annotations": { "storageclass.kubernetes.io/is-default-class": "true" },
        },
        "provisioner": "kwok.x-k8s.io/volume",
    });
    json!({
        "apiVersion": "v1",
        "kind": "List",
        "items": [node("node-a", "zone-a"), node("node-b", "zone-b"), storage_class],
    })
}
