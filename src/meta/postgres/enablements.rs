//! Which plugins the orchestrators of an organisation load.

use std::collections::HashMap;

use tokio_postgres::Row;
use uuid::Uuid;

use super::db::{Db, Parameters};
use super::failure::{Failure, Result};
use super::locks::{Lock, Mode};
use super::organisations;
use super::plugin_versions::{self, columns, record};
use super::rows::{now, text, time, unsigned};
use super::transaction::Work;
use crate::access::{Actor, SYSTEM_CATALOG};
use crate::meta::{
    Choice, ENABLEMENT_BYTES, ENABLEMENTS, Enabled, Enablement, NewEnablement, PLAN_BYTES, PluginRecord,
    SetEnablement, Which,
};
use crate::name::{RepositoryName, Tag};

pub(super) const FIND: &str =
    "SELECT catalog || '/' || pid, version, channel, accepted, package, schema, actor, updated_at
     FROM enablements WHERE organisation = $1 AND catalog = $2 AND pid = $3";
pub(super) const LIST: &str =
    "SELECT catalog || '/' || pid, version, channel, accepted, package, schema, actor, updated_at
     FROM enablements WHERE organisation = $1 ORDER BY pid, catalog = 'system'";

fn enablement(row: &Row) -> Result<Enablement> {
    Ok(Enablement {
        plugin: row.try_get(0)?,
        choice: match (row.try_get(1)?, row.try_get(2)?) {
            (Some(version), _) => Choice::Version(version),
            (None, Some(channel)) => Choice::Channel(channel),
            (None, None) => return Err(Failure::Damaged("no choice")),
        },
        accepted: row.try_get(3)?,
        accepted_package: row.try_get(4)?,
        accepted_metadata: row.try_get(5)?,
        actor: row.try_get(6)?,
        updated: time(row.try_get(7)?),
    })
}

/// What a choice leads to now, whatever the state of that is.
async fn led_to(db: &Db, plugin: &RepositoryName, choice: &Choice) -> Result<Option<PluginRecord>> {
    let which = match choice {
        Choice::Version(version) => Which::Version(version.clone()),
        Choice::Channel(channel) => Which::Channel(channel.clone()),
    };
    plugin_versions::find(db, plugin, &which).await
}

async fn find(db: &Db, organisation: &str, plugin: &RepositoryName) -> Result<Option<Enablement>> {
    let key: Parameters<'_> = &[&text(organisation), &plugin.catalog(), &plugin.without_catalog()];
    db.row(FIND, key).await?.as_ref().map(enablement).transpose()
}

/// To be asked of a snapshot.
pub(super) async fn find_enabled(
    db: &Db,
    organisation: &str,
    plugin: &RepositoryName,
) -> Result<Option<Enabled>> {
    let Some(enablement) = find(db, organisation, plugin).await? else { return Ok(None) };
    let now = led_to(db, &enablement.plugin, &enablement.choice).await?;
    Ok(Some(Enabled { enablement, now }))
}

/// What [`record`] reads but for the config document, then the place among the choices and the document's length.
/// Each choice is looked up by itself, as PostgreSQL does not know how few they are.
macro_rules! led_to {
    ($version:literal) => {
        concat!(
            "SELECT now.* FROM unnest($1::text[], $2::bytea[], $3::text[]) WITH ORDINALITY
                 AS chosen (name, precedence, channel, place) CROSS JOIN LATERAL
                 (SELECT ",
            columns!("r.name", "''", "p.listed AND p.shown = v.id"),
            ", chosen.place, octet_length(v.metadata)::bigint
                  FROM repositories AS r JOIN plugins AS p ON p.repository = r.id ",
            $version,
            " AND v.deleted_at IS NULL JOIN packages AS k ON k.id = v.package
                  WHERE r.name = chosen.name OFFSET 0) AS now"
        )
    };
}

/// The statement that reads what many choices lead to.
pub(super) const ALL_LED_TO: &str = concat!(
    led_to!("JOIN plugin_versions AS v ON v.repository = r.id AND v.precedence = chosen.precedence"),
    " UNION ALL ",
    led_to!(
        "JOIN tags AS t ON t.repository = r.id AND t.tag = chosen.channel
         JOIN plugin_versions AS v ON v.repository = r.id AND v.manifest = t.manifest"
    )
);

pub(super) const DOCUMENTS: &str = "SELECT id, metadata FROM plugin_versions WHERE id = ANY ($1)";

/// To be asked of a snapshot: all of it as of one moment.
pub(super) async fn list(db: &Db, organisation: &str) -> Result<Vec<Enabled>> {
    let rows = db.rows(LIST, &[&text(organisation)]).await?;
    let alone = |row| Ok(Enabled { enablement: enablement(row)?, now: None });
    let mut all: Vec<Enabled> = rows.iter().map(alone).collect::<Result<_>>()?;
    let mut left = PLAN_BYTES;
    let mut wanted: HashMap<Uuid, usize> = HashMap::new();
    for (place, record, bytes) in records(db, &all).await? {
        if let Some(rest) = left.checked_sub(bytes) {
            left = rest;
            wanted.insert(record.id, place);
        }
        all[place].now = Some(record);
    }
    let ids: Vec<Uuid> = wanted.keys().copied().collect();
    for row in db.rows(DOCUMENTS, &[&ids]).await? {
        let place = wanted.get(&row.try_get(0)?);
        if let Some(now) = place.and_then(|place| all[*place].now.as_mut()) {
            now.metadata = row.try_get(1)?;
        }
    }
    Ok(all)
}

