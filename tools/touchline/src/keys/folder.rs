//! The folder of keys: files that are made once, for their owner alone, and replaced whole.

use anyhow::{Context, bail};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Mode of every file.
const FILE_MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o700;

/// The folder.
pub(super) struct Folder(PathBuf);

impl Folder {
    /// The folder, made where it is not there yet.
    pub(super) fn create(path: &Path) -> anyhow::Result<Folder> {
        DirBuilder::new()
            .recursive(true)
            .mode(FOLDER_MODE)
            .create(path)
            .with_context(|| path.display().to_string())?;
        Ok(Folder(path.to_owned()))
    }

    /// A folder that is there.
    pub(super) fn open(path: &Path) -> anyhow::Result<Folder> {
        if !path.is_dir() {
            bail!("{} is not there; make keys with `touchline keys new --dir {0}`", path.display());
        }
        Ok(Folder(path.to_owned()))
    }

    /// The path of a file, for messages.
    pub(super) fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    /// A file's text.
    pub(super) fn read(&self, name: &str) -> anyhow::Result<String> {
        fs::read_to_string(self.0.join(name)).with_context(|| self.path(name))
    }

    /// Makes files, none of which may be there already; then none is made.
    pub(super) fn make(&self, files: &[(String, String)]) -> anyhow::Result<()> {
        let there: Vec<&str> =
            files.iter().map(|(name, _)| name.as_str()).filter(|name| self.0.join(name).exists()).collect();
        if !there.is_empty() {
            bail!("{} already holds {}: nothing is overwritten", self.0.display(), there.join(", "));
        }
        files.iter().try_for_each(|(name, text)| self.write(name, text))?;
        self.sync()
    }

    /// Replaces a file: whoever reads it meanwhile gets the old or the new one whole.
    pub(super) fn replace(&self, name: &str, text: &str) -> anyhow::Result<()> {
        let fresh = format!("{name}.new");
        // One that was left by a run that was cut short.
        match fs::remove_file(self.0.join(&fresh)) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).with_context(|| self.path(&fresh));
            }
            _ => {}
        }
        self.write(&fresh, text)?;
        fs::rename(self.0.join(&fresh), self.0.join(name)).with_context(|| self.path(name))?;
        self.sync()
    }

    fn write(&self, name: &str, text: &str) -> anyhow::Result<()> {
        let mut options = OpenOptions::new();
        let made = options.write(true).create_new(true).mode(FILE_MODE).open(self.0.join(name));
        let written = made.and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        });
        written.with_context(|| self.path(name))
    }

    fn sync(&self) -> anyhow::Result<()> {
        File::open(&self.0).and_then(|folder| folder.sync_all()).with_context(|| self.path(""))
    }

    /// Whoever has a certificate here, apart from the authority, in the order of their names.
    pub(super) fn holders(&self) -> anyhow::Result<Vec<String>> {
        let holder = |name: String| name.strip_suffix(".crt").filter(|name| *name != "ca").map(str::to_owned);
        Ok(self.names()?.into_iter().filter_map(holder).collect())
    }

    /// Secret files that others than their owner may read.
    pub(super) fn open_to_others(&self) -> anyhow::Result<Vec<String>> {
        let mut open = Vec::new();
        for name in self.names()?.into_iter().filter(|name| name.ends_with(".key")) {
            let mode = fs::metadata(self.0.join(&name)).with_context(|| self.path(&name))?.mode();
            if mode & 0o077 != 0 {
                open.push(name);
            }
        }
        Ok(open)
    }

    fn names(&self) -> anyhow::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.0).with_context(|| self.path(""))? {
            let name = entry.with_context(|| self.path(""))?.file_name();
            names.extend(name.into_string());
        }
        names.sort();
        Ok(names)
    }
}
