//! Which node this is: an id that is made once, stays with the data folder, and tells others who has what in it.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use uuid::Uuid;

/// Reads the id of an earlier start, or makes one.
pub fn load_or_make(path: &Path) -> io::Result<Uuid> {
    match fs::read_to_string(path) {
        Ok(text) => {
            let damaged = |_| io::Error::other("the file holds no id; without it the node gets a new one");
            return text.trim().parse().map_err(damaged);
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let id = Uuid::now_v7();
    // Written beside and renamed, so that a crash leaves either no id or a whole one.
    let beside = path.with_extension("new");
    let mut file = File::create(&beside)?;
    writeln!(file, "{id}")?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())?;
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_is_made_once_and_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node");
        let id = load_or_make(&path).unwrap();
        assert_eq!(load_or_make(&path).unwrap(), id);
        assert_ne!(load_or_make(&folder.path().join("other")).unwrap(), id);
        fs::write(&path, "not an id").unwrap();
        assert!(load_or_make(&path).is_err());
    }
}
