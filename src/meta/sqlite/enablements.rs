//! Which plugins the orchestrators of an organisation load.

use std::time::SystemTime;

use rusqlite::{Connection, OptionalExtension, Row};

use super::plugin_versions::{self, version};
use super::repositories::name;
use super::rows::{damaged, millis, sha256, time};
use super::{audit, organisations};
use crate::access::{Actor, SYSTEM_CATALOG};
use crate::meta::{
    Choice, ENABLEMENT_BYTES, ENABLEMENTS, Enabled, Enablement, NewEnablement, PLAN_BYTES, PluginRecord,
    SetEnablement, Which,
};
use crate::name::RepositoryName;

const COLUMNS: &str =
    "catalog || '/' || pid, version, channel, accepted, package, schema, actor, updated_at FROM enablements";

fn enablement(row: &Row<'_>) -> rusqlite::Result<Enablement> {
    let chosen = |column: usize| row.get::<_, Option<String>>(column);
    Ok(Enablement {
        plugin: name(&row.get::<_, String>(0)?)?,
        choice: match (chosen(1)?, chosen(2)?) {
            (Some(text), _) => Choice::Version(version(&text)?),
            (None, Some(tag)) => Choice::Channel(tag.parse().map_err(|_| damaged("a tag"))?),
            (None, None) => return Err(damaged("no choice")),
        },
        accepted: version(&row.get::<_, String>(3)?)?,
        accepted_package: sha256(&row.get::<_, Vec<u8>>(4)?)?,
        accepted_metadata: row.get(5)?,
        actor: row.get(6)?,
        updated: time(row.get(7)?),
    })
}

/// What a choice leads to now, whatever the state of that is.
fn led_to(
    db: &Connection,
    plugin: &RepositoryName,
    choice: &Choice,
) -> rusqlite::Result<Option<PluginRecord>> {
    let which = match choice {
        Choice::Version(version) => Which::Version(version.clone()),
        Choice::Channel(channel) => Which::Channel(channel.clone()),
    };
    plugin_versions::find(db, plugin, &which)
}

fn find(
    db: &Connection,
    organisation: &str,
    plugin: &RepositoryName,
) -> rusqlite::Result<Option<Enablement>> {
    let sql = format!("SELECT {COLUMNS} WHERE organisation = ?1 AND catalog = ?2 AND pid = ?3");
    let key = (organisation, plugin.catalog(), plugin.without_catalog());
    db.prepare_cached(&sql)?.query_row(key, enablement).optional()
}

pub(super) fn find_enabled(
    db: &Connection,
    organisation: &str,
    plugin: &RepositoryName,
) -> rusqlite::Result<Option<Enabled>> {
    let _snapshot = db.unchecked_transaction()?;
    let Some(enablement) = find(db, organisation, plugin)? else { return Ok(None) };
    let now = led_to(db, &enablement.plugin, &enablement.choice)?;
    Ok(Some(Enabled { enablement, now }))
}

pub(super) fn list(db: &Connection, organisation: &str) -> rusqlite::Result<Vec<Enabled>> {
    // All of it as of one moment.
    let _snapshot = db.unchecked_transaction()?;
    let sql = format!("SELECT {COLUMNS} WHERE organisation = ?1 ORDER BY pid, catalog = 'system'");
    let mut statement = db.prepare_cached(&sql)?;
    let rows = statement.query_map((organisation,), enablement)?;
    let mut left = PLAN_BYTES;
    rows.map(|row| {
        let enablement = row?;
        let mut now = led_to(db, &enablement.plugin, &enablement.choice)?;
        if let Some(now) = &mut now {
            match left.checked_sub(now.metadata.len()) {
                Some(rest) => left = rest,
                None => now.metadata = String::new(),
            }
        }
        Ok(Enabled { enablement, now })
    })
    .collect()
}

pub(super) fn set(
    db: &Connection,
    organisation: &str,
    new: &NewEnablement,
    actor: &Actor,
) -> rusqlite::Result<SetEnablement> {
    let NewEnablement { plugin, choice, expected } = new;
    if ![organisation, SYSTEM_CATALOG].contains(&plugin.catalog()) {
        return Ok(SetEnablement::Unknown);
    }
    let known = find(db, organisation, plugin)?;
    let Some(now) = led_to(db, plugin, choice)? else { return Ok(SetEnablement::Unknown) };
    if organisations::find(db, organisation)?.is_none() {
        return Ok(SetEnablement::Unknown);
    }
    if expected.is_some_and(|expected| expected != now.package) {
        return Ok(SetEnablement::Differs(Box::new(now)));
    }
    if !now.is_usable() {
        return Ok(SetEnablement::Unusable(Box::new(now)));
    }
    let same = |known: &Enablement| known.choice == *choice && known.accepted_package == now.package;
    if let Some(enablement) = known.clone().filter(same) {
        return Ok(SetEnablement::Set(Box::new(Enabled { enablement, now: Some(now) })));
    }
    let (others, bytes): (usize, usize) = db
        .prepare_cached(
            "SELECT count(*), coalesce(sum(octet_length(schema)), 0) FROM enablements
             WHERE organisation = ?1 AND NOT (catalog = ?2 AND pid = ?3)",
        )?
        .query_row((organisation, plugin.catalog(), plugin.without_catalog()), |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    if others >= ENABLEMENTS || bytes.saturating_add(now.metadata.len()) > ENABLEMENT_BYTES {
        return Ok(SetEnablement::Full);
    }
    let (chosen, channel) = match choice {
        Choice::Version(version) => (Some(version.as_str()), None),
        Choice::Channel(channel) => (None, Some(channel.as_str())),
    };
    db.prepare_cached(
        "INSERT INTO enablements (organisation, catalog, pid, version, channel, accepted, package, schema, actor,
             updated_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
         ON CONFLICT (organisation, catalog, pid) DO UPDATE
         SET version = excluded.version, channel = excluded.channel, accepted = excluded.accepted,
             package = excluded.package, schema = excluded.schema, actor = excluded.actor,
             updated_at = excluded.updated_at",
    )?
    .execute((
        organisation,
        plugin.catalog(),
        plugin.without_catalog(),
        chosen,
        channel,
        now.version.as_str(),
        now.package.0,
        &now.metadata,
        &actor.subject,
        millis(SystemTime::now()),
    ))?;
    let object = match choice {
        Choice::Version(version) => format!("{plugin}:{version}"),
        Choice::Channel(channel) => format!("{plugin}:{channel}"),
    };
    audit::done(db, actor, "enablement.set", Some(organisation), &object)?;
    let enablement = find(db, organisation, plugin)?.ok_or_else(|| damaged("no enablement"))?;
    Ok(SetEnablement::Set(Box::new(Enabled { enablement, now: Some(now) })))
}

pub(super) fn delete(
    db: &Connection,
    organisation: &str,
    plugin: &RepositoryName,
    actor: &Actor,
) -> rusqlite::Result<bool> {
    let deleted = db
        .prepare_cached("DELETE FROM enablements WHERE organisation = ?1 AND catalog = ?2 AND pid = ?3")?
        .execute((organisation, plugin.catalog(), plugin.without_catalog()))?;
    if deleted > 0 {
        audit::done(db, actor, "enablement.delete", Some(organisation), plugin.as_str())?;
    }
    Ok(deleted > 0)
}
