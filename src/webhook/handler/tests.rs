//! The full path of a request through the routes, with fake releases.

mod break_glass;
mod closed;
mod deputies;
mod handmade;
mod malformed;
mod objects;
mod ownership;
mod perimeter;
mod release_infrastructure;
mod secret_paths;
mod setup;
mod trail;
mod unread;
mod versions;

use std::{
    io::{self, Write},
    sync::atomic::{AtomicUsize, Ordering},
};

use axum::body::Body;
use futures_util::future::BoxFuture;
use helm_guard_core::{
    api::{BreakGlassGrant, EmergencyChangeSpec, Mode},
    compare::{redact::Redactor, schema::crd::CrdShape},
    guard::{
        Claim, Claimant, ObjectRef, Own, Reach, RecordsAt, Resource, RevisionClaim, RevisionObject,
        Sighting, Trusts, UserInfo, Witness,
        records::{AffectedRelease, DeletionTarget},
    },
    helm::{
        ReleaseName,
        identity::DeclaredObject,
        lifecycle::{Phase, RevisionStatus},
        storage::Driver,
    },
    policy::Policy,
};
use http_body_util::BodyExt;
use parking_lot::Mutex;
use rstest::rstest;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;
use crate::{
    record::{
        Recorder,
        alerts::Alerts,
        audit::AuditLog,
        changes::{LimitScope, PersistError, Persisted},
        emergency_alerts::EmergencyAlerts,
        events::{self, Announcer},
        forecast::Collector,
        metrics::Metrics,
    },
    releases::{Autoscalers, Autoscaling, WantedRecords},
    review::{
        Emergencies, Reviewer,
        sources::{
            AccessSource, FreshClaims, FreshHolders, GrantSource, IndexSource, LiveOwner,
            NamespaceSource, ObjectSource, RecordSource, SchemaSource, SourceError, UnreadRelease,
        },
    },
    webhook::{handler::state::EmergencyStore, intake::Intake, versions::Conversions},
};

use self::{handmade::*, setup::*};
