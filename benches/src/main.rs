//! `make bench` and `make bench-check`.
//!
//! `bench [SECTION...]` with the sections `server`, `cluster`, `memory`, `counts`, `times`; all by default. It
//! prints a table and writes `target/bench.json`. It fails only if it cannot measure, regardless of the figures.
//! `bench check [--write]` compares with `baseline.json`.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result, bail};
use bench::{
    check::{self, Baseline},
    cluster, counts, memory, null,
    plan::Plan,
    proc,
    report::Report,
    server, times,
};
use testbed::ControlPlane;
use tokio::{runtime::Runtime, task::block_in_place};

/// The allocator of the guard, because the null webhook is this program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SECTIONS: [&str; 5] = ["times", "counts", "server", "cluster", "memory"];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match run(&words) {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[&str]) -> Result<ExitCode> {
    // An error means that it is already installed.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    match words {
        ["once", title] => counts::once(title)?,
        ["null-webhook", address, certificate, key] => {
            let serving = null::serve(address.parse()?, Path::new(certificate), Path::new(key));
            runtime()?.block_on(serving)?;
        }
        ["check"] => return runtime()?.block_on(gate()),
        ["check", "--write"] => runtime()?.block_on(renew())?,
        sections => {
            if let Some(unknown) = sections.iter().find(|section| !SECTIONS.contains(section)) {
                bail!(
                    "unknown section {unknown:?}; sections: {}",
                    SECTIONS.join(" ")
                );
            }
            let sections = if sections.is_empty() {
                &SECTIONS
            } else {
                sections
            };
            runtime()?.block_on(measure(sections))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn runtime() -> Result<Runtime> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    runtime.context("failed to start the runtime")
}

async fn measure(sections: &[&str]) -> Result<()> {
    let plan = Plan::from_env()?;
    let folder = tempfile::Builder::new()
        .prefix("helm-guard-bench-")
        .tempdir()?;
    let folder = folder.path();
    let mut report = Report::default();
    report.about("machine", proc::machine());
    report.about("command", "make bench");
    if plan.is_smoke {
        report.note("a smoke run: it shows that everything works; the figures are meaningless");
    }
    if cfg!(debug_assertions) {
        report.note(
            "built without optimization: the null webhook is slow, and ratios to it are meaningless",
        );
    }
    // Without a control plane, the rest is still measured.
    let wants_plane = sections
        .iter()
        .any(|section| matches!(*section, "cluster" | "memory"));
    for section in sections
        .iter()
        .filter(|section| !matches!(**section, "cluster" | "memory"))
    {
        print_note(section)?;
        match *section {
            "times" => times::collect(&target(), &mut report)?,
            "counts" => block_in_place(|| counts::measure(folder, &mut report))?,
            _ => server::measure(&plan, folder, &mut report).await?,
        }
    }
    let plane = if wants_plane {
        print_note("control plane")?;
        let started = block_in_place(ControlPlane::start);
        started
            .inspect_err(|error| report.note(format!("no control plane: {error}")))
            .ok()
    } else {
        None
    };
    if let (true, Some(plane)) = (sections.contains(&"cluster"), &plane) {
        print_note("cluster")?;
        cluster::measure(&plan, folder, plane, &mut report).await?;
    }
    if sections.contains(&"memory") {
        print_note("memory")?;
        memory::measure(&plan, folder, plane.as_ref(), &mut report).await?;
    }
    block_in_place(|| drop(plane));
    let json = target().join("bench.json");
    report.write(&json)?;
    write!(std::io::stdout(), "{}", report.table())?;
    print_note(&format!("written: {}", json.display()))
}

fn print_note(what: &str) -> Result<()> {
    writeln!(std::io::stderr(), "bench: {what}")?;
    Ok(())
}

/// The build folder that this program is in.
fn target() -> PathBuf {
    let program = std::env::current_exe().unwrap_or_default();
    let folder = program.parent().and_then(Path::parent);
    folder.map_or_else(|| PathBuf::from("target"), Path::to_path_buf)
}

fn baseline() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("baseline.json")
}

async fn gate() -> Result<ExitCode> {
    let folder = tempfile::tempdir()?;
    let mut committed = Baseline::read(&baseline())?;
    if !counts::is_possible() {
        if std::env::var_os("CI").is_some_and(|value| value == "true") {
            bail!("valgrind is not installed: an error in CI");
        }
        print_note("valgrind is not installed: instructions are not compared")?;
        committed = committed.without_instructions();
    }
    let now = Baseline::measure(folder.path()).await?;
    if check::passes(&committed, &now)? {
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::FAILURE)
}

async fn renew() -> Result<()> {
    if !counts::is_possible() {
        bail!("valgrind is not installed, but a baseline needs instruction counts");
    }
    let folder = tempfile::tempdir()?;
    let now = Baseline::measure(folder.path()).await?;
    now.write(&baseline())
}
