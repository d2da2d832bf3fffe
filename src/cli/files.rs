//! Release records and CRDs from files, for reviews without a cluster.

use std::path::PathBuf;

use anyhow::{Context, bail};
use helm_guard_core::{
    compare::schema::crd::CrdShape,
    helm::{ReleaseName, record::RecordLimits},
};
use serde_json::Value;

use super::{documents::Source, output::print_note};
use crate::{
    releases::files::{Added, Files},
    review::recorded::RecordedSources,
};

/// The content of the files.
pub(super) struct CollectedFiles {
    files: Files,
    crds: Vec<CrdShape>,
    /// What could not be read of them, though the rest could.
    warnings: Vec<String>,
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
                Added::Record => found += 1,
                Added::Unreadable(record, error) => {
                    found += 1;
                    self.warnings.push(format!("{record}: {error}"));
                }
                Added::Other => {}
            }
        }
        Ok(found)
    }

    /// Adds the records in these files.
    ///
    /// # Errors
    /// When one cannot be read or has no record.
    pub(super) fn add_record_files(&mut self, files: &[PathBuf]) -> anyhow::Result<()> {
        for path in files {
            let source = Source::of(path);
            if self.add_records(&source.documents()?)? == 0 {
                bail!("{} has no release record", source.name());
            }
        }
        Ok(())
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

    /// Reports what could not be read.
    pub(super) fn sources(self) -> RecordedSources {
        for warning in &self.warnings {
            print_note(&format!("warning: {warning}"));
        }
        RecordedSources::new(self.files.directory(), self.crds)
    }
}
