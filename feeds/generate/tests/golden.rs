//! One configuration, one sequence of bytes: on every platform, in debug and in release. When a change of the
//! generator is meant, these hashes change with it, in the same commit.

#![expect(clippy::unwrap_used, reason = "helpers of tests may fail loudly")]

use peregrine_generate::{GeneratorConfig, PacketConfig, Session, for_each_packet, write_binary_file};
use sha2::{Digest, Sha256};

fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn file_of(config: GeneratorConfig) -> Vec<u8> {
    let mut file = Vec::new();
    write_binary_file(&mut Session::new(config).unwrap(), &mut file).unwrap();
    file
}

#[test]
fn a_seed_gives_the_same_file_everywhere() {
    let file = file_of(GeneratorConfig::every_type(2_026, 12, 40_000));
    assert_eq!(hex(&Sha256::digest(&file)), "1f0d3eebc7b794ef943f53f86aac72de5bcc37d2e4d24c59230c237886a91d02");
}

#[test]
fn a_seed_gives_the_same_packets_everywhere() {
    let mut session = Session::new(GeneratorConfig::every_type(2_026, 12, 40_000)).unwrap();
    let mut hash = Sha256::new();
    for_each_packet(&mut session, &PacketConfig::faulty(2_026), |line, time, payload| {
        hash.update([line]);
        hash.update(time.0.to_le_bytes());
        hash.update(payload);
    })
    .unwrap();
    assert_eq!(hex(&hash.finalize()), "35e95d3e202d3aee0ef10966f02119b8c9ad04202465e56645a5cc1fed057556");
}

#[test]
fn another_seed_gives_another_session() {
    let file = |seed| file_of(GeneratorConfig::every_type(seed, 3, 1_000));
    assert!(file(1) == file(1) && file(1) != file(2));
}
