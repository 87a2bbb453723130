//! What PostgreSQL does for each operation of the store at a million tags and a million blobs: how it finds rows, and
//! how many it reads. The server itself logs the plans, with what they really met, of the very statements that ran.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::time::Duration;

use deadpool_postgres::{Manager, Pool, Runtime};
use quire::access::{Actor, CatalogScope, ReadScope};
use quire::digest::{Algorithm, Digest, Digests, Sha256};
use quire::meta::postgres::{PgCounters, PgMeta};
use quire::meta::{
    BlobRecord, Choice, DeleteOrganisation, MetaStore, MountSource, NewEnablement, PluginChange, PluginQuery,
    PluginStore, PutManifest, TagCondition, TagWrite, Upload, Which,
};
use quire::name::RepositoryName;
use quire::staging::Checkpoint;
use quire::version::Version;
use serde_json::Value;
use uuid::Uuid;

use crate::harness::postgres::{Database, cluster};
use crate::meta_laws::{actor, manifest, repository, tag};
use crate::plugin_laws::{package, publishing};

/// The tables, filled with sets of rows. Digests are of texts that the test can write, too.
const FILL: &str = "
    SET session_replication_role = replica;
    SET maintenance_work_mem = '256MB';
    INSERT INTO catalogs (id, name, created_at) SELECT 'c' || i, 'c' || i, 0 FROM generate_series(0, 19999) AS i;
    INSERT INTO catalog_usage SELECT 'c' || i, s, 1000, 10
        FROM generate_series(0, 999) AS i, generate_series(0, 15) AS s;
    INSERT INTO repositories (id, catalog, name, created_at) OVERRIDING SYSTEM VALUE
        SELECT i, 'c' || i % 100, 'c' || i % 100 || '/r' || i, 0 FROM generate_series(1, 50000) AS i;
    INSERT INTO blob_links (repository, catalog, sha256, size, created_at)
        SELECT i, 'c' || i % 100, sha256(convert_to('blob ' || i || ' ' || k, 'UTF8')), 7, 0
        FROM generate_series(1, 50000) AS i, generate_series(1, 20) AS k;
    INSERT INTO blob_links (repository, catalog, sha256, sha512, size, created_at)
        SELECT i, 'c' || i % 100, sha256('shared'), sha512('shared'), 7, 0 FROM generate_series(1, 10000) AS i;
    INSERT INTO manifests (repository, catalog, sha256, size, media_type, annotations, created_at)
        SELECT i, 'c' || i % 100, sha256(convert_to('manifest ' || i || ' ' || k, 'UTF8')), 9, 'm/m', '{}', 0
        FROM generate_series(1, 50000) AS i, generate_series(1, 2) AS k;
    INSERT INTO manifests (repository, catalog, sha256, size, media_type, artifact_type, subject, annotations,
            created_at)
        SELECT 1, 'c1', sha256(convert_to('referrer ' || k, 'UTF8')), 9, 'm/m', 'application/' || k % 100,
            'sha256:' || encode(sha256('subject'), 'hex'), '{}', 0 FROM generate_series(1, 50000) AS k;
    INSERT INTO manifest_references SELECT i, sha256(convert_to('manifest ' || i || ' ' || k, 'UTF8')),
            sha256(convert_to('blob ' || i || ' ' || k, 'UTF8')), 'blob'
        FROM generate_series(1, 50000) AS i, generate_series(1, 2) AS k;
    INSERT INTO tags SELECT i, 't' || k, sha256(convert_to('manifest ' || i || ' 1', 'UTF8')), 0
        FROM generate_series(1, 50000) AS i, generate_series(0, 9) AS k;
    INSERT INTO tags SELECT 1, 'big' || lpad(k::text, 6, '0'), sha256('manifest 1 1'), 0
        FROM generate_series(1, 500000) AS k;
    INSERT INTO tombstones SELECT i, 'old', sha256('x'), false, 0 FROM generate_series(1, 50000) AS i;
    INSERT INTO uploads SELECT gen_random_uuid(), 'c' || i % 100 || '/r' || i, 's', 5, '', 0, 1000000 + i
        FROM generate_series(1, 20000) AS i;
    INSERT INTO events SELECT 'c1', k, 'tag_set', 'c1/r1', 't' || k % 100, sha256('x'), NULL, 'x', 0
        FROM generate_series(1, 100000) AS k;
    UPDATE catalogs SET sequence = 100000 WHERE id = 'c1';
    INSERT INTO audit (at, actor, action, catalog, object, outcome, rule, request_id)
        SELECT 0, 'x', 'tag.set', 'c' || k % 1000, 'x', 'done', '', '' FROM generate_series(1, 100000) AS k;
    INSERT INTO api_tokens SELECT gen_random_uuid(), 't' || i, sha256(convert_to('token ' || i, 'UTF8')), NULL, 'x',
            0, NULL, NULL FROM generate_series(1, 20000) AS i;
    INSERT INTO token_grants SELECT id, 'c' || row_number() OVER () % 1000, 'publisher' FROM api_tokens;
    INSERT INTO packages (id, sha256, size) OVERRIDING SYSTEM VALUE
        SELECT i, sha256(convert_to('package ' || i, 'UTF8')), 9 FROM generate_series(1, 30000) AS i;
    INSERT INTO package_files SELECT i, 'f' || k, 0, 0, 0, 'stored',
            sha256(convert_to('file ' || i || ' ' || k, 'UTF8')), false
        FROM generate_series(1, 30000) AS i, generate_series(1, 3) AS k;
    INSERT INTO repositories (id, catalog, name, created_at) OVERRIDING SYSTEM VALUE
        SELECT 100000 + i, 'system', 'system/p' || lpad(i::text, 5, '0'), 0 FROM generate_series(1, 10000) AS i;
    SELECT setval(pg_get_serial_sequence('repositories', 'id'), 1000000);
    SELECT setval(pg_get_serial_sequence('packages', 'id'), 1000000);
    INSERT INTO plugin_versions (id, repository, version, precedence, release, manifest, package, created_at, metadata)
        SELECT gen_random_uuid(), 100000 + i, v.version, v.precedence, true,
            sha256(convert_to('plugin ' || i || ' ' || v.place, 'UTF8')), 3 * i - 3 + v.place, 0,
            '{\"pid\": \"x\", \"name\": \"x\", \"description\": \"x\", \"capabilities\": []}'
        FROM generate_series(1, 10000) AS i,
            unnest(ARRAY['1.0', '1.1', '2.0'], ARRAY[PRECEDENCES]::bytea[])
                WITH ORDINALITY AS v (version, precedence, place);
    INSERT INTO manifests (repository, catalog, sha256, size, media_type, artifact_type, annotations, created_at)
        SELECT repository, 'system', manifest, 9, 'm/m', 'application/vnd.quire.plugin.v1', '{}', 0
        FROM plugin_versions;
    INSERT INTO tags SELECT repository, version, manifest, 0 FROM plugin_versions;
    INSERT INTO tags SELECT repository, 'stable', manifest, 0 FROM plugin_versions WHERE version = '1.1';
    INSERT INTO plugins SELECT v.repository, 'system', split_part(r.name, '/', 2), v.id, true, 'words of ' || r.name
        FROM plugin_versions AS v JOIN repositories AS r ON r.id = v.repository WHERE v.version = '2.0';
    INSERT INTO plugin_facets SELECT 'system', true, 'tag', 'tag' || repository % 100, pid FROM plugins;
    INSERT INTO plugin_facets SELECT 'system', true, 'capability', 'can' || repository % 50, pid FROM plugins;
    INSERT INTO enablements SELECT 'c' || o, 'system', 'p' || lpad(i::text, 5, '0'),
            CASE i % 2 WHEN 0 THEN '1.0' END, CASE i % 2 WHEN 1 THEN 'stable' END, '1.0', sha256('x'), '{}', 'x', 0
        FROM generate_series(0, 49) AS o, generate_series(1, 200) AS i;
    INSERT INTO blocks SELECT sha256(convert_to('blocked ' || i, 'UTF8')), 'x', 'x', 0
        FROM generate_series(1, 1000) AS i;
    INSERT INTO blocked_digests SELECT sha256(convert_to('blocked ' || i || ' ' || k, 'UTF8')),
            sha256(convert_to('blocked ' || i, 'UTF8')) FROM generate_series(1, 1000) AS i, generate_series(1, 10) AS k;
    INSERT INTO commits SELECT (extract(epoch FROM now()) * 1000)::bigint, i FROM generate_series(1, 20000) AS i;
