//! An adversary on a real API server: a cluster-admin who leaves the guard's own objects alone and whom
//! no exemption names tries every verb and subresource of every kind that a release declares, alone and
//! in pairs (set up, then strike), with the controllers running and the guard in mode Deny.
//!
//! After each try, the invariant of [`invariant`] must hold: every declared object exists with its
//! declared values and marks, or a warning or an audit line names who removed them. A second one is in
//! [`forgery`]: whatever an attacker has prepared, Helm's own upgrade, rollback and uninstall are
//! allowed.
//!
//! Losses are found without the guard's code: the expected values are those that the API server stored
//! right after the install. Start at [`campaign::run`]. A try is a [`play::Play`]; techniques come from
//! [`strikes`], [`setups`], [`deputies`] and [`forgery`]; exclusions are in [`exclusions`].
//!
//! `ADVERSARY_MINUTES`, `ADVERSARY_CHARTS` (a folder of additional charts), `ADVERSARY_ONLY` (techniques
//! whose name contains the text), `HELM_GUARD_SEED` and `HELM_GUARD_BIN` (another guard).

mod campaign;
mod charts;
mod deputies;
mod discovery;
mod exclusions;
mod forgery;
mod invariant;
mod play;
mod records;
mod releases;
mod report;
mod request;
mod setups;
mod slow;
mod strikes;
mod target;
mod world;

use std::time::Duration;

use testbed::dice;
use trials::{api, candidates, charts as corpus_charts, declared, leaves, remedies};

#[test]
fn every_loss_of_a_declared_object_is_reported_by_name() {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let number = |name: &str| variable(name).map(|value| value.parse::<u64>().expect(name));
    let config = campaign::Config {
        time: Duration::from_secs(number("ADVERSARY_MINUTES").map_or(90, |minutes| minutes * 60)),
        seed: number("HELM_GUARD_SEED").unwrap_or_else(rand_seed),
        charts: variable("ADVERSARY_CHARTS").map(Into::into),
        only: variable("ADVERSARY_ONLY"),
        guard: variable("HELM_GUARD_BIN")
            .unwrap_or_else(|| env!("CARGO_BIN_EXE_helm-guard").to_owned())
            .into(),
    };
    eprintln!("adversary: HELM_GUARD_SEED={}", config.seed);
    let report = campaign::run(&config).unwrap_or_else(|error| panic!("{error:#}"));
    eprintln!("{report}");
    assert!(
        report.is_clean(),
        "{} findings with HELM_GUARD_SEED={}",
        report.findings().len(),
        config.seed
    );
}

/// Differs in each run, and is printed.
fn rand_seed() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(1, |since| since.as_secs())
}
