//! podman and buildah: built from a Containerfile, pushed, removed, and pulled back.

use std::fs;
use std::path::PathBuf;

use crate::harness::{ADMIN_TOKEN, Server};
use crate::layout;
use crate::tools::Desk;

/// Builds an image of two layers of real files, without running anything in it.
fn build(desk: &Desk, name: &str) {
    desk.write("context/bin/program", "#!/bin/sh\necho well tempered\n".repeat(300));
    desk.write("context/notes/read-me.txt", "Twenty-four preludes.\n");
    let steps =
        "COPY bin /opt/bin\nCOPY notes /opt/notes\nLABEL opus=28\nENTRYPOINT [\"/opt/bin/program\"]\n";
    desk.write("context/Containerfile", format!("FROM scratch\n{steps}"));
    desk.run(&format!("buildah build --quiet --layers --format oci --tag {name} context"));
}

/// Asserts that an image in podman's storage has the files of the build.
fn assert_files(desk: &Desk, image: &str) {
    let root = desk.run(&format!("podman image mount {image}"));
    let root = PathBuf::from(root.trim());
    for name in ["bin/program", "notes/read-me.txt"] {
        let pulled = fs::read(root.join("opt").join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(pulled, desk.read(&format!("context/{name}")), "{name}");
    }
    desk.run(&format!("podman image unmount {image}"));
}

/// The digest that a push or pull wrote to a file.
fn digest_in(desk: &Desk, name: &str) -> String {
    String::from_utf8(desk.read(name)).expect("a text").trim().to_owned()
}

#[tokio::test]
async fn podman_pulls_back_what_it_pushed() {
    let server = Server::start(&[]);
    let Some(desk) = Desk::logged_in(&server, "podman", &["buildah"]) else { return };
    build(&desk, "localhost/built:1.0");
    let remote = format!("{}/acme/image", server.address);
    desk.run(&format!("podman push --digestfile pushed localhost/built:1.0 {remote}:1.0"));
    let digest = digest_in(&desk, "pushed");
    let answer = server.admin().head("/v2/acme/image/manifests/1.0").await;
    assert_eq!(answer.header("docker-content-digest"), digest);
    assert_eq!(answer.header("content-type"), "application/vnd.oci.image.manifest.v1+json");

    for reference in [format!("{remote}:1.0"), format!("{remote}@{digest}")] {
        desk.run("podman rmi --all --force");
        assert_eq!(desk.run("podman images --quiet"), "", "nothing is left here");
        desk.run(&format!("podman pull --quiet {reference}"));
        let seen = desk.run_json(&format!("podman image inspect {reference}"));
        assert_eq!(seen[0]["Digest"], digest);
        assert_eq!(seen[0]["Labels"]["opus"], "28");
        assert_files(&desk, &reference);
    }
}

#[tokio::test]
async fn buildah_pulls_back_what_it_pushed() {
    let server = Server::start(&[]);
    let Some(desk) = Desk::logged_in(&server, "buildah", &["podman"]) else { return };
    build(&desk, "localhost/built:1.0");
    let remote = format!("{}/acme/image:1.0", server.address);
    desk.run(&format!("buildah push --digestfile pushed localhost/built:1.0 docker://{remote}"));
    let digest = digest_in(&desk, "pushed");
    // Built upon, so that the parts that are there already are not sent again.
    desk.write("context/more/index.txt", "One more.\n");
    desk.write("more/Containerfile", format!("FROM {remote}\nCOPY more /opt/more\n"));
    desk.run("buildah rmi --all --force");
    desk.run("buildah build --quiet --format oci --file more/Containerfile --tag localhost/more:1.0 context");
    let more = format!("{}/other/image:1.0", server.address);
    desk.run(&format!("buildah push --digestfile more.pushed localhost/more:1.0 docker://{more}"));

    let admin = server.admin();
    let layers = async |repository: &str| {
        let manifest = admin.get(&format!("/v2/{repository}/manifests/1.0")).await;
        let layers = manifest.json()["layers"].as_array().expect("layers").clone();
        (manifest.header("docker-content-digest").to_owned(), layers)
    };
    let (first, below) = layers("acme/image").await;
    let (second, above) = layers("other/image").await;
    assert_eq!([first, second], [digest, digest_in(&desk, "more.pushed")]);
    assert_eq!(above[..below.len()], below, "the same layers below");
    assert_eq!(above.len(), below.len() + 1);

    desk.run("buildah rmi --all --force");
    desk.run(&format!("buildah pull --quiet {more}"));
    assert_files(&desk, &more);
}

#[test]
fn a_wrong_password_is_refused_at_login() {
    let server = Server::start(&[]);
    let Some(desk) = Desk::new(&server, &["podman", "buildah"]) else { return };
    for program in ["podman", "buildah"] {
        let address = server.address;
        let login = format!("{program} login --username anyone --password-stdin {address}");
        let complaint = desk.fail_with_input(&login, "not-the-token");
        assert!(complaint.contains("invalid username/password"), "{program}: {complaint}");
        desk.fail(&format!("{program} login --get-login {address}"));
        desk.log_in(program);
        assert_eq!(desk.run(&format!("{program} login --get-login {address}")).trim(), "anyone");
        desk.run(&format!("{program} logout {address}"));
    }
}

/// P3: to a stranger a private repository looks like one that does not exist.
#[test]
fn a_stranger_pulls_what_is_public_and_nothing_else() {
    let server = Server::start(&[]);
    let Some(desk) = Desk::new(&server, &["podman", "skopeo", "umoci"]) else { return };
    layout::add_image(&desk, "made", "1.0", "amd64");
    let [public, private] =
        ["system", "acme"].map(|catalog| format!("{}/{catalog}/image:1.0", server.address));
    for image in [&public, &private] {
        desk.run(&format!("skopeo copy oci:made:1.0 docker://{image} --dest-creds anyone:{ADMIN_TOKEN}"));
    }
    let digest = layout::digest(&desk, "made", "1.0");
    desk.run(&format!("podman pull --quiet --arch amd64 {public}"));
    assert_eq!(desk.run_json(&format!("podman image inspect {public}"))[0]["Digest"], digest);
    let complaint = desk.fail(&format!("podman pull --quiet --arch amd64 {private}"));
    assert!(complaint.contains("unauthorized"), "{complaint}");
    let absent = format!("{}/acme/nothing:1.0", server.address);
    let other = desk.fail(&format!("podman pull --quiet --arch amd64 {absent}"));
    assert_eq!(other.replace("acme/nothing", "acme/image"), complaint, "what is not there looks the same");
    desk.fail(&format!("podman push {public} {public}"));
}
