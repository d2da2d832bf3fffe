//! An audit log file with a size limit and rotation.
//!
//! - A line is written in one call, to the end of the file. A partial line left by a crash or a full disk is
//!   terminated before the next one.
//! - A file that would exceed its size is renamed first, with the time (UTC) in its name, like the audit log
//!   of kube-apiserver: `audit-2026-11-21T03-00-00.000.log`. The oldest of these are removed.
//! - A file that something else renames or removes is created again with the next line. One that is truncated
//!   (logrotate's `copytruncate`) is written to as before.
//! - A pipe or a terminal is only ever written to.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use jiff::{Timestamp, Unit};

/// After a failed rotation, the next attempt is made when the file has grown by this much.
const RETRY_BYTES: u64 = 1024 * 1024;

/// The time in the name of a rotated file; it sorts by age.
const STAMP: &str = "%Y-%m-%dT%H-%M-%S%.3f";

const STAMP_LENGTH: usize = "2026-11-21T03-00-00.000".len();

/// What is retained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Retention {
    /// A file larger than this many bytes is rotated. A longer line gets a file of its own.
    pub(crate) max_bytes: u64,
    /// How many rotated files are retained, besides the current one; 0 for all.
    pub(crate) max_backups: usize,
}

/// The open file. Written to through [`Write`]: a call is one line, which is written completely or not at
/// all.
#[derive(Debug)]
pub(crate) struct AuditFile {
    path: PathBuf,
    retention: Retention,
    open: Option<Open>,
    /// No rotation is tried below this size.
    patience: u64,
}

#[derive(Debug)]
struct Open {
    file: File,
    device: u64,
    inode: u64,
    /// A regular file, not a pipe or a terminal.
    is_regular: bool,
    /// Its last line lacks a newline.
    is_torn: bool,
}

impl AuditFile {
    /// Opens the file, or creates it, readable by its owner only.
    ///
    /// # Errors
    /// When it cannot be written to.
    pub(crate) fn open(path: impl Into<PathBuf>, retention: Retention) -> io::Result<Self> {
        let path = path.into();
        Ok(Self {
            open: Some(Open::at(&path)?),
            path,
            retention,
            patience: 0,
        })
    }

    fn line(&mut self, line: &[u8]) -> io::Result<()> {
        self.rotate_for(line.len());
        let there = match self.open.take() {
            Some(open) if open.is_still_at(&self.path) => open,
            _ => Open::at(&self.path)?,
        };
        self.open.insert(there).line(line)
    }

    /// Makes room. A failed rotation loses no line: the file keeps growing, and rotation is retried later.
    fn rotate_for(&mut self, more: usize) {
        let Some(open) = self.open.as_ref().filter(|open| open.is_regular) else {
            return;
        };
        let size = open.file.metadata().map_or(0, |metadata| metadata.len());
        let would_be = size.saturating_add(u64::try_from(more).unwrap_or(u64::MAX));
        if size == 0 || would_be <= self.retention.max_bytes || size < self.patience {
            return;
        }
        if !open.is_still_at(&self.path) {
            return;
        }
        match self.rotate() {
            Ok(()) => {
                self.open = None;
                self.patience = 0;
            }
            Err(error) => {
                self.patience = size.saturating_add(RETRY_BYTES);
                tracing::error!(%error, path = %self.path.display(), "failed to rotate the audit log");
            }
        }
    }

    fn rotate(&self) -> io::Result<()> {
        let names = Names::of(&self.path)?;
        let mut now = Timestamp::now();
        let mut backup = names.at(now);
        while backup.try_exists()? {
            // Two rotations within a millisecond: a rename would overwrite the first file.
            now += jiff::SignedDuration::from_millis(1);
            backup = names.at(now);
        }
        fs::rename(&self.path, &backup)?;
        if self.retention.max_backups > 0 {
            for old in names.backups()?.iter().skip(self.retention.max_backups) {
                // Another process was faster, or it is retried the next time.
                let _ = fs::remove_file(old);
            }
        }
        Ok(())
    }
}

