//! A namespace for one test.

use std::{ffi::OsStr, fmt, thread};

use crate::{ControlPlane, control_plane::number};

/// A namespace that is deleted when the value is dropped, without waiting for the deletion. Dropping it panics if the API
/// server got no answer from a guard that serves.
#[derive(Debug)]
pub struct Namespace<'a> {
    plane: &'a ControlPlane,
    name: String,
}

impl<'a> Namespace<'a> {
    pub(crate) fn create(plane: &'a ControlPlane, stem: &str) -> Self {
        let name = format!("{stem}-{}", number());
        let kubectl = || plane.kubectl().cmd(plane.admin());
        kubectl().args(["create", "namespace", &name]).ok();
        // Pods created before that are rejected, and a test's first command may create one.
        kubectl()
            .args([
                "wait",
                "--for=create",
                "serviceaccount/default",
                "--timeout=60s",
                "-n",
                &name,
            ])
            .ok();
        Self { plane, name }
    }

    /// The stem that it was created with, and a number of its own.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for Namespace<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl AsRef<OsStr> for Namespace<'_> {
    fn as_ref(&self) -> &OsStr {
        self.name.as_ref()
    }
}

/// A guard under test denies deleting a namespace with releases, except for this user, who cleans up.
const NAMESPACE_CONTROLLER: &str = "--as=system:serviceaccount:kube-system:namespace-controller";

impl Drop for Namespace<'_> {
    fn drop(&mut self) {
        let delete = [
            "delete",
            "namespace",
            &self.name,
            "--wait=false",
            NAMESPACE_CONTROLLER,
            "--ignore-not-found",
        ];
        // The test may be panicking already, or the control plane may be gone: no second panic.
        let _ = self
            .plane
            .kubectl()
            .cmd(self.plane.admin())
            .args(delete)
            .try_run();
        if !thread::panicking() {
            self.plane.fail_open().missed().report();
        }
    }
}