";

/// Most rows that a step of a plan may meet. The longest pages have 1000, and a row more says that others follow.
const MOST: f64 = 2100.0;
/// What has to look at all plugins of a catalog, or at all that is blocked, and so at more.
const READS_MUCH: [&str; 4] = ["with a word", "of some names", "facets", "a block"];
/// How often each operation runs: the server makes a plan for the values five times, and then one for all.
const TIMES: u32 = 8;

/// A store on one connection, which tells what it did.
struct Watched {
    store: PgMeta,
    log: PathBuf,
    read: RefCell<u64>,
    /// Tables with so many rows that nobody may read them from one end to the other.
    large: Vec<String>,
    checked: RefCell<usize>,
    wrong: RefCell<BTreeSet<String>>,
}

impl Watched {
    async fn new(database: &Database, log: PathBuf) -> Self {
        let large = "SELECT relname FROM pg_class WHERE relkind = 'r' AND reltuples > 5000
            AND relnamespace = 'public'::regnamespace";
        let large = database.sql(&[large]).lines().map(str::to_owned).collect();
        let manager = Manager::new(database.url().parse().unwrap(), tokio_postgres::NoTls);
        let pool = Pool::builder(manager).max_size(1).runtime(Runtime::Tokio1).build().unwrap();
        let telling =
            "LOAD 'auto_explain'; SET auto_explain.log_min_duration = 0; SET auto_explain.log_analyze = on;
            SET auto_explain.log_timing = off; SET auto_explain.log_format = json; SET log_statement = 'all';
            SET log_min_messages = log";
        pool.get().await.unwrap().batch_execute(telling).await.unwrap();
        let read = RefCell::new(log.metadata().unwrap().len());
        let store = PgMeta::new(pool, PgCounters::noop());
        Self { store, log, read, large, checked: RefCell::new(0), wrong: RefCell::default() }
    }

