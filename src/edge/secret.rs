//! The farm's secret: configured, or made once and kept.

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rand::RngExt;

use crate::store::StoreError;

/// Name of the file in `state_dir`.
pub const FILE: &str = "secret";

/// Shortest secret that is believed.
const LEN_MIN: usize = 16;

/// Reads the secret that is kept in a folder, making it where there is none. The file is for the edge's user alone.
pub fn kept(folder: &Path) -> Result<Vec<u8>, StoreError> {
    let path = folder.join(FILE);
    let unusable = |source| StoreError::Unusable { path: path.display().to_string(), source };
    std::fs::create_dir_all(folder).map_err(unusable)?;
    if let Ok(mut file) = std::fs::File::open(&path) {
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(unusable)?;
        let secret = text.trim();
        if secret.len() >= LEN_MIN {
            return Ok(secret.as_bytes().to_vec());
        }
        let short = std::io::Error::other(format!("the secret has fewer than {LEN_MIN} characters; remove the file"));
        return Err(unusable(short));
    }
    let octets: [u8; 32] = rand::rng().random();
    let secret: String = octets.iter().map(|octet| format!("{octet:02x}")).collect();
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(unusable)?;
    file.write_all(format!("{secret}\n").as_bytes()).and_then(|()| file.sync_all()).map_err(unusable)?;
    Ok(secret.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_secret_is_made_once_and_is_nobody_elses_to_read() {
        let folder = tempfile::tempdir().unwrap();
        let made = kept(folder.path()).unwrap();
        assert_eq!(made.len(), 64);
        assert_eq!(kept(folder.path()).unwrap(), made);
        let mode = std::fs::metadata(folder.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_secret_that_is_too_short_is_refused_and_kept_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE), "short\n").unwrap();
        assert!(kept(folder.path()).is_err());
    }
}
