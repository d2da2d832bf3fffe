//! Prints the CRDs of the guard's own kinds, `deploy/manifests/05-crds.yaml`.

use std::io::Write as _;

mod text;

fn main() -> anyhow::Result<()> {
    std::io::stdout().write_all(text::crds()?.as_bytes())?;
    Ok(())
}
