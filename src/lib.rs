//! helm-guard keeps a cluster as Helm says it is.
//!
//! The rooms, in the direction in which data flows; a room uses only those above it:
//!
//! | room | holds | I/O |
//! |---|---|---|
//! | [`api`] | the kinds of `helm-guard.dev/v1alpha1`: policy, grants, emergency changes | none |
//! | [`helm`] | release records, manifests, the revision life cycle | none |
//! | [`compare`] | the declared-versus-requested walk over raw JSON, list keys, values, paths | none |
//! | [`policy`] | modes and the named exemptions | none |
//! | [`breakglass`] | the identities that may pass in an emergency, and what is recorded of it | none |
//! | [`guard`] | the judgement: (request, claims, policy) to a verdict | none |
//! | [`cluster`] | client, CRD schemas | API server |
//! | [`releases`] | the index of declared objects, fed by watches; read-through | API server |
//! | [`record`] | metrics, audit lines, events | API server, log |
//! | [`webhook`] | `AdmissionReview` envelope, TLS, accept loop, registration, answers | sockets |
//! | [`cli`] | one file a subcommand; the only place that knows all rooms | all |
//!
//! Start reading at [`guard::judge`]: it is the rule that the rest serves.

pub mod api;
pub mod breakglass;
pub mod cli;
pub mod cluster;
pub mod compare;
pub mod guard;
pub mod helm;
pub mod policy;
pub mod record;
pub mod releases;
pub mod webhook;
