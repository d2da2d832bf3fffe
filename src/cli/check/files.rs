//! Release records and CRDs from files, for reviews without a cluster.

use anyhow::Context;
use helm_guard_core::{
    compare::schema::crd::CrdShape,
    helm::{ReleaseName, record::RecordLimits},
};
use serde_json::Value;

use crate::{
    releases::files::{Added, Files},
    review::recorded::RecordedSources,
};

/// The content of the files.
pub(super) struct CollectedFiles {
    files: Files,
    crds: Vec<CrdShape>,
    /// Parts of the files that could not be read.
    pub(super) warnings: Vec<String>,
}

impl Default for CollectedFiles {
    fn default() -> Self {
        Self {
            files: Files::new(RecordLimits::default()),
            crds: Vec::new(),
            warnings: Vec::new(),
        }
    }
}

impl CollectedFiles {
    /// Adds the release records among `objects`, and returns their number.
    pub(super) fn add_records(&mut self, objects: &[Value]) -> anyhow::Result<usize> {
        let mut found = 0;
        for object in objects {
            match self.files.add(object)? {
                Added::Record(_) => found += 1,
                Added::Unreadable(record, error) => {
                    found += 1;
                    self.warnings.push(format!("{record}: {error}"));
                }
                Added::Other => {}
            }
        }
        Ok(found)
    }

    pub(super) fn add_manifest(&mut self, release: ReleaseName, text: &str) {
        for problem in self.files.add_manifest(release, text) {
            let (line, error) = (problem.line, problem.error);
            self.warnings
                .push(format!("line {line} of the manifest: {error}"));
        }
    }

    pub(super) fn add_crds(&mut self, objects: &[Value]) -> anyhow::Result<()> {
        for object in objects {
            let shape = CrdShape::from_json(&object.to_string())
                .context("failed to read a CustomResourceDefinition")?;
            self.crds.push(shape);
        }
        Ok(())
    }

    pub(super) fn sources(self) -> RecordedSources {
        RecordedSources::new(self.files.directory(), self.crds)
    }
}