    /// What was logged since it was asked for last.
    fn told(&self) -> String {
        let mut file = std::fs::File::open(&self.log).unwrap();
        let mut read = self.read.borrow_mut();
        file.seek(SeekFrom::Start(*read)).unwrap();
        let mut text = String::new();
        *read += file.read_to_string(&mut text).unwrap() as u64;
        text
    }

    /// Runs an operation some times, and looks at every plan.
    async fn check(&self, what: &str, operation: impl AsyncFn(&PgMeta)) -> Vec<String> {
        self.told();
        for _ in 0..TIMES {
            operation(&self.store).await;
        }
        let told = self.told();
        let plans = plans(&told);
        assert!(plans.len() >= TIMES as usize, "{what}: {told}");
        for plan in &plans {
            self.check_step(what, plan, &plan["Plan"]);
        }
        *self.checked.borrow_mut() += plans.len();
        let statement = |line: &&str| line.contains("LOG:  execute ") || line.contains("LOG:  statement: ");
        told.lines().filter(statement).map(str::to_owned).collect()
    }

    fn check_step(&self, what: &str, plan: &Value, step: &Value) {
        let number = |name: &str| step[name].as_f64().unwrap_or(0.0);
        let removed = number("Rows Removed by Filter") + number("Rows Removed by Join Filter");
        let met = (number("Actual Rows") + removed) * number("Actual Loops");
        let how = (&step["Node Type"], &step["Relation Name"], &step["Index Name"]);
        if met > MOST && !READS_MUCH.iter().any(|much| what.contains(much)) {
            self.wrong(format!("{what} meets {met} rows in {how:?}: {}", named(plan)));
        }
        if let Some(table) = step["Relation Name"].as_str()
            && step["Node Type"] == "Seq Scan"
        {
            let is_all =
                what == "a block" && table == "blocked_digests" || what == "facets" && table == "plugins";
            if !is_all && self.large.iter().any(|large| large == table) {
                self.wrong(format!("{what} reads {table} from one end to the other: {}", named(plan)));
            }
        }
        for below in step["Plans"].as_array().into_iter().flatten() {
            self.check_step(what, plan, below);
        }
    }

    /// Everything that is wrong is told at the end, and each once.
    fn wrong(&self, what: String) {
        self.wrong.borrow_mut().insert(what);
    }

