//! The fuzz bodies under proptest: bytes at random, and legal input with a few bytes changed.

use peregrine_gateway::fuzz;
use peregrine_gateway::ouch50::{Inbound, Outbound};
use peregrine_gateway::soup::PacketType;
use proptest::prelude::*;

fn changed(bytes: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    (bytes, prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3)).prop_map(
        |(mut bytes, changes)| {
            for (at, value) in changes {
                if !bytes.is_empty() {
                    let at = at.index(bytes.len());
                    bytes[at] = value;
                }
            }
            bytes
        },
    )
}

/// A message of either direction with an appendage of some options.
fn message() -> impl Strategy<Value = Vec<u8>> {
    let types: Vec<u8> = [Inbound::TYPES, Outbound::TYPES].concat();
    let fill = prop::sample::select(b"BSYNA0356PR 1\x00".to_vec());
    let option = (1_u8..32, prop::collection::vec(any::<u8>(), 0..9));
    let options = prop::option::of(prop::collection::vec(option, 0..4));
    (prop::sample::select(types), prop::collection::vec(fill, 0..66), options).prop_map(|(code, fill, options)| {
        let mut bytes = vec![code];
        bytes.extend(fill);
        if let Some(options) = options {
            let elements: Vec<u8> = options
                .iter()
                .flat_map(|(tag, value)| [&[u8::try_from(value.len() + 1).expect("short"), *tag], &value[..]].concat())
                .collect();
            bytes.extend(u16::try_from(elements.len()).expect("short").to_be_bytes());
            bytes.extend(elements);
        }
        bytes
    })
}

/// The length of a piece, then packets; often a login comes first.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let types: Vec<u8> = PacketType::ALL.iter().map(|packet_type| packet_type.code()).collect();
    let packet = (prop::sample::select(types), prop::collection::vec(any::<u8>(), 0..20));
    (any::<u8>(), 0..3, prop::collection::vec(packet, 0..10)).prop_map(|(piece, login, packets)| {
        let mut bytes = vec![piece];
        match login {
            0 => bytes.extend_from_slice(format!("\0\x1fA{:>10}{:>20}", 1, 1).as_bytes()),
            1 => bytes.extend_from_slice(format!("\0\x2fL{:>46}", 1).as_bytes()),
            _ => {}
        }
        for (code, payload) in packets {
            let payload = if b"HRZO".contains(&code) { &[][..] } else { &payload[..] };
            bytes.extend(u16::try_from(payload.len() + 1).expect("short").to_be_bytes());
            bytes.push(code);
            bytes.extend(payload);
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn ouch_holds(data in prop_oneof![changed(message()), prop::collection::vec(any::<u8>(), 0..100)]) {
        fuzz::ouch(&data);
    }

    #[test]
    fn ouch42_holds(data in prop_oneof![changed(message()), prop::collection::vec(any::<u8>(), 0..100)]) {
        fuzz::ouch42(&data);
    }

    #[test]
    fn soup_holds(data in prop_oneof![changed(stream()), prop::collection::vec(any::<u8>(), 0..100)]) {
        fuzz::soup(&data);
    }
}
