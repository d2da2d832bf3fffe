//! The thin binary: allocator, crypto provider, exit code. Everything else is the library's.

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr
)]

use std::process::ExitCode;

// The webhook's load is many small short-lived allocations on several threads. Without huge pages
// (`no_thp` in Cargo.toml).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    helm_guard::cli::run(std::env::args_os())
}
