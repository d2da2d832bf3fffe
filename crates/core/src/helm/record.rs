//! The body of a release record.
//!
//! Helm stores base64 of gzip of JSON under the key `release` (`pkg/storage/driver/util.go`). A
//! Secret adds the API's own base64 around it, which the client library has already removed, so
//! Secrets and `ConfigMap`s look the same here. Records from before compression are plain JSON
//! inside the base64.
//!
//! Invariants
//! - Decoding allocates no more than [`RecordLimits`] allow; anyone may have written a record.
//! - Only the fields of [`Record`] are materialized: chart templates, files and values, most of a
//!   record's size, are skipped.
//! - Neither `Debug` nor an error shows content: manifests and values contain Secrets.
//!
//! Start at [`decode`].

use std::fmt;

use crate::helm::{identity::ReleaseName, lifecycle::RevisionStatus};

mod body;
mod envelope;

pub use envelope::EnvelopeError;

/// How big a record may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordLimits {
    /// The most bytes of JSON that a record may inflate to.
    pub inflated_bytes: usize,
}

impl Default for RecordLimits {
    /// 16 MiB: an object has at most 1 MiB, real records inflate to about ten times their size (6.6
    /// MB is the largest reported), and gzip can reach a thousand times.
    fn default() -> Self {
        Self {
            inflated_bytes: 16 << 20,
        }
    }
}

/// How Helm applies the release's objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ApplyMethod {
    /// Patches made from the old manifest, the new one and the live object: `csa`, and releases
    /// without a method.
    #[default]
    ClientSide,
    /// Server-side apply: `ssa`, the default of releases created by Helm 4.
    ServerSide,
}

/// The chart that a revision was rendered from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chart {
    /// The chart's name.
    pub name: String,
    /// The chart's version.
    pub version: String,
    /// The version of the application in it.
    pub app_version: Option<String>,
}

impl fmt::Display for Chart {
    /// `name-version`, as `helm list` has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.name, self.version)
    }
}

/// One hook of a revision: created and deleted by Helm around its operations, never in the
/// manifest.
#[derive(Clone, PartialEq, Eq)]
pub struct Hook {
    /// Name of its object.
    pub name: String,
    /// Kind of its object.
    pub kind: String,
    /// Path of the template it comes from.
    pub path: String,
    /// The object, as YAML.
    pub manifest: String,
    /// When Helm runs it: `pre-upgrade`, `test`, …
    pub events: Vec<String>,
    /// How its last run ended, if it ran.
    pub phase: Option<HookPhase>,
}

/// How the last run of a hook ended (`last_run.phase`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HookPhase {
    /// `Succeeded`: the release goes on to the next hook.
    Succeeded,
    /// `Failed`: Helm stops the operation, and leaves the rest undone.
    Failed,
    /// It is running, or its result is unknown.
    Unknown,
}

/// One revision of a release.
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    /// The release, by its own namespace and name.
    pub release: ReleaseName,
    /// Revision number, from 1.
    pub revision: u32,
    /// Its status when the record was written.
    pub status: RevisionStatus,
    /// The chart that was installed.
    pub chart: Chart,
    /// When the first revision was deployed, as Go prints it (RFC 3339 with an offset).
    pub first_deployed: Option<String>,
    /// When this revision was deployed, if the record has it.
    pub last_deployed: Option<String>,
    /// When its uninstallation began, if the record has it.
    pub deleted: Option<String>,
    /// Helm's description of the revision: `Upgrade complete`.
    pub description: Option<String>,
    /// How Helm applies the objects.
    pub apply_method: ApplyMethod,
    /// The revision that a rollback went back to (Helm 4).
    pub(crate) rollback_revision: Option<u32>,
    /// The objects, as YAML documents; what Helm applied, without its own labels and annotations.
    pub manifest: String,
    /// The hooks with their manifests, which are not in `manifest`.
    pub hooks: Vec<Hook>,
}

impl Record {
    /// The revision that a rollback went back to. Helm 3 only describes it (`pkg/action/rollback.go`).
    pub fn rolled_back_to(&self) -> Option<u32> {
        let described = || {
            let number = self.description.as_deref()?.strip_prefix("Rollback to ")?;
            number.parse().ok()
        };
        self.rollback_revision.or_else(described)
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("release", &self.release)
            .field("revision", &self.revision)
            .field("status", &self.status)
            .field("chart", &self.chart)
            .field("apply_method", &self.apply_method)
            .field("manifest_bytes", &self.manifest.len())
            .field("hooks", &self.hooks)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hook")
            .field("kind", &self.kind)
            .field("name", &self.name)
            .field("events", &self.events)
            .finish_non_exhaustive()
    }
}

/// Why a record cannot be read. The caller says which record.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The envelope is invalid, or contains too much.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// The content is not the JSON of a release.
    #[error(
        "failed to parse the record as JSON of a release: {fault} at byte {column} of line {line}"
    )]
    Json {
        /// The error, without any of the content.
        fault: &'static str,
        /// Line of the JSON.
        line: usize,
        /// Column of the JSON.
        column: usize,
    },
    /// A release without a name, namespace or revision.
    #[error("failed to read the record: it has no {field}")]
    Incomplete {
        /// The field of the JSON.
        field: &'static str,
    },
    /// A release whose names are longer than Kubernetes allows.
    #[error("failed to read the record: its {field} is too long")]
    TooLong {
        /// The field of the JSON.
        field: &'static str,
    },
}

impl RecordLimits {
    /// The bytes of JSON that a payload claims to inflate to, for callers that reserve memory
    /// before decoding: [`decode`] takes no more. Zero if decoding fails before anything is
    /// inflated.
    pub fn claimed_bytes(self, payload: &[u8]) -> usize {
        let claimed = envelope::claimed_bytes(payload);
        if claimed > self.inflated_bytes {
            0
        } else {
            claimed
        }
    }
}

/// Reads the value of a record's `release` key.
///
/// `payload` is base64 text: the string in a `ConfigMap`, the bytes in a Secret after removing the
/// API's base64.
pub fn decode(payload: &[u8], limits: &RecordLimits) -> Result<Record, DecodeError> {
    let json = envelope::open(payload, *limits)?;
    body::parse(&json)
}

/// A record with the values that its chart was rendered with, to compare two records.
pub struct Whole {
    /// What was decoded.
    pub record: Record,
    /// The values as JSON text; an empty object if there are none.
    pub values: String,
}

/// Shows the record alone: values contain Secrets.
impl fmt::Debug for Whole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.record.fmt(f)
    }
}

/// Reads the value of a record's `release` key, with the values.
pub(crate) fn decode_whole(payload: &[u8], limits: RecordLimits) -> Result<Whole, DecodeError> {
    let json = envelope::open(payload, limits)?;
    Ok(Whole {
        record: body::parse(&json)?,
        values: body::values(&json)?,
    })
}

#[cfg(test)]
mod tests;