    /// One prepared statement each time, and nothing around it.
    async fn check_single(&self, what: &str, operation: impl AsyncFn(&PgMeta)) {
        // Prepared by the first call.
        operation(&self.store).await;
        let statements = self.check(what, operation).await;
        assert_eq!(statements.len(), TIMES as usize, "{what}: {statements:#?}");
        assert!(statements.iter().all(|line| line.contains("LOG:  execute s")), "{what}: {statements:#?}");
    }
}

/// The beginning of a statement.
fn named(plan: &Value) -> String {
    plan["Query Text"].as_str().unwrap_or_default().chars().take(120).collect()
}

/// The plans in a log: each follows the line that tells of it, with a tab before every line.
fn plans(log: &str) -> Vec<Value> {
    let mut plans = Vec::new();
    for part in log.split("  plan:\n").skip(1) {
        let lines = part.lines().take_while(|line| line.starts_with('\t'));
        plans.push(serde_json::from_str(&lines.collect::<String>()).unwrap());
    }
    plans
}

fn sha256(text: &str) -> Sha256 {
    Sha256::of(text.as_bytes())
}

fn digest(text: &str) -> Digest {
    sha256(text).into()
}

async fn filled() -> Option<(Watched, Database)> {
    let (database, log) = tokio::task::spawn_blocking(|| {
        let cluster = cluster()?;
        let database = cluster.database();
        let hex = |version: &str| {
            let key = version.parse::<Version>().unwrap().sort_key();
            format!("'\\x{}'", key.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
        };
        let precedences = ["1.0", "1.1", "2.0"].map(hex).join(", ");
        database.sql(&[&FILL.replace("PRECEDENCES", &precedences), "ANALYZE"]);
        Some((database, cluster.folder.join("log")))
    })
    .await
    .unwrap()?;
    Some((Watched::new(&database, log).await, database))
}

fn scope(catalogs: &[&str], globs: &[&str], repositories: &[&str]) -> ReadScope {
    let mut scopes: Vec<CatalogScope> = catalogs.iter().map(|catalog| CatalogScope::whole(catalog)).collect();
    scopes.extend(globs.iter().map(|glob| CatalogScope::matching(&glob.parse().unwrap())));
    ReadScope::Only {
        catalogs: scopes,
        repositories: repositories.iter().map(|name| repository(name)).collect(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_operation_finds_its_rows_at_a_million() {
    let Some((watched, _database)) = filled().await else { return };
    let (name, system): (RepositoryName, RepositoryName) = (repository("c1/r1"), repository("system/p00007"));
    pulls(&watched, &name).await;
    lists(&watched, &name).await;
    plugins(&watched, &system).await;
    pushes(&watched).await;
    decisions(&watched).await;
    assert!(*watched.checked.borrow() > 1000, "{}", watched.checked.borrow());
    assert!(watched.wrong.borrow().is_empty(), "{:#?}", watched.wrong.borrow());
}

/// What a pull asks is one statement, outside of any transaction.
async fn pulls(watched: &Watched, name: &RepositoryName) {
    for (kind, wanted) in [("t3", true), ("big400000", true), ("none", false)] {
        let what = format!("a pull by tag, {kind}");
        let found = async |store: &PgMeta| {
            assert_eq!(store.tag(name, &tag(kind)).await.unwrap().is_some(), wanted);
        };
        watched.check_single(&what, found).await;
    }
    let sha512 = Digest::Sha512(sha512_of_shared());
    for wanted in [digest("blob 1 3"), sha512, digest("nothing")] {
        let found = async |store: &PgMeta| _ = store.blob(name, &wanted).await.unwrap();
        watched.check_single("a pull of a blob", found).await;
    }
    for wanted in [digest("manifest 1 1"), sha512, digest("nothing")] {
        let found = async |store: &PgMeta| _ = store.manifest(name, &wanted).await.unwrap();
        watched.check_single("a pull of a manifest", found).await;
    }
    let scopes = [
        ("everything", ReadScope::Everything),
        ("nothing", ReadScope::nothing()),
        ("a catalog", scope(&["c7"], &[], &[])),
        ("a catalog without it", scope(&["c9999"], &[], &[])),
        ("repositories", scope(&[], &[], &["c1/r49901", "c7/r7"])),
        ("globs", scope(&[], &["c7/r?*".replace('?', "").as_str(), "c8/none*"], &[])),
        ("much", scope(&["c7", "c8", "c9999", "system"], &["c5/r1*"], &["c1/r49901"])),
    ];
    for (what, scope) in &scopes {
        for wanted in ["shared", "blob 7 1", "manifest 7 1", "nothing"] {
            let what = format!("a holder in {what} of {wanted}");
            let found = async |store: &PgMeta| {
                let found = store.holder(&sha256(wanted), scope).await.unwrap();
                assert!(found.is_none_or(|found| scope.contains(&found.repository)));
            };
            watched.check_single(&what, found).await;
        }
    }
    let secret = sha256("token 77");
    let known = async |store: &PgMeta| _ = store.token_by_secret(&secret).await.unwrap().unwrap();
    watched.check_single("a token", known).await;
    let version = async |store: &PgMeta| _ = store.access_version().await.unwrap();
    watched.check_single("the access version", version).await;
}

fn sha512_of_shared() -> [u8; 64] {
    let mut hasher = quire::digest::Hasher::new(Algorithm::Sha512);
    hasher.update(b"shared");
    match hasher.finish().sha512 {
        Some(sha512) => sha512,
        None => panic!("no SHA-512"),
    }
}

async fn lists(watched: &Watched, name: &RepositoryName) {
    for (after, limit) in [(None, 1000), (Some("big499990"), 1000), (Some("t"), 9), (Some("zzz"), 9)] {
        let page = async |store: &PgMeta| _ = store.tags(name, after, limit).await.unwrap().unwrap();
        watched.check("a list of tags", page).await;
    }
    for kind in [None, Some("application/7"), Some("none")] {
        for after in [None, Some(sha256("referrer 20000"))] {
            let page = async |store: &PgMeta| {
                _ = store.referrers(name, &digest("subject"), kind, after).await.unwrap();
            };
            watched.check(&format!("referrers of the type {kind:?}"), page).await;
        }
    }
    for scope in [
        ReadScope::Everything,
        scope(&["c7"], &[], &[]),
        scope(&["c7", "c8"], &["c1/r1*", "c3/**"], &["c1/r49901", "c1/none"]),
    ] {
        for after in [None, Some("c7/r30007")] {
            let page = async |store: &PgMeta| _ = store.repositories(&scope, after, 100).await.unwrap();
            watched.check(&format!("repositories in {scope:?}"), page).await;
        }
    }
    for after in [0, 50_000, 99_990] {
        let page = async |store: &PgMeta| _ = store.events("c1", after, 100).await.unwrap();
        watched.check("events", page).await;
        let among = [["c7".to_owned(), "c8".to_owned()]];
        for catalogs in [None, Some(among[0].as_slice())] {
            let page = async |store: &PgMeta| _ = store.audit(catalogs, after, 100).await.unwrap();
            watched.check("the audit log", page).await;
        }
    }
    for before in [None, Some(50_000)] {
        let page = async |store: &PgMeta| _ = store.tag_history(name, &tag("t7"), before, 50).await.unwrap();
        watched.check("the history of a tag", page).await;
    }
    let among = ["c7".to_owned(), "c8".to_owned()];
    for among in [None, Some(among.as_slice())] {
        let page = async |store: &PgMeta| _ = store.organisations(among, Some("c5"), 100).await.unwrap();
        watched.check("organisations", page).await;
        for after in [None, Some(Uuid::from_u128(u128::MAX / 2))] {
            let page = async |store: &PgMeta| _ = store.tokens(among, after, 100).await.unwrap();
            watched.check("tokens", page).await;
        }
    }
    let one = async |store: &PgMeta| _ = store.organisation("c7").await.unwrap().unwrap();
    watched.check("an organisation", one).await;
    let stale =
        async |store: &PgMeta| _ = store.stale_uploads(None, Duration::from_secs(60), 100).await.unwrap();
    watched.check("stale uploads", stale).await;
    let staged = async |store: &PgMeta| assert_eq!(store.staged_bytes("c7").await.unwrap(), 1000);
    watched.check("staged bytes", staged).await;
}

async fn plugins(watched: &Watched, name: &RepositoryName) {
    let scopes = vec![CatalogScope::whole("c7"), CatalogScope::whole("system")];
    let globs = vec![CatalogScope::matching(&"system/p0*".parse().unwrap())];
    let all = PluginQuery { scopes, limit: 100, ..PluginQuery::default() };
    let after = Some(("p05000".to_owned(), "system".to_owned()));
    for (what, query) in [
        ("all", all.clone()),
        ("behind one", PluginQuery { after: after.clone(), ..all.clone() }),
        ("disabled, too", PluginQuery { with_disabled: true, after: after.clone(), ..all.clone() }),
        ("of a tag", PluginQuery { tag: Some("tag7".into()), ..all.clone() }),
        ("of a capability", PluginQuery { capability: Some("can7".into()), after, ..all.clone() }),
        ("of a channel", PluginQuery { channel: Some(tag("stable")), ..all.clone() }),
        ("with a word", PluginQuery { words: vec!["p000".into()], limit: 50, ..all.clone() }),
        ("of some names", PluginQuery { scopes: globs, ..all.clone() }),
    ] {
        let page = async |store: &PgMeta| assert!(!store.plugins(&query).await.unwrap().items.is_empty());
        watched.check(&format!("plugins, {what}"), page).await;
    }
    let rare = PluginQuery { tag: Some("tag7".into()), ..all };
    let facets = async |store: &PgMeta| _ = store.plugin_facets(&rare).await.unwrap();
    watched.check("facets", facets).await;
    let channel = Which::Channel(tag("stable"));
    let version = |text: &str| text.parse::<Version>().unwrap();
    for which in
        [Which::Shown, Which::Version(version("1.1")), channel, Which::Manifest(sha256("plugin 7 1"))]
    {
        let one =
            async |store: &PgMeta| assert!(store.plugin(name, &which).await.unwrap().is_some(), "{which:?}");
        watched.check_single(&format!("a plugin, {which:?}"), one).await;
    }
    let id = watched.store.plugin(name, &Which::Shown).await.unwrap().unwrap().id;
    let one = async |store: &PgMeta| _ = store.plugin_by_id(id).await.unwrap().unwrap();
    watched.check_single("a plugin by its id", one).await;
    let below = version("2.0");
    for below in [None, Some(&below)] {
        let page = async |store: &PgMeta| _ = store.plugin_versions(name, below, 100).await.unwrap();
        watched.check_single("versions of a plugin", page).await;
    }
    let files =
        async |store: &PgMeta| assert_eq!(store.package_files(&sha256("package 7")).await.unwrap().len(), 3);
    watched.check_single("files of a package", files).await;
    let file =
        async |store: &PgMeta| _ = store.package_file(&sha256("package 7"), "f2").await.unwrap().unwrap();
    watched.check_single("a file of a package", file).await;
    let plan = async |store: &PgMeta| {
        let plan = store.enablements("c7").await.unwrap();
        assert!(plan.len() == 200 && plan.iter().all(|enabled| enabled.now.is_some()));
    };
    watched.check("a plan", plan).await;
    let one = async |store: &PgMeta| _ = store.enablement("c7", name).await.unwrap().unwrap();
    watched.check("an enablement", one).await;
    let page = async |store: &PgMeta| _ = store.blocks(Some(sha256("x")), 100).await.unwrap();
    watched.check_single("blocks", page).await;
}

async fn pushes(watched: &Watched) {
    let number = std::cell::Cell::new(0);
    let next = || {
        number.set(number.get() + 1);
        number.get()
    };
    let blob = |text: &str| BlobRecord { digests: Digests { sha256: sha256(text), sha512: None }, size: 7 };
    let upload = async |store: &PgMeta| {
        let id = Uuid::now_v7();
        let checkpoint = Checkpoint { offset: 0, hash_state: vec![] };
        let upload =
            Upload { id, repository: repository("c3/r3"), subject: "s".into(), checkpoint, home: None };
        store.create_upload(upload.clone()).await.unwrap();
        assert!(store.upload(id).await.unwrap().is_some());
        assert!(store.checkpoint_upload(id, upload.checkpoint).await.unwrap());
        let new = blob(&format!("new {}", next()));
        store.link_blob(&upload.repository, new, Some(id), &actor()).await.unwrap().unwrap();
    };
    watched.check("a push of a blob", upload).await;
    let mount = async |store: &PgMeta| {
        let name = repository(&format!("c4/mounted{}", next()));
        let scope = MountSource::Scope(scope(&["c8", "c9"], &["c7/r*"], &[]));
        store.mount_blob(&name, &digest("shared"), scope, &actor()).await.unwrap();
        let from = MountSource::Repository(repository("c7/r7"));
        store.mount_blob(&name, &digest("blob 7 1"), from, &actor()).await.unwrap();
    };
    watched.check("a mount", mount).await;
    let push = async |store: &PgMeta| {
        let mut new = manifest("c1/r1", 2_000_000 + next(), &[], &["moves", "t3", "big000007"]);
        new.manifest.references = (1..=20)
            .map(|k| {
                let digest = digest(&format!("blob 1 {k}"));
                quire::manifest::ManifestReference { digest, size: 7, target: quire::manifest::Target::Blob }
            })
            .collect();
        assert_eq!(store.check_manifest(&new).await.unwrap(), PutManifest::Stored);
        assert_eq!(store.put_manifest(new.clone()).await.unwrap(), PutManifest::Stored);
        let name = &new.repository;
        assert!(store.delete_tag(name, &tag("moves"), &actor()).await.unwrap());
        assert!(store.delete_manifest(name, &new.digests.sha256.into(), &actor()).await.unwrap());
    };
    watched.check("a push of a manifest", push).await;
    let unlink = async |store: &PgMeta| {
        let name = repository("c5/r5");
        assert!(
            store.unlink_blob(&name, &digest(&format!("blob 5 {}", next() % 16 + 1)), &actor()).await.is_ok()
        );
    };
    watched.check("a deletion of a blob", unlink).await;
    let write = async |store: &PgMeta| {
        let write = |tag: &str, to: &str| TagWrite {
            repository: repository("c2/r2"),
            tag: crate::meta_laws::tag(tag),
            digest: digest(to),
            condition: TagCondition::Any,
            may_move: true,
        };
        let to = format!("manifest 2 {}", next() % 2 + 1);
        store
            .write_tags(vec![write("t1", &to), write("t2", &to), write("new", &to)], &actor())
            .await
            .unwrap();
    };
    watched.check("tags", write).await;
    let publish = async |store: &PgMeta| {
        let plugin = package("p00009", &format!("3.{}", next()), "text");
        let new = publishing("system/p00009", &plugin, "", &["stable"]);
        assert_eq!(store.check_manifest(&new).await.unwrap(), PutManifest::Stored);
        assert_eq!(store.put_manifest(new).await.unwrap(), PutManifest::Stored);
    };
    watched.check("a plugin that is published", publish).await;
}

async fn decisions(watched: &Watched) {
    let by: Actor = actor();
    let name = repository("system/p00009");
    let id = watched.store.plugin(&name, &Which::Shown).await.unwrap().unwrap().id;
    let flip = std::cell::Cell::new(true);
    let change = async |store: &PgMeta| {
        flip.set(!flip.get());
        let change = PluginChange { enabled: Some(flip.get()), ..PluginChange::default() };
        store.change_plugin(id, change, &by).await.unwrap().unwrap();
    };
    watched.check("a change of a version", change).await;
    let enable = async |store: &PgMeta| {
        let new =
            NewEnablement { plugin: name.clone(), choice: Choice::Channel(tag("stable")), expected: None };
        store.set_enablement("c60", new, &by).await.unwrap();
        assert!(store.delete_enablement("c60", &name, &by).await.unwrap());
    };
    watched.check("an enablement", enable).await;
    let member = sha256("text");
    let block = async |store: &PgMeta| {
        store.block(member, "bad", &by).await.unwrap();
        assert!(store.unblock(&member, &by).await.unwrap());
    };
    watched.check("a block", block).await;
    let number = std::cell::Cell::new(0);
    let organisation = async |store: &PgMeta| {
        number.set(number.get() + 1);
        let id = format!("new{}", number.get());
        store.create_organisation(&id, "x", Some(&format!("{id}.test")), &by).await.unwrap();
        let change = quire::meta::OrganisationChange { name: Some("y".into()), ..Default::default() };
        store.update_organisation(&id, change, &by).await.unwrap();
        assert!(store.set_tag_rules(&id, vec![], &by).await.unwrap());
        store.tag_rules(&id).await.unwrap();
        assert_eq!(store.delete_organisation(&id, &by).await.unwrap(), DeleteOrganisation::Deleted);
        assert_eq!(store.delete_organisation("c2", &by).await.unwrap(), DeleteOrganisation::NotEmpty);
    };
    watched.check("an organisation", organisation).await;
}
