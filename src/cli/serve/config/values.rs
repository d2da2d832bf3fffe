//! Parses the values of flags and checks their limits.

use std::{num::NonZeroUsize, time::Duration};

use helm_guard_core::{
    api::{
        GuardPolicySpec, ObjectScope, Subjects,
        policy::breakglass::{BreakGlass, EmergencyIdentity},
    },
    guard::{KnownBy, Own},
    names,
    policy::{Policy, PolicyError},
};
use jiff::SignedDuration;
use tracing_subscriber::EnvFilter;

use super::error::{ConfigError, MAX_WORKER_THREADS};
use crate::{cli::serve::args::Serve, webhook::endpoint::Endpoint};

/// The longest drain delay. Orchestrators kill the process long before.
pub(super) const MAX_DRAIN_DELAY: Duration = Duration::from_secs(600);

/// The longest time that a missing policy stays in force without `--require-policy`.
pub(super) const MAX_POLICY_GRACE: Duration = Duration::from_secs(24 * 3600);

/// A full pass of a large cluster takes half a minute.
pub(super) const MIN_SCAN_INTERVAL: Duration = Duration::from_secs(60);

/// Longer intervals mean that somebody mistook the unit.
pub(super) const MAX_SCAN_INTERVAL: Duration = Duration::from_secs(7 * 24 * 3600);

/// A container without a CPU limit sees all cores of its node, and each worker takes memory.
const MOST_WORKERS_BY_DEFAULT: usize = 8;

/// The guard's own namespace: the one given or, without it, that of its Service.
pub(in crate::cli) fn own_namespace(
    given: Option<&str>,
    endpoint: Option<&Endpoint>,
) -> Result<Option<String>, ConfigError> {
    match (given, endpoint) {
        (Some(namespace), _) if !names::is_label(namespace) => {
            Err(ConfigError::GuardNamespace(namespace.to_owned()))
        }
        (Some(namespace), _) => Ok(Some(namespace.to_owned())),
        (None, Some(Endpoint::Service { namespace, .. })) => Ok(Some(namespace.clone())),
        (None, _) => Ok(None),
    }
}

/// From `NAMESPACE/NAME`.
pub(super) fn own_release(given: &str) -> Result<Own, ConfigError> {
    match given.split_once('/') {
        Some((namespace, name)) if names::is_label(namespace) && !name.is_empty() => Ok(Own {
            namespace: namespace.to_owned(),
            known_by: KnownBy::Name(name.to_owned()),
        }),
        _ => Err(ConfigError::OwnRelease(given.to_owned())),
    }
}

/// The policy from the flags.
pub(super) fn policy(args: &Serve) -> Result<Policy, PolicyError> {
    let subjects = Subjects {
        users: args.break_glass_users.clone(),
        groups: args.break_glass_groups.clone(),
        service_accounts: Vec::new(),
    };
    let identity = EmergencyIdentity {
        subjects,
        scope: ObjectScope::default(),
    };
    Policy::compile(&GuardPolicySpec {
        mode: args.mode,
        break_glass: BreakGlass {
            // Without names, there is no entry that would differ from another policy.
            identities: (identity.subjects != Subjects::default())
                .then_some(identity)
                .into_iter()
                .collect(),
            ..BreakGlass::default()
        },
        runbook_url: args.runbook_url.clone(),
        ..GuardPolicySpec::default()
    })
}

/// A bare level applies to this program. Libraries log from `warn`, because at `debug` they print
/// requests.
pub(super) fn filter(level: &str) -> Result<String, ConfigError> {
    let directives = match level.to_ascii_lowercase().as_str() {
        word @ ("error" | "warn" | "info" | "debug" | "trace") => {
            let others = if word == "error" { "error" } else { "warn" };
            format!("{others},helm_guard={word}")
        }
        _ if level.contains('=') => level.to_owned(),
        _ => return Err(ConfigError::LogLevel(level.to_owned())),
    };
    match EnvFilter::try_new(&directives) {
        Ok(_) => Ok(directives),
        Err(_) => Err(ConfigError::LogLevel(level.to_owned())),
    }
}

pub(super) fn duration(text: &str, longest: Duration) -> Option<Duration> {
    let duration = text.parse::<SignedDuration>().ok()?;
    let duration = Duration::try_from(duration).ok()?;
    (duration <= longest).then_some(duration)
}

/// The default follows the CPU quota of a container (`std::thread::available_parallelism`). It is
/// never one, since a single thread would let one large object delay every other request, and never
/// more than [`MOST_WORKERS_BY_DEFAULT`].
pub(super) fn worker_threads(asked: Option<usize>) -> Result<NonZeroUsize, ConfigError> {
    let threads = asked.unwrap_or_else(|| {
        std::thread::available_parallelism()
            .map_or(2, |cpus| cpus.get().clamp(2, MOST_WORKERS_BY_DEFAULT))
    });
    NonZeroUsize::new(threads)
        .filter(|threads| threads.get() <= MAX_WORKER_THREADS)
        .ok_or(ConfigError::WorkerThreads(threads))
}
