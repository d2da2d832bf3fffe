//! The charts of a directory: `NAME.tgz`, with an earlier version in `older/NAME.tgz`, and what
//! their installation needs in `values/NAME.yaml` (values) and `values/NAME.args` (arguments of
//! Helm).

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};

/// One chart to try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chart {
    /// Its name in the directory; also the name of the release.
    pub name: String,
    /// The version to upgrade to.
    pub newer: PathBuf,
    /// The version to start with, if there is one.
    pub older: Option<PathBuf>,
    /// Arguments of Helm that it needs.
    pub args: Vec<String>,
}

/// All charts of the directory, ordered by name, or the requested ones.
pub fn find(dir: &Path, only: &[String]) -> anyhow::Result<Vec<Chart>> {
    let entries = fs::read_dir(dir).with_context(|| format!("failed to read {}", dir.display()))?;
    let mut charts = Vec::new();
    for entry in entries {
        let path = entry
            .with_context(|| format!("failed to read {}", dir.display()))?
            .path();
        let Some(name) = chart_name(&path) else {
            continue;
        };
        if !only.is_empty() && !only.contains(&name) {
            continue;
        }
        charts.push(Chart {
            older: older(dir, &name),
            args: args(dir, &name)?,
            newer: path,
            name,
        });
    }
    charts.sort_by(|a, b| a.name.cmp(&b.name));
    if charts.is_empty() {
        bail!("failed to find a chart (NAME.tgz) in {}", dir.display());
    }
    if let Some(unknown) = only
        .iter()
        .find(|name| !charts.iter().any(|chart| chart.name == **name))
    {
        bail!("failed to find the chart {unknown:?} in {}", dir.display());
    }
    Ok(charts)
}

/// An archive, or an unpacked chart.
fn chart_name(path: &Path) -> Option<String> {
    let is_chart =
        path.extension().is_some_and(|ext| ext == "tgz") || path.join("Chart.yaml").is_file();
    let name = if path.is_dir() {
        path.file_name()
    } else {
        path.file_stem()
    };
    is_chart.then(|| name.unwrap_or_default().to_string_lossy().into_owned())
}

fn older(dir: &Path, name: &str) -> Option<PathBuf> {
    let older = dir.join("older");
    [older.join(format!("{name}.tgz")), older.join(name)]
        .into_iter()
        .find(|path| path.exists())
}

fn args(dir: &Path, name: &str) -> anyhow::Result<Vec<String>> {
    let values = dir.join("values");
    let mut args = Vec::new();
    let file = values.join(format!("{name}.yaml"));
    if file.is_file() {
        args.extend(["--values".to_owned(), file.display().to_string()]);
    }
    let file = values.join(format!("{name}.args"));
    if file.is_file() {
        let text = fs::read_to_string(&file)
            .with_context(|| format!("failed to read {}", file.display()))?;
        args.extend(text.split_whitespace().map(str::to_owned));
    }
    Ok(args)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_lists_its_charts_with_their_requirements() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        for folder in ["older", "values", "unpacked"] {
            fs::create_dir(root.join(folder)).unwrap();
        }
        for file in [
            "web.tgz",
            "alone.tgz",
            "older/web.tgz",
            "SOURCES.tsv",
            "values/web.yaml",
            "unpacked/Chart.yaml",
        ] {
            fs::write(root.join(file), "").unwrap();
        }
        fs::write(root.join("values/web.args"), "--set a=b  --set c=d\n").unwrap();
        let charts = find(root, &[]).unwrap();
        let names: Vec<&str> = charts.iter().map(|chart| chart.name.as_str()).collect();
        assert_eq!(names, ["alone", "unpacked", "web"]);
        assert_eq!(charts[0].older, None);
        assert_eq!(charts[2].older, Some(root.join("older/web.tgz")));
        assert_eq!(charts[2].args[2..], ["--set", "a=b", "--set", "c=d"]);
        assert_eq!(find(root, &["web".to_owned()]).unwrap().len(), 1);
        assert!(find(root, &["nothing".to_owned()]).is_err());
    }
}
