//! What is measured: the servers seeded with the same bytes, and the work that each of them is given.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use quire::digest::Sha256;
use serde_json::json;

use super::connection::Connection;
use super::load::{Flow, Pushes, noise, private_copy, pull, push, push_manifest};
use super::plugins;
use super::rounds::{Contender, Row, Workload};
use super::servers::{Server, find_program};

/// Seconds of one measurement.
const SECONDS: u64 = 1;
/// Bytes of a plugin.
const PLUGIN: usize = 10 * 1024 * 1024;
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Ratios that we want at least.
const AGAINST_NGINX: Option<f64> = Some(0.5);
const AGAINST_REGISTRY: Option<f64> = Some(3.0);
/// A credential costs at most 5 %.
const AGAINST_ANONYMOUS: Option<f64> = Some(0.95);
/// Sending a large blob is the kernel's work, for every server the same.
const LARGE_AGAINST_REGISTRY: Option<f64> = Some(1.0);

/// All servers, and the bytes that each of them has.
pub struct Peers {
    quire: Server,
    /// Another one, with a large catalog.
    catalog: Server,
    /// Two of the same, to see how far equal servers are apart.
    nginx: Option<[Server; 2]>,
    registry: Option<Server>,
    small: Vec<u8>,
    large: Vec<u8>,
    /// As large as a plugin.
    plugin: Vec<u8>,
    manifest: Vec<u8>,
}

impl Peers {
    /// Starts what is installed, with everything below the folder, and seeds it.
    pub fn start(folder: &Path) -> io::Result<Self> {
        let (small, large, plugin) = (noise(1024), noise(64 * 1024), noise(PLUGIN));
        let manifest = manifest(&small, &large);
        let files = folder.join("files");
        fs::create_dir(&files)?;
        for bytes in [&small, &large, &plugin, &manifest] {
            fs::write(files.join(Sha256::of(bytes).hex()), bytes)?;
        }
        let quire = Server::quire(&folder.join("quire"))?;
        let catalog = plugins::start(&folder.join("catalog"))?;
        let nginx = match find_program("nginx") {
            None => None,
            Some(program) => {
                let start = |name| Server::nginx(&program, &folder.join(name), &files);
                Some([start("nginx")?, start("nginx-again")?])
            }
        };
        let registry = find_program("docker-registry")
            .map(|program| Server::docker_registry(&program, &folder.join("docker-registry")));
        let registry = registry.transpose()?;
        for server in std::iter::once(&quire).chain(&registry) {
            let mut connection = Connection::open(server.address)?;
            for bytes in [&small, &large, &plugin] {
                push(&mut connection, Flow::Session, &Sha256::of(bytes).to_string(), bytes)?;
            }
            push_manifest(&mut connection, "latest", MANIFEST, &manifest)?;
        }
        Ok(Self { quire, catalog, nginx, registry, small, large, plugin, manifest })
    }

    pub fn workloads(&self) -> io::Result<Vec<Workload>> {
        let mut small = self.blob("GET 1 KiB", &self.small, AGAINST_REGISTRY)?;
        if let Some([_, again]) = &self.nginx {
            let path = format!("/{}", Sha256::of(&self.small).hex());
            small.contenders.push(pulls("nginx, again", again, &path, &self.small)?);
        }
        small.rows.insert(0, Row { ours: "nginx, again", peer: "nginx", goal: None });
        Ok(vec![
            small,
            self.blob("GET 64 KiB", &self.large, AGAINST_REGISTRY)?,
            self.blob("GET 10 MiB", &self.plugin, LARGE_AGAINST_REGISTRY)?,
            self.manifests()?,
            self.authorised()?,
            self.pushes("push 4 KiB, 8 clients", 4 * 1024, 8),
            self.pushes("push 10 MiB, 1 client", PLUGIN, 1),
            plugins::uploads(&self.quire),
            plugins::lists(&self.catalog, &self.quire, &self.manifest_path())?,
        ])
    }

    fn manifest_path(&self) -> String {
        format!("/v2/system/bench/manifests/{}", Sha256::of(&self.manifest))
    }

    fn blob(&self, name: &'static str, bytes: &[u8], against_registry: Option<f64>) -> io::Result<Workload> {
        let digest = Sha256::of(bytes);
        let immutable = format!("/blobs/sha256/{}", digest.hex());
        let v2 = format!("/v2/system/bench/blobs/{digest}");
        let mut contenders =
            vec![pulls("/blobs/", &self.quire, &immutable, bytes)?, pulls("/v2/", &self.quire, &v2, bytes)?];
        if let Some([nginx, _]) = &self.nginx {
            contenders.push(pulls("nginx", nginx, &format!("/{}", digest.hex()), bytes)?);
        }
        if let Some(registry) = &self.registry {
            contenders.push(pulls("docker-registry", registry, &v2, bytes)?);
        }
        let rows = vec![
            Row { ours: "/blobs/", peer: "nginx", goal: AGAINST_NGINX },
            Row { ours: "/v2/", peer: "nginx", goal: AGAINST_NGINX },
            Row { ours: "/v2/", peer: "docker-registry", goal: against_registry },
        ];
        Ok(Workload { name, contenders, rows })
    }

