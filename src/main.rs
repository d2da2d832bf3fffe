//! The thin binary: allocator, crypto provider, exit code. Everything else is the library's.

use std::process::ExitCode;

// The webhook's load is many small short-lived allocations on several threads. Without huge pages
// (`no_thp` in Cargo.toml).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    helm_guard::cli::run(std::env::args_os())
}
