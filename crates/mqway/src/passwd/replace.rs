//! Replaces a file at once: whoever reads it, and whatever happens, it is the old one or the new one.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// What a new file may be read by: its owner.
const PRIVATE: u32 = 0o600;

/// Writes `text` into `file`, with the owner and permissions that it has; one that is new is its owner's alone.
pub fn replace(file: &Path, text: &[u8]) -> Result<(), Failure> {
    written(file, text)
        .map_err(|error| Failure::other(format_args!("cannot write {}: {error}", file.display())))
}

fn written(file: &Path, text: &[u8]) -> io::Result<()> {
    // A link stays one.
    let file = match fs::canonicalize(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => file.to_owned(),
        found => found?,
    };
    let before = match fs::metadata(&file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        found => Some(found?),
    };
    if before.as_ref().is_some_and(|before| !before.is_file()) {
        return Err(io::Error::other("it is not a regular file"));
    }
    let new = beside(&file)?;
    let result = fill(&new, text, before.as_ref()).and_then(|()| fs::rename(&new, &file));
    if result.is_err() {
        let _ = fs::remove_file(&new);
    }
    result?;
    // Only with its directory on the disk, too, the change lasts.
    let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
}

/// A name in the same directory that nobody else takes.
fn beside(file: &Path) -> io::Result<PathBuf> {
    let name = file.file_name().ok_or_else(|| io::Error::other("it has no name"))?;
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(|_| io::Error::other("the system gave no random numbers"))?;
    let hidden = format!(".{}.{:016x}", name.to_string_lossy(), u64::from_ne_bytes(random));
    Ok(file.with_file_name(hidden))
}

fn fill(new: &Path, text: &[u8], before: Option<&fs::Metadata>) -> io::Result<()> {
    let mut opened = OpenOptions::new().write(true).create_new(true).mode(PRIVATE).open(new)?;
    if let Some(before) = before {
        let own = opened.metadata()?;
        if (own.uid(), own.gid()) != (before.uid(), before.gid()) {
            fchown(&opened, Some(before.uid()), Some(before.gid()))?;
        }
        opened.set_permissions(Permissions::from_mode(before.mode() & 0o7777))?;
    }
    opened.write_all(text)?;
    opened.sync_all()
}
