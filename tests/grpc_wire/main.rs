//! The gRPC wire: what clients have compiled into themselves, and the code made from `proto/`.
//!
//! No protobuf compiler has to be on a machine that builds the server: the code is committed, made
//! by this test with a compiler in Rust, and the test fails when it is not what `proto/` says now.
//! After a change there:
//!
//! ```sh
//! IMPETUS_RENEW=1 cargo test --test grpc_wire
//! ```
//!
//! The text files beside this one are what Triton's Python client sends and reads: every name, number
//! and type. Where it has moved on, write what its descriptors say into them, and change `proto/`.

// Nothing here is anybody else's interface.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]

mod facts;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use prost::Message;
use prost_types::FileDescriptorSet;
use tempfile::TempDir;

/// Where the messages and the server's half are.
const SERVER: &str = "src/grpc/proto/inference.rs";
/// Where the descriptors are that reflection shows.
const DESCRIPTORS: &str = "src/grpc/proto/inference.binpb";
/// Where the client's half is, which only tests need.
const CLIENT: &str = "tests/server/grpc/client/generated.rs";

fn repo() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Compiles what lies in `proto/`.
fn descriptors() -> FileDescriptorSet {
    protox::compile(["inference.proto"], [repo().join("proto")]).unwrap()
}

/// Returns the files that should be there, by their paths in the repository.
fn generated() -> Vec<(&'static str, Vec<u8>)> {
    let descriptors = descriptors();
    let server = generate(&descriptors, |builder| {
        // Tensors are taken out of a message without being copied.
        builder.build_client(false).bytes(".")
    });
    let client = generate(&descriptors, |builder| {
        builder
            .build_server(false)
            .build_transport(false)
            .extern_path(".inference", "::impetus::grpc::proto")
    });
    let mut bare = descriptors;
    for file in &mut bare.file {
        // Comments and places in the text: nobody asks for them over the wire.
        file.source_code_info = None;
    }
    vec![
        (SERVER, server),
        (CLIENT, client),
        (DESCRIPTORS, bare.encode_to_vec()),
    ]
}

fn generate(
    descriptors: &FileDescriptorSet,
    configure: impl FnOnce(tonic_prost_build::Builder) -> tonic_prost_build::Builder,
) -> Vec<u8> {
    let folder = TempDir::new().unwrap();
    let builder = tonic_prost_build::configure()
        .out_dir(folder.path())
        .emit_rerun_if_changed(false);
    configure(builder).compile_fds(descriptors.clone()).unwrap();
    fs::read(folder.path().join("inference.rs")).unwrap()
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "not the server's configuration, but an order to this test"
)]
fn the_committed_code_is_what_the_protocol_files_say() {
    let renew = std::env::var_os("IMPETUS_RENEW").is_some();
    for (name, wanted) in generated() {
        let path = repo().join(name);
        if renew {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, &wanted).unwrap();
        }
        let found = fs::read(&path).unwrap_or_default();
        assert!(
            found == wanted,
            "{name} is not what proto/ says; IMPETUS_RENEW=1 cargo test --test grpc_wire writes it"
        );
    }
}

fn ours(file: &str) -> BTreeSet<String> {
    let descriptors = descriptors();
    let file = descriptors.file.iter().find(|f| f.name() == file).unwrap();
    facts::of(file)
}

fn theirs(file: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(repo().join("tests/grpc_wire").join(file)).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(str::to_owned).collect()
}

#[test]
fn the_service_has_every_call_name_number_and_type_that_clients_have_and_no_other() {
    let (ours, theirs) = (ours("inference.proto"), theirs("inference.txt"));
    let missing: Vec<_> = theirs.difference(&ours).collect();
    let unknown: Vec<_> = ours.difference(&theirs).collect();
    assert!(
        missing.is_empty() && unknown.is_empty(),
        "missing: {missing:#?}\nunknown: {unknown:#?}"
    );
    assert!(ours.len() > 200, "only {} facts", ours.len());
}

/// There is the part of it that means something here.
#[test]
fn whatever_the_model_configuration_has_is_as_clients_have_it() {
    let (ours, theirs) = (ours("model_config.proto"), theirs("model_config.txt"));
    let unknown: Vec<_> = ours.difference(&theirs).collect();
    assert!(unknown.is_empty(), "unknown: {unknown:#?}");
    assert!(ours.len() > 80, "only {} facts", ours.len());
}
