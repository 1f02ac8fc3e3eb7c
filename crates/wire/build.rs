//! Compiles the protocol's .proto files to Rust without needing `protoc` on the machine.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    const ROOT: &str = "../../proto";
    const FILES: [&str; 5] = [
        "slipstream/v1/handshake.proto",
        "slipstream/v1/catalog.proto",
        "slipstream/v1/changes.proto",
        "slipstream/v1/contents.proto",
        "slipstream/v1/snapshots.proto",
    ];
    println!("cargo::rerun-if-changed={ROOT}");
    let descriptors = protox::compile(FILES, [ROOT])?;
    // `bytes` fields as `Bytes`: a document's source is a slice of the block that it came in, never a copy.
    tonic_prost_build::configure()
        .bytes(".")
        .compile_fds(descriptors)?;
    Ok(())
}
