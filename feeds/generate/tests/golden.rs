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
    assert_eq!(hex(&Sha256::digest(&file)), "4f9ed72ce9a99eb99b95ac58d4e6b18b41c20de5792405bcf2ce7f294ad850ca");
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
    assert_eq!(hex(&hash.finalize()), "814a96a79253aaeb5d91a11ed8af1222b6ff60b4d72ca22a4c90c17244f35abc");
}

#[test]
fn another_seed_gives_another_session() {
    let file = |seed| file_of(GeneratorConfig::every_type(seed, 3, 1_000));
    assert!(file(1) == file(1) && file(1) != file(2));
}
