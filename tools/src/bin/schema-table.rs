//! Prints the table of Kubernetes' own types, `crates/core/src/compare/schema/builtin.txt`.
//!
//! `cargo run -p tools --bin schema-table -- DIR`, where DIR holds the OpenAPI v3 documents, one file a
//! group version: `api/openapi-spec/v3` of a Kubernetes release, or the output of `kubectl get
//! --raw /openapi/v3/apis/apps/v1` and so on.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use helm_guard_core::compare::schema::{openapi, text};

fn main() -> anyhow::Result<()> {
    let dir: PathBuf = std::env::args_os()
        .nth(1)
        .context("usage: schema-table DIR")?
        .into();
    let entries =
        std::fs::read_dir(&dir).with_context(|| format!("failed to list {}", dir.display()))?;
    let mut documents = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "json")
        {
            let document = std::fs::read_to_string(&path)
                .with_context(|| format!("failed to read {}", path.display()))?;
            documents.push(document);
        }
    }
    let table = openapi::reduce(&documents)?;
    std::io::stdout().write_all(text::print(&table).as_bytes())?;
    Ok(())
}