    /// What a credential costs: the same pull from a catalog that is public and from one that is not.
    fn authorised(&self) -> io::Result<Workload> {
        let public = Sha256::of(&self.small);
        let mut bytes = self.small.clone();
        bytes.reverse();
        let private = Sha256::of(&bytes);
        let mut connection = Connection::open(self.quire.address)?;
        let [token, short] = private_copy(&mut connection, &private.to_string(), &bytes)?;
        let pulls = |name, path: String, credential: Option<&str>, bytes: &[u8]| {
            let credential = credential.map(|credential| ("Authorization", format!("Bearer {credential}")));
            pulls_with(name, &self.quire, &path, credential.into_iter().collect(), bytes)
        };
        let contenders = vec![
            pulls("anonymous", format!("/v2/system/bench/blobs/{public}"), None, &self.small)?,
            pulls("API token", format!("/v2/acme/bench/blobs/{private}"), Some(&token), &bytes)?,
            pulls("short token", format!("/v2/acme/bench/blobs/{private}"), Some(&short), &bytes)?,
            pulls("anonymous, /blobs/", format!("/blobs/sha256/{}", public.hex()), None, &self.small)?,
            pulls("API token, /blobs/", format!("/blobs/sha256/{}", private.hex()), Some(&token), &bytes)?,
        ];
        let rows = vec![
            Row { ours: "API token", peer: "anonymous", goal: AGAINST_ANONYMOUS },
            Row { ours: "short token", peer: "anonymous", goal: AGAINST_ANONYMOUS },
            Row { ours: "API token, /blobs/", peer: "anonymous, /blobs/", goal: AGAINST_ANONYMOUS },
        ];
        Ok(Workload { name: "GET 1 KiB, authorised", contenders, rows })
    }

    fn manifests(&self) -> io::Result<Workload> {
        let bytes = &self.manifest;
        let digest = Sha256::of(bytes);
        let by_digest = format!("/v2/system/bench/manifests/{digest}");
        let by_tag = "/v2/system/bench/manifests/latest";
        let mut contenders = vec![
            pulls("by digest", &self.quire, &by_digest, bytes)?,
            pulls("by tag", &self.quire, by_tag, bytes)?,
        ];
        if let Some([nginx, _]) = &self.nginx {
            contenders.push(pulls("nginx", nginx, &format!("/{}", digest.hex()), bytes)?);
        }
        if let Some(registry) = &self.registry {
            contenders.push(pulls("docker-registry by digest", registry, &by_digest, bytes)?);
            contenders.push(pulls("docker-registry by tag", registry, by_tag, bytes)?);
        }
        let rows = vec![
            Row { ours: "by digest", peer: "nginx", goal: AGAINST_NGINX },
            Row { ours: "by tag", peer: "nginx", goal: AGAINST_NGINX },
            Row { ours: "by digest", peer: "docker-registry by digest", goal: AGAINST_REGISTRY },
            Row { ours: "by tag", peer: "docker-registry by tag", goal: AGAINST_REGISTRY },
        ];
        Ok(Workload { name: "GET manifest", contenders, rows })
    }

    fn pushes(&self, name: &'static str, bytes: usize, clients: usize) -> Workload {
        let contender = |name, server: &Server, flow| {
            let pushes = Pushes { address: server.address, flow, bytes, clients };
            Contender::new(name, move || pushes.run(Duration::from_secs(SECONDS)))
        };
        let mut contenders = vec![
            contender("POST + PUT", &self.quire, Flow::Session),
            contender("POST alone", &self.quire, Flow::Whole),
        ];
        // It does not take a blob in one POST.
        contenders
            .extend(self.registry.as_ref().map(|server| contender("docker-registry", server, Flow::Session)));
        let rows = vec![
            Row { ours: "POST + PUT", peer: "docker-registry", goal: AGAINST_REGISTRY },
            Row { ours: "POST alone", peer: "docker-registry", goal: None },
        ];
        Workload { name, contenders, rows }
    }
}

fn pulls(name: &'static str, server: &Server, path: &str, bytes: &[u8]) -> io::Result<Contender> {
    pulls_with(name, server, path, vec![("Accept", MANIFEST.to_owned())], bytes)
}

fn pulls_with(
    name: &'static str,
    server: &Server,
    path: &str,
    headers: Vec<(&'static str, String)>,
    bytes: &[u8],
) -> io::Result<Contender> {
    server.expect(path, &headers, bytes)?;
    let (address, path) = (server.address, path.to_owned());
    Ok(Contender::new(name, move || pull(address, &path, &headers, SECONDS)))
}

/// An image manifest with one blob as its config and the other as its layer.
fn manifest(config: &[u8], layer: &[u8]) -> Vec<u8> {
    let descriptor = |media_type: &str, bytes: &[u8]| json!({ "mediaType": media_type, "digest": Sha256::of(bytes).to_string(), "size": bytes.len() });
    json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor("application/vnd.oci.image.config.v1+json", config),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", layer)],
    })
    .to_string()
    .into_bytes()
}
