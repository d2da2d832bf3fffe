//! Measures the time of a request inside the process: the cases of `src/cases.rs`.
//!
//! `cargo bench -p bench`; absolute figures depend on the machine, ratios carry over.

#![allow(missing_docs, reason = "criterion's macros make public items")]

use bench::cases::{self, Case};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// The allocator of the program itself.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn evaluations(criterion: &mut Criterion) {
    for case in cases::all() {
        assert!(case.holds(), "{}", case.title());
        time(criterion, &case);
    }
}

fn time(criterion: &mut Criterion, case: &Case) {
    let mut group = criterion.benchmark_group(format!("judge {}", case.size));
    group.throughput(Throughput::Bytes(case.body.len() as u64));
    group.bench_function(case.name, |bencher| bencher.iter(|| case.measured()));
    group.finish();
}

criterion_group!(benches, evaluations);
criterion_main!(benches);
