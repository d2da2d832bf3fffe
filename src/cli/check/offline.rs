//! What reviews ask of a cluster, answered from files.

use std::{collections::HashMap, sync::Arc, time::Instant};

use anyhow::Context;
use helm_guard_core::{
    api::BreakGlassGrant,
    compare::schema::crd::CrdShape,
    guard::{
        Claim, ObjectRef, RecordsAt, Resource, Sighting, Trusts, User, Witness, records::Stake,
    },
    helm::{ReleaseName, lifecycle::Status, record::Limits},
};
use serde_json::Value;

use crate::{
    releases::{
        Autoscalers, Autoscaling, Directory, Wanted,
        files::{Added, Files},
    },
    review::sources::{
        AccessSource, FreshClaims, FreshHolders, GrantSource, IndexSource, LiveOwner,
        NamespaceSource, ObjectSource, RecordSource, SchemaSource, SourceError,
    },
};

/// Records and definitions from files.
pub(super) struct Offline {
    directory: Arc<Directory>,
    /// By group and plural.
    definitions: HashMap<(String, String), Arc<CrdShape>>,
}

/// The files that have been read.
pub(super) struct Collected {
    files: Files,
    definitions: HashMap<(String, String), Arc<CrdShape>>,
    /// What could not be read of them, though the rest could.
    pub(super) warnings: Vec<String>,
}

impl Default for Collected {
    fn default() -> Self {
        Self {
            files: Files::new(Limits::default()),
            definitions: HashMap::new(),
            warnings: Vec::new(),
        }
    }
}

impl Collected {
    /// Adds the release records among `objects`; says how many there are.
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

    pub(super) fn add_definitions(&mut self, objects: &[Value]) -> anyhow::Result<()> {
        for object in objects {
            let shape = CrdShape::from_json(&object.to_string())
                .context("failed to read a CustomResourceDefinition")?;
            let name = (shape.group.clone(), shape.plural.clone());
            self.definitions.insert(name, Arc::new(shape));
        }
        Ok(())
    }

    pub(super) fn done(self) -> Offline {
        Offline {
            directory: self.files.directory(),
            definitions: self.definitions,
        }
    }
}

impl IndexSource for Offline {
    fn claims(&self, object: &ObjectRef<'_>) -> Vec<Claim> {
        self.directory
            .claims(object.group, object.kind, object.namespace, &object.name)
    }

    fn is_unreadable(&self, namespace: &str, release: &str) -> bool {
        self.directory.is_unreadable(namespace, release)
    }

    fn recorded_in(&self, _namespace: &str) -> Vec<Arc<ReleaseName>> {
        Vec::new()
    }

    /// Nobody can say of a cluster that is not asked, and a pass without a name is worse than one with one.
    fn autoscaling(&self, _object: &ObjectRef<'_>, _trusts: Trusts<'_>) -> Autoscaling {
        Autoscaling::Undeclared
    }
}

impl RecordSource for Offline {
    /// Files do not change.
    async fn fresh_claims(
        &self,
        object: &ObjectRef<'_>,
        _wanted: &Wanted<'_>,
        _deadline: Instant,
    ) -> FreshClaims {
        FreshClaims {
            claims: self.claims(object),
            unread: Vec::new(),
        }
    }

    /// Recorded reviews are evaluated as those of objects.
    async fn fresh_holders(
        &self,
        _stake: Stake<'_>,
        _trusts: Trusts<'_>,
        _deadline: Instant,
    ) -> FreshHolders {
        FreshHolders {
            holders: Vec::new(),
            failure: Some("no cluster is asked".into()),
        }
    }

    async fn history(
        &self,
        _at: &RecordsAt,
        _release: &str,
        _deadline: Instant,
    ) -> Result<Vec<(u32, Status)>, SourceError> {
        Err("no cluster is asked".into())
    }

    async fn autoscalers(
        &self,
        _object: &ObjectRef<'_>,
        _trusts: Trusts<'_>,
        _deadline: Instant,
    ) -> Result<Autoscalers, SourceError> {
        Err("no cluster is asked".into())
    }
}

impl ObjectSource for Offline {
    /// Files do not show what a review does not.
    async fn owner_now(
        &self,
        _resource: &Resource<'_>,
        _object: &ObjectRef<'_>,
        _deadline: Instant,
    ) -> Result<Option<ReleaseName>, SourceError> {
        Err("no cluster is asked".into())
    }

    async fn sighting(
        &self,
        _witness: &Witness,
        _deadline: Instant,
    ) -> Result<Sighting, SourceError> {
        Err("no cluster is asked".into())
    }

    async fn live_uid(
        &self,
        _owner: &LiveOwner<'_>,
        _deadline: Instant,
    ) -> Result<Option<String>, SourceError> {
        Err("no cluster is asked".into())
    }
}

impl NamespaceSource for Offline {
    async fn is_terminating(
        &self,
        _namespace: &str,
        _deadline: Instant,
    ) -> Result<bool, SourceError> {
        Err("no cluster is asked".into())
    }
}

impl AccessSource for Offline {
    /// Files do not say who may do what: then nobody can say.
    async fn may_write_records(
        &self,
        _claim: &Claim,
        _user: &User<'_>,
    ) -> Result<bool, SourceError> {
        Err("no cluster is asked".into())
    }
}

impl GrantSource for Offline {
    async fn grants(&self, _deadline: Instant) -> Result<Vec<BreakGlassGrant>, SourceError> {
        Ok(Vec::new())
    }
}

impl SchemaSource for Offline {
    /// A definition that is in no file may well exist: then nobody can say what hangs on it.
    async fn custom_resource(
        &self,
        group: &str,
        plural: &str,
    ) -> Result<Option<Arc<CrdShape>>, SourceError> {
        let name = (group.to_owned(), plural.to_owned());
        match self.definitions.get(&name) {
            Some(shape) => Ok(Some(Arc::clone(shape))),
            None => Err(format!("no file has the definition {plural}.{group}").into()),
        }
    }
}
