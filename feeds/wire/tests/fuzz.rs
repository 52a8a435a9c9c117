//! The fuzz bodies under proptest: bytes at random, and legal input with a few bytes changed.

use peregrine_wire::fuzz;
use peregrine_wire::itch50::MessageType;
use peregrine_wire::mdp3;
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

/// Template, length of its root, and entry lengths of its groups, the second with the longer dimension.
const MDP3_SHAPES: [(u16, usize, &[usize]); 9] = [
    (4, 9, &[2]),
    (12, 0, &[]),
    (30, 30, &[]),
    (46, 11, &[32, 24]),
    (47, 11, &[40]),
    (48, 11, &[32, 16]),
    (54, 224, &[9]),
    (64, 11, &[32, 24]),
    (65, 11, &[40, 16]),
];

/// A packet of MDP 3.0 whose bytes are few different ones, so that numbers of orders meet.
fn mdp3_packet() -> impl Strategy<Value = Vec<u8>> {
    let code = prop::sample::select(b"\0\0\0\0\0\0\0\0\0\0\0\x01\x01\x02\x03\x04\x0501EFJ\x7f\x80".to_vec());
    let filler = prop::collection::vec(code, 600);
    let one = (prop::sample::select(MDP3_SHAPES.to_vec()), filler, 0..4_u8, 0..4_u8);
    prop::collection::vec(one, 1..8).prop_map(|list| {
        let mut buffer = vec![0; 8_000];
        let mut packet = mdp3::PacketBuilder::new(&mut buffer, 1, 1_536_753_600_000_000_000).expect("room");
        for ((template, root_len, groups), filler, first, second) in list {
            let (root, mut filler) = filler.split_at(root_len);
            let mut bytes = Vec::new();
            for (entry_len, count) in groups.iter().zip([first, second]) {
                let dimension = if bytes.is_empty() { 3 } else { 8 };
                let start = bytes.len();
                bytes.resize(start + dimension, 0);
                bytes[start] = u8::try_from(*entry_len).expect("entries are short");
                bytes[start + dimension - 1] = count;
                let (entries, rest) = filler.split_at(entry_len * usize::from(count));
                bytes.extend_from_slice(entries);
                filler = rest;
            }
            packet.push(template, 12, root, &bytes).expect("room");
        }
        packet.finish().to_vec()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn mdp3_holds(data in prop_oneof![
        mdp3_packet(), changed(mdp3_packet()), prop::collection::vec(any::<u8>(), 0..100),
    ]) {
        fuzz::mdp3(&data);
    }

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