/// What each of the choices leads to: its place, the record without its config document, and the length of that.
async fn records(db: &Db, all: &[Enabled]) -> Result<Vec<(usize, PluginRecord, usize)>> {
    let chosen = || all.iter().map(|enabled| &enabled.enablement);
    let plugins: Vec<&RepositoryName> = chosen().map(|chosen| &chosen.plugin).collect();
    let precedences: Vec<Option<Vec<u8>>> = chosen()
        .map(|chosen| match &chosen.choice {
            Choice::Version(version) => Some(version.sort_key()),
            Choice::Channel(_) => None,
        })
        .collect();
    let channels: Vec<Option<&Tag>> = chosen()
        .map(|chosen| match &chosen.choice {
            Choice::Version(_) => None,
            Choice::Channel(channel) => Some(channel),
        })
        .collect();
    let mut records = Vec::with_capacity(all.len());
    for row in db.rows(ALL_LED_TO, &[&plugins, &precedences, &channels]).await? {
        let place = usize::try_from(row.try_get::<_, i64>(14)? - 1).ok().filter(|place| *place < all.len());
        let bytes = usize::try_from(unsigned(&row, 15)?).unwrap_or(usize::MAX);
        records.push((place.ok_or(Failure::Damaged("a place"))?, record(&row)?, bytes));
    }
    // What comes first has room first.
    records.sort_by_key(|(place, ..)| *place);
    Ok(records)
}

/// What the enablements of an organisation count for, but for one of them.
pub(super) const OTHERS: &str =
    "SELECT count(*), coalesce(sum(octet_length(schema)), 0)::bigint FROM enablements
     WHERE organisation = $1 AND NOT (catalog = $2 AND pid = $3)";

pub(super) async fn set(
    work: &mut Work,
    organisation: &str,
    new: &NewEnablement,
    actor: &Actor,
) -> Result<SetEnablement> {
    let NewEnablement { plugin, choice, expected } = new;
    if ![organisation, SYSTEM_CATALOG].contains(&plugin.catalog()) {
        return Ok(SetEnablement::Unknown);
    }
    work.lock([(Lock::Enablements(organisation), Mode::Alone)]).await?;
    let known = find(work, organisation, plugin).await?;
    let Some(now) = led_to(work, plugin, choice).await? else { return Ok(SetEnablement::Unknown) };
    if !organisations::exists(work, organisation).await? {
        return Ok(SetEnablement::Unknown);
    }
    if expected.is_some_and(|expected| expected != now.package) {
        return Ok(SetEnablement::Differs(Box::new(now)));
    }
    if !now.is_usable() {
        return Ok(SetEnablement::Unusable(Box::new(now)));
    }
    let same = |known: &Enablement| known.choice == *choice && known.accepted_package == now.package;
    if let Some(enablement) = known.filter(same) {
        return Ok(SetEnablement::Set(Box::new(Enabled { enablement, now: Some(now) })));
    }
    if !admits(work, organisation, plugin, now.metadata.len()).await? {
        return Ok(SetEnablement::Full);
    }
    insert(work, organisation, new, &now, actor).await?;
    let object = match choice {
        Choice::Version(version) => format!("{plugin}:{version}"),
        Choice::Channel(channel) => format!("{plugin}:{channel}"),
    };
    work.tell(actor, "enablement.set", Some(organisation), &object);
    let enablement = find(work, organisation, plugin).await?.ok_or(Failure::Damaged("no enablement"))?;
    Ok(SetEnablement::Set(Box::new(Enabled { enablement, now: Some(now) })))
}

/// Whether an organisation may enable one more plugin with so many bytes of a config document.
async fn admits(db: &Db, organisation: &str, plugin: &RepositoryName, bytes: usize) -> Result<bool> {
    let key: Parameters<'_> = &[&organisation, &plugin.catalog(), &plugin.without_catalog()];
    let Some(row) = db.row(OTHERS, key).await? else { return Ok(true) };
    let more = |column| Ok::<_, Failure>(usize::try_from(unsigned(&row, column)?).unwrap_or(usize::MAX));
    Ok(more(0)? < ENABLEMENTS && more(1)?.saturating_add(bytes) <= ENABLEMENT_BYTES)
}

async fn insert(
    work: &Work,
    organisation: &str,
    NewEnablement { plugin, choice, .. }: &NewEnablement,
    accepted: &PluginRecord,
    actor: &Actor,
) -> Result<()> {
    let (version, channel) = match choice {
        Choice::Version(version) => (Some(version), None),
        Choice::Channel(channel) => (None, Some(channel)),
    };
    work.execute(
        "INSERT INTO enablements (organisation, catalog, pid, version, channel, accepted, package, schema, actor,
             updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
         ON CONFLICT (organisation, catalog, pid) DO UPDATE
         SET version = excluded.version, channel = excluded.channel, accepted = excluded.accepted,
             package = excluded.package, schema = excluded.schema, actor = excluded.actor,
             updated_at = excluded.updated_at",
        &[
            &organisation,
            &plugin.catalog(),
            &plugin.without_catalog(),
            &version,
            &channel,
            &accepted.version,
            &accepted.package,
            &accepted.metadata,
            &text(&actor.subject),
            &now(),
        ],
    )
    .await?;
    Ok(())
}

pub(super) async fn delete(
    work: &mut Work,
    organisation: &str,
    plugin: &RepositoryName,
    actor: &Actor,
) -> Result<bool> {
    work.lock([(Lock::Enablements(organisation), Mode::Alone)]).await?;
    let sql = "DELETE FROM enablements WHERE organisation = $1 AND catalog = $2 AND pid = $3";
    let key: Parameters<'_> = &[&text(organisation), &plugin.catalog(), &plugin.without_catalog()];
    let deleted = work.execute(sql, key).await?;
    if deleted > 0 {
        work.tell(actor, "enablement.delete", Some(organisation), plugin.as_str());
    }
    Ok(deleted > 0)
}
