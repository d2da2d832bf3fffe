//! Duration and size of the measurement, from the environment.
//!
//! | variable | meaning | default |
//! |---|---|---|
//! | `BENCH_SECONDS` | length of one leg of the server bench; 1 or less is a smoke run | 4 |
//! | `BENCH_ROUNDS` | rounds, whose median counts | 5 (2) |
//! | `BENCH_RELEASES` | numbers of releases, with commas | `100,1000,10000` (`100,1000`) |
//! | `BENCH_CONNECTIONS` | connections of the load generator | 16 |
//!
//! In parentheses: in a smoke run, which only shows that everything works.

use std::{str::FromStr, time::Duration};

use anyhow::{Context, Result};

/// Duration and size of the measurement.
#[derive(Clone, Debug)]
pub struct Plan {
    /// One leg: one stream to one server.
    pub leg: Duration,
    /// Rounds; each has a leg of every server.
    pub rounds: usize,
    /// Numbers of releases to fill an index with.
    pub releases: Vec<usize>,
    /// Connections that call at the same time.
    pub connections: usize,
    /// Whether this is a smoke run, with meaningless figures.
    pub is_smoke: bool,
}

impl Plan {
    /// From the environment.
    pub fn from_env() -> Result<Self> {
        let seconds: f64 = variable("BENCH_SECONDS")?.unwrap_or(4.0);
        let is_smoke = seconds <= 1.0;
        let releases: Option<String> = variable("BENCH_RELEASES")?;
        let releases = releases.unwrap_or_else(|| {
            let text = if is_smoke {
                "100,1000"
            } else {
                "100,1000,10000"
            };
            text.to_owned()
        });
        let releases: Result<Vec<usize>, _> = releases.split(',').map(str::parse).collect();
        Ok(Self {
            leg: Duration::from_secs_f64(seconds.clamp(0.1, 60.0)),
            rounds: variable("BENCH_ROUNDS")?
                .unwrap_or(if is_smoke { 2 } else { 5 })
                .max(1),
            releases: releases.context("failed to read BENCH_RELEASES")?,
            connections: variable("BENCH_CONNECTIONS")?.unwrap_or(16).max(1),
            is_smoke,
        })
    }
}

fn variable<T: FromStr>(name: &str) -> Result<Option<T>> {
    match std::env::var(name) {
        Ok(text) if !text.is_empty() => {
            let value = text.parse();
            let value = value.map_err(|_| anyhow::anyhow!("failed to read {name}: {text:?}"));
            value.map(Some)
        }
        _ => Ok(None),
    }
}
