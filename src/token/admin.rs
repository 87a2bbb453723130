//! The admin token: given by the operator, or made once and kept in a file.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::{api, is_same_digest};
use crate::digest::Sha256;

/// The admin token, kept as its SHA-256: what compares it needs no more.
#[derive(Clone, Debug)]
pub struct AdminToken {
    sha256: Sha256,
}

impl AdminToken {
    pub fn new(token: &str) -> Self {
        Self { sha256: Sha256::of(token.as_bytes()) }
    }

    /// Compares in constant time.
    pub fn matches(&self, candidate: &str) -> bool {
        is_same_digest(&Sha256::of(candidate.as_bytes()), &self.sha256)
    }

    /// Which token this is, without telling it. Short tokens carry it, and die when the token is replaced.
    pub fn credential(&self) -> String {
        let tagged = [b"quire credential fingerprint\0".as_slice(), &self.sha256.0].concat();
        format!("admin:{}", &Sha256::of(&tagged).hex()[..16])
    }
}

/// Reads the token of an earlier start, or makes one. The flag says whether it is new.
pub fn load_or_make_admin_token(path: &Path) -> io::Result<(String, bool)> {
    match fs::read_to_string(path) {
        Ok(text) if text.trim().len() >= 20 => return Ok((text.trim().to_owned(), false)),
        Ok(_) => {
            return Err(io::Error::other("the admin token file holds no token; remove it to get a new one"));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let token = api::generate().map_err(io::Error::other)?;
    // Written beside and renamed, so that a crash leaves either no token or a whole one.
    let beside = path.with_extension("token.new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    writeln!(file, "{token}")?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    if let Some(folder) = path.parent() {
        fs::File::open(folder)?.sync_all()?;
    }
    Ok((token, true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_admin_token_is_made_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.token");
        let (first, new) = load_or_make_admin_token(&path).unwrap();
        assert!(new);
        assert_eq!(load_or_make_admin_token(&path).unwrap(), (first.clone(), false));
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let admin = AdminToken::new(&first);
        assert!(admin.matches(&first) && !admin.matches("quire_other"));
        fs::write(&path, "").unwrap();
        assert!(load_or_make_admin_token(&path).is_err());
    }
}
