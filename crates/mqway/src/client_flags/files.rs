//! Certificates and keys that flags name.

use std::fs;
use std::path::Path;

use crate::failure::Failure;

/// No certificate, key or bundle of authorities is longer than this, in bytes; what is, is another file.
const MAX_FILE: u64 = 16 * 1024 * 1024;

/// Most files of a directory of authorities.
const MAX_FILES: usize = 10_000;

/// The authorities in a file and in a directory, one PEM behind the other; `None` without either.
pub fn authorities(file: Option<&Path>, directory: Option<&Path>) -> Result<Option<Vec<u8>>, Failure> {
    if file.is_none() && directory.is_none() {
        return Ok(None);
    }
    let mut pem = file.map(read).transpose()?.unwrap_or_default();
    let Some(directory) = directory else {
        return Ok(Some(pem));
    };
    let cannot = |error| Failure::usage(format_args!("cannot read {}: {error}", directory.display()));
    for entry in fs::read_dir(directory).map_err(cannot)?.take(MAX_FILES) {
        let path = entry.map_err(cannot)?.path();
        // Directories of authorities hold other things, too: lists of revoked certificates, a README.
        if path.is_file()
            && let Ok(bytes) = read(&path)
            && bytes.windows(BEGIN.len()).any(|window| window == BEGIN)
        {
            pem.push(b'\n');
            pem.extend(bytes);
        }
    }
    Ok(Some(pem))
}

const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";

/// A file of reasonable size.
pub fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let cannot =
        |why: &dyn std::fmt::Display| Failure::usage(format_args!("cannot read {}: {why}", path.display()));
    let size = fs::metadata(path).map_err(|error| cannot(&error))?.len();
    if size > MAX_FILE {
        return Err(cannot(&"too long for a certificate or a key"));
    }
    fs::read(path).map_err(|error| cannot(&error))
}
