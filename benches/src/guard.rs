//! The measured servers, each in its own process.

use std::{
    ffi::OsString,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use helm_guard::webhook::{
    paths::{PathKey, Route},
    registration::OBJECTS_WEBHOOK,
};
use testbed::{
    http_get,
    process::{Process, ProcessConfig},
};

use crate::{
    load::Target,
    null,
    proc::{self, Memory},
    tls::Identity,
};

/// Time limit for readiness, with any index on any machine.
const PATIENCE: Duration = Duration::from_secs(180);

/// How often readiness is polled: the resolution of the time to ready.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// The program to measure: `$HELM_GUARD_BIN`, or the one in the same folder as this program.
pub fn binary() -> Result<PathBuf> {
    let path = match std::env::var_os("HELM_GUARD_BIN") {
        Some(path) => path.into(),
        None => std::env::current_exe()?.with_file_name("helm-guard"),
    };
    if !path.is_file() {
        bail!("{} does not exist: build it with --release", path.display());
    }
    Ok(std::path::absolute(path)?)
}

/// A running server.
pub struct Server {
    process: Process,
    pid: u32,
    address: SocketAddr,
    admin: Option<SocketAddr>,
    /// The time to ready.
    pub ready_after: Duration,
}

impl Server {
    /// Starts a guard and waits until it is ready.
    pub fn guard(folder: &Path, identity: &Identity, kubeconfig: &Path) -> Result<Self> {
        let [address, admin] = free()?;
        let listen = address.to_string();
        let admin_listen = admin.to_string();
        let args: Vec<OsString> = vec![
            "serve".into(),
            "--listen".into(),
            listen.into(),
            "--admin-listen".into(),
            admin_listen.into(),
            "--kubeconfig".into(),
            kubeconfig.into(),
            "--tls-cert".into(),
            identity.certificate.clone().into(),
            "--tls-key".into(),
            identity.key.clone().into(),
            "--log-format".into(),
            "json".into(),
            // There are no connections to drain when it stops.
            "--drain-delay".into(),
            "0s".into(),
        ];
        let name = format!("guard-{}", address.port());
        let begin = Instant::now();
        let mut server = Self::start(&binary()?, &name, args, folder, address)?;
        server.admin = Some(admin);
        let url = format!("http://{admin}/readyz");
        loop {
            server.process.check()?;
            if http_get(&url).is_ok_and(|answer| answer.status == 200) {
                break;
            }
            if begin.elapsed() > PATIENCE {
                bail!("the guard should be ready:\n{}", server.process.tail());
            }
            std::thread::sleep(POLL_INTERVAL);
        }
        server.ready_after = begin.elapsed();
        Ok(server)
    }

    /// Starts a null webhook: this program again.
    pub fn null(folder: &Path, identity: &Identity) -> Result<Self> {
        let [address] = free()?;
        let listen = address.to_string();
        let args: Vec<OsString> = vec![
            "null-webhook".into(),
            listen.into(),
            identity.certificate.clone().into(),
            identity.key.clone().into(),
        ];
        let name = format!("null-{}", address.port());
        let program = std::env::current_exe()?;
        let begin = Instant::now();
        let mut server = Self::start(&program, &name, args, folder, address)?;
        while !server.process.stdout().contains("listening") {
            server.process.check()?;
            if begin.elapsed() > PATIENCE {
                bail!("the null webhook should listen:\n{}", server.process.tail());
            }
            std::thread::sleep(POLL_INTERVAL);
        }
        server.ready_after = begin.elapsed();
        Ok(server)
    }

    fn start(
        program: &Path,
        name: &str,
        args: Vec<OsString>,
        folder: &Path,
        address: SocketAddr,
    ) -> Result<Self> {
        let process = Process::start(ProcessConfig {
            name,
            program,
            args,
            env: Vec::new(),
            dir: folder,
        })?;
        let begin = Instant::now();
        // The first is its watchdog's.
        let pid = loop {
            if let Some(pid) = process.pids().get(1) {
                break *pid;
            }
            if begin.elapsed() > PATIENCE {
                bail!("{name} should start:\n{}", process.tail());
            }
            std::thread::sleep(POLL_INTERVAL);
        };
        Ok(Self {
            process,
            pid,
            address,
            admin: None,
            ready_after: Duration::ZERO,
        })
    }

    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The target for callers.
    pub fn target(&self, identity: &Identity) -> Result<Target> {
        let path = match self.admin {
            Some(_) => PathKey::of(&identity.pair).path(Route::Validate, OBJECTS_WEBHOOK),
            None => null::NULL.to_owned(),
        };
        Target::new(self.address, path, identity)
    }

    /// The target with another path than the guard's.
    pub fn target_at(&self, path: &'static str, identity: &Identity) -> Result<Target> {
        Target::new(self.address, path.to_owned(), identity)
    }

    /// CPU time so far, in seconds.
    pub fn cpu_seconds(&self) -> Result<f64> {
        proc::cpu_seconds(self.pid)
    }

    /// Memory now.
    pub fn memory(&self) -> Result<Memory> {
        proc::memory(self.pid)
    }

    /// Scrapes the guard; a null webhook has nothing to scrape.
    pub fn metrics(&self) -> Result<Metrics> {
        let admin = self.admin.context("only a guard has metrics")?;
        let answer = http_get(&format!("http://{admin}/metrics"))?;
        Ok(Metrics(answer.body))
    }
}

fn free<const N: usize>() -> Result<[SocketAddr; N]> {
    let mut listeners = Vec::new();
    let mut addresses = [SocketAddr::from(([127, 0, 0, 1], 0)); N];
    for address in &mut addresses {
        let listener = TcpListener::bind(*address)?;
        *address = listener.local_addr()?;
        // Held until all are chosen, so that no port is chosen twice.
        listeners.push(listener);
    }
    Ok(addresses)
}

/// The text of `/metrics` at one moment.
pub struct Metrics(String);

impl Metrics {
    /// The sum of a metric over its labels.
    pub fn sum(&self, name: &str) -> f64 {
        self.samples(name).map(|(_, value)| value).sum()
    }

    fn samples<'m>(&'m self, name: &'m str) -> impl Iterator<Item = (&'m str, f64)> {
        self.0.lines().filter_map(move |line| {
            let rest = line.strip_prefix(name)?;
            if !rest.starts_with(['{', ' ']) {
                return None;
            }
            let (labels, value) = rest.rsplit_once(' ')?;
            Some((labels, value.parse().ok()?))
        })
    }

    /// An upper bound of a quantile since `before`: the bound of the histogram bucket that contains it.
    pub fn quantile_since(&self, before: &Self, histogram: &str, share: f64) -> f64 {
        let name = format!("{histogram}_bucket");
        let bound = |labels: &str| {
            let text = labels.split("le=\"").nth(1)?.split('"').next()?;
            match text {
                "+Inf" => Some(f64::INFINITY),
                text => text.parse().ok(),
            }
        };
        let counts = |metrics: &Self| -> Vec<(f64, f64)> {
            let samples = metrics.samples(&name);
            samples
                .filter_map(|(labels, count)| Some((bound(labels)?, count)))
                .collect()
        };
        let (old, new) = (counts(before), counts(self));
        let since = |&(bound, count): &(f64, f64)| {
            let earlier = old
                .iter()
                .find(|(other, _)| other.total_cmp(&bound).is_eq());
            (bound, count - earlier.map_or(0.0, |(_, count)| *count))
        };
        let counts: Vec<(f64, f64)> = new.iter().map(since).collect();
        let total = counts.last().map_or(0.0, |(_, count)| *count);
        let found = counts.iter().find(|(_, count)| *count >= share * total);
        found.map_or(f64::NAN, |(bound, _)| *bound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics(fast: u32, slow: u32) -> Metrics {
        let all = fast + slow;
        Metrics(format!(
            "took_bucket{{le=\"0.001\"}} {fast}\ntook_bucket{{le=\"0.01\"}} {all}\n\
             took_bucket{{le=\"+Inf\"}} {all}\ncalls_total{{a=\"b\"}} 2\ncalls_total{{a=\"c\"}} 3\n\
             calls_total_other 9\nbytes 7\n"
        ))
    }

    #[test]
    fn a_quantile_is_the_bound_of_its_bucket_since_the_last_reading() {
        let (before, after) = (metrics(0, 100), metrics(99, 101));
        let at = |share| after.quantile_since(&before, "took", share);
        assert!((at(0.5) - 0.001).abs() < 1e-9);
        assert!((at(0.999) - 0.01).abs() < 1e-9);
    }

    #[test]
    fn a_metric_is_summed_over_its_labels() {
        assert!((metrics(1, 1).sum("calls_total") - 5.0).abs() < 1e-9);
        assert!((metrics(1, 1).sum("bytes") - 7.0).abs() < 1e-9);
    }
}
