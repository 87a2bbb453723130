//! Packages that were read, and the files in them.

use tokio_postgres::Row;

use super::db::Db;
use super::failure::{Failure, Result};
use super::rows::{size, text, texts, unsigned};
use super::transaction::Work;
use crate::digest::Sha256;
use crate::meta::{NewPlugin, PackageFile};
use crate::package::Method;

/// The row of a package, made with its files if it was not there.
pub(super) async fn find_or_make(work: &Work, plugin: &NewPlugin) -> Result<i64> {
    // Who makes it at the same time is waited for. Nobody forgets a package while this is under way.
    let made = work
        .row(
            "INSERT INTO packages (sha256, size) VALUES ($1, $2) ON CONFLICT (sha256) DO NOTHING RETURNING id",
            &[&plugin.package, &size(plugin.package_size)?],
        )
        .await?;
    let Some(made) = made else {
        let row = work.row("SELECT id FROM packages WHERE sha256 = $1", &[&plugin.package]).await?;
        return Ok(row.ok_or(Failure::Damaged("no package"))?.try_get(0)?);
    };
    let id: i64 = made.try_get(0)?;
    let paths: Vec<&str> = plugin.files.iter().map(|file| file.path.as_str()).collect();
    let sizes = |of: fn(&PackageFile) -> u64| {
        plugin.files.iter().map(|file| size(of(file))).collect::<Result<Vec<_>>>()
    };
    let method = |file: &PackageFile| match file.method {
        Method::Stored => "stored",
        Method::Deflate => "deflate",
    };
    work.execute(
        "INSERT INTO package_files (package, path, data_offset, compressed_size, size, method, sha256, executable)
         SELECT $1, f.* FROM unnest($2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::text[], $7::bytea[],
             $8::boolean[]) AS f",
        &[
            &id,
            &texts(&paths),
            &sizes(|file| file.data_offset)?,
            &sizes(|file| file.compressed_size)?,
            &sizes(|file| file.size)?,
            &plugin.files.iter().map(method).collect::<Vec<_>>(),
            &plugin.files.iter().map(|file| file.sha256).collect::<Vec<_>>(),
            &plugin.files.iter().map(|file| file.executable).collect::<Vec<_>>(),
        ],
    )
    .await?;
    Ok(id)
}

const SELECT: &str =
    "SELECT f.path, f.data_offset, f.compressed_size, f.size, f.method, f.sha256, f.executable
     FROM packages AS k JOIN package_files AS f ON f.package = k.id WHERE k.sha256 = $1";

fn file(row: &Row) -> Result<PackageFile> {
    Ok(PackageFile {
        path: row.try_get(0)?,
        data_offset: unsigned(row, 1)?,
        compressed_size: unsigned(row, 2)?,
        size: unsigned(row, 3)?,
        method: match row.try_get(4)? {
            "stored" => Method::Stored,
            "deflate" => Method::Deflate,
            _ => return Err(Failure::Damaged("a method")),
        },
        sha256: row.try_get(5)?,
        executable: row.try_get(6)?,
    })
}

pub(super) async fn files(db: &Db, package: &Sha256) -> Result<Vec<PackageFile>> {
    let rows = db.rows(&format!("{SELECT} ORDER BY f.path"), &[package]).await?;
    rows.iter().map(file).collect()
}

pub(super) async fn find_file(db: &Db, package: &Sha256, path: &str) -> Result<Option<PackageFile>> {
    let row = db.row(&format!("{SELECT} AND f.path = $2"), &[package, &text(path)]).await?;
    row.as_ref().map(file).transpose()
}
