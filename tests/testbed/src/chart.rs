//! Writes small charts.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::error::{Error, on_file};

/// A chart to be written: the templates of the test, and a `Chart.yaml`.
#[derive(Debug, Clone)]
pub struct Chart {
    name: String,
    version: String,
    files: Vec<(PathBuf, String)>,
}

impl Chart {
    /// A chart without templates.
    pub fn new(name: &str, version: &str) -> Self {
        Self {
            name: name.to_owned(),
            version: version.to_owned(),
            files: Vec::new(),
        }
    }

    /// Adds `templates/FILE`.
    #[must_use]
    pub fn template(self, file: &str, content: &str) -> Self {
        self.file(&format!("templates/{file}"), content)
    }

    /// Adds `crds/FILE`, which Helm installs first and never touches again.
    #[must_use]
    pub fn crd(self, file: &str, content: &str) -> Self {
        self.file(&format!("crds/{file}"), content)
    }

    /// Sets `values.yaml`.
    #[must_use]
    pub fn values(self, content: &str) -> Self {
        self.file("values.yaml", content)
    }

    /// Adds a file by its path in the chart.
    #[must_use]
    pub fn file(mut self, path: &str, content: &str) -> Self {
        self.files.push((path.into(), content.to_owned()));
        self
    }

    /// Writes the chart to `dir/NAME-VERSION` and returns that directory.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, dir: &Path) -> Result<PathBuf, Error> {
        let chart = dir.join(format!("{}-{}", self.name, self.version));
        let metadata = format!(
            "apiVersion: v2\nname: {}\nversion: {}\nappVersion: \"{}\"\n",
            self.name, self.version, self.version
        );
        write(&chart.join("Chart.yaml"), &metadata)?;
        for (path, content) in &self.files {
            write(&chart.join(path), content)?;
        }
        Ok(chart)
    }
}

fn write(path: &Path, content: &str) -> Result<(), Error> {
    if let Some(parent) = path.parent() {
        on_file(fs::create_dir_all(parent), "create", parent)?;
    }
    on_file(fs::write(path, content), "write", path)
}
