//! The fuzz bodies under proptest: bytes at random, and legal input with a few bytes changed.

use peregrine_wire::fuzz;
use peregrine_wire::itch50::MessageType;
use peregrine_wire::moldudp64::{PacketBuilder, Session};
use proptest::prelude::*;

/// Messages of every type behind one byte of length, with codes that are often legal.
fn messages() -> impl Strategy<Value = Vec<u8>> {
    let code = prop::sample::select(b"BSYNHTQAC0123 \x00\x01".to_vec());
    let one = (prop::sample::select(MessageType::ALL.to_vec()), prop::collection::vec(code, 50), any::<bool>());
    prop::collection::vec(one, 0..20).prop_map(|list| {
        let mut bytes = Vec::new();
        for (message_type, filler, is_early) in list {
            let len = message_type.message_len();
            let start = bytes.len() + 1;
            bytes.push(u8::try_from(len).expect("messages are short"));
            bytes.extend_from_slice(&filler[..len]);
            bytes[start] = message_type.code();
            if is_early {
                bytes[start + 5] = 0;
            }
        }
        bytes
    })
}

fn changed(bytes: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    (bytes, prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3)).prop_map(
        |(mut bytes, changes)| {
            for (at, value) in changes.iter().filter(|_| !bytes.is_empty()).collect::<Vec<_>>() {
                let at = at.index(bytes.len());
                bytes[at] = *value;
            }
            bytes
        },
    )
}

fn packet() -> impl Strategy<Value = Vec<u8>> {
    (any::<u64>(), prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..8)).prop_map(|(number, list)| {
        let mut buffer = [0; 300];
        let mut builder = PacketBuilder::new(&mut buffer, Session(*b"0123456789"), number).expect("room");
        for message in &list {
            builder.push(message).expect("room");
        }
        builder.finish().to_vec()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn itch_holds(data in prop_oneof![changed(messages()), prop::collection::vec(any::<u8>(), 0..300)]) {
        fuzz::itch(&data);
    }

    #[test]
    fn moldudp64_holds(data in prop_oneof![changed(packet()), prop::collection::vec(any::<u8>(), 0..100)]) {
        fuzz::moldudp64(&data);
    }

    #[test]
    fn feed_holds(steps in prop::collection::vec((any::<u8>(), 0_u8..60, 0_u8..30, messages()), 0..40)) {
        let mut data = Vec::new();
        for (kind, time, number, body) in steps {
            let body = &body[..body.len().min(120)];
            data.extend_from_slice(&[kind, time, number, u8::try_from(body.len()).expect("short")]);
            data.extend_from_slice(body);
        }
        fuzz::feed(&data);
    }
}