impl Write for AuditFile {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.line(line)?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Open {
    fn at(path: &Path) -> io::Result<Self> {
        let open = |readable: bool| {
            OpenOptions::new()
                .append(true)
                .create(true)
                .read(readable)
                .mode(0o600)
                .open(path)
        };
        // Terminals and pipes need not be readable.
        let mut file = open(true).or_else(|_| open(false))?;
        let metadata = file.metadata()?;
        let is_torn = metadata.is_file() && metadata.len() > 0 && !ends_a_line(&mut file);
        Ok(Self {
            file,
            device: metadata.dev(),
            inode: metadata.ino(),
            is_regular: metadata.is_file(),
            is_torn,
        })
    }

    fn is_still_at(&self, path: &Path) -> bool {
        !self.is_regular
            || fs::metadata(path)
                .is_ok_and(|metadata| (metadata.dev(), metadata.ino()) == (self.device, self.inode))
    }

    fn line(&mut self, line: &[u8]) -> io::Result<()> {
        let mended;
        let line = if self.is_torn {
            mended = [b"\n", line].concat();
            &mended
        } else {
            line
        };
        let written = loop {
            match self.file.write(line) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                written => break written?,
            }
        };
        if written == line.len() {
            self.is_torn = false;
            return Ok(());
        }
        self.is_torn |= written > 0;
        Err(io::Error::new(
            io::ErrorKind::StorageFull,
            "only part of a line could be written",
        ))
    }
}

fn ends_a_line(file: &mut File) -> bool {
    let mut last = [0];
    let read = file
        .seek(SeekFrom::End(-1))
        .and_then(|_| file.read_exact(&mut last));
    // If the end cannot be read, add a newline: an empty line is harmless.
    read.is_ok() && last == *b"\n"
}

/// The names of rotated files.
struct Names {
    folder: PathBuf,
    stem: String,
    /// With its dot; empty if the name has none.
    extension: String,
}

impl Names {
    fn of(path: &Path) -> io::Result<Self> {
        let text = |part: Option<&std::ffi::OsStr>| {
            part.map(|part| part.to_string_lossy().into_owned())
                .unwrap_or_default()
        };
        let stem = text(path.file_stem());
        if stem.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the path has no file name",
            ));
        }
        let folder = match path.parent() {
            Some(folder) if folder != Path::new("") => folder.to_owned(),
            _ => PathBuf::from("."),
        };
        Ok(Self {
            folder,
            stem,
            extension: path
                .extension()
                .map(|extension| format!(".{}", extension.to_string_lossy()))
                .unwrap_or_default(),
        })
    }

    fn at(&self, time: Timestamp) -> PathBuf {
        let time = time.round(Unit::Millisecond).unwrap_or(time);
        let stamp = time.strftime(STAMP);
        let name = format!("{}-{stamp}{}", self.stem, self.extension);
        self.folder.join(name)
    }

    /// The existing rotated files, newest first.
    fn backups(&self) -> io::Result<Vec<PathBuf>> {
        let mut stamped = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            let stamp = name
                .strip_prefix(&self.stem)
                .and_then(|rest| rest.strip_prefix('-'))
                .and_then(|rest| rest.strip_suffix(&self.extension));
            if let Some(stamp) = stamp.filter(|stamp| is_stamp(stamp)) {
                stamped.push((stamp.to_owned(), self.folder.join(&name)));
            }
        }
        stamped.sort_unstable();
        Ok(stamped.into_iter().rev().map(|(_, path)| path).collect())
    }
}

/// Whether it is a time as [`STAMP`] formats it: nothing else is ever removed.
fn is_stamp(text: &str) -> bool {
    let shape = |byte: u8| if byte.is_ascii_digit() { b'0' } else { byte };
    text.len() == STAMP_LENGTH && text.bytes().map(shape).eq(*b"0000-00-00T00-00-00.000")
}

#[cfg(test)]
mod tests;
