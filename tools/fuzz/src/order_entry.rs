//! What mutations of order entry start from: every OUCH message with and without options, sessions of SoupBinTCP, and
//! real packets where there are any.

use anyhow::Context;
use peregrine_gateway::ouch50::{Inbound, OptionTag, Outbound};
use peregrine_gateway::soup::{PacketType, header};

use crate::corpus::{Inputs, real};

/// Where the TCP payload of the real captures lies: file, record, Ethernet, IPv4 and TCP headers.
const REAL_OFFSET: usize = 24 + 16 + 14 + 20 + 20;

/// Messages of every type: blank, with an empty appendage, and with every option.
///
/// # Errors
/// Never: it has the form of the other corpora.
pub fn ouch() -> Inputs {
    let option = |tag: &OptionTag| {
        let len = u8::try_from(tag.value_len() + 1).unwrap_or(u8::MAX);
        [vec![len, tag.code()], vec![b'1'; tag.value_len()]].concat()
    };
    let options: Vec<u8> = OptionTag::ALL.iter().flat_map(option).collect();
    let len = u16::try_from(options.len()).unwrap_or(u16::MAX).to_be_bytes();
    let mut inputs = Vec::new();
    for code in Inbound::TYPES.iter().chain(Outbound::TYPES) {
        for fixed_len in fixed_lens(*code) {
            let fixed = [vec![*code], vec![b' '; fixed_len - 1]].concat();
            inputs.push(fixed.clone());
            inputs.push([&fixed[..], &[0, 0]].concat());
            inputs.push([&fixed[..], &len, &options].concat());
        }
    }
    let behind = REAL_OFFSET + 3;
    inputs.extend(real("pcap/nasdaq_ouch50")?.into_iter().filter_map(|file| file.get(behind..).map(<[u8]>::to_vec)));
    Ok(inputs)
}

/// OUCH 4.2: messages of every type, blank.
///
/// # Errors
/// Never: it has the form of the other corpora.
pub fn ouch42() -> Inputs {
    use peregrine_gateway::ouch42::{Inbound, Outbound};
    let mut inputs = Vec::new();
    for code in Inbound::TYPES.iter().chain(Outbound::TYPES) {
        for len in 1..100 {
            let bytes = [vec![*code], vec![b' '; len - 1]].concat();
            if Inbound::parse(&bytes).is_ok() && Inbound::TYPES.contains(code)
                || Outbound::parse(&bytes).is_ok() && Outbound::TYPES.contains(code)
            {
                inputs.push(bytes);
            }
        }
    }
    Ok(inputs)
}

/// OUCH 4.2: messages of a client behind one byte of length each, singly and in rows.
///
/// # Errors
/// As [`ouch42`].
pub fn port42() -> Inputs {
    let framed = |message: &Vec<u8>| -> Vec<u8> {
        let len = u8::try_from(message.len()).unwrap_or(u8::MAX);
        core::iter::once(len).chain(message.iter().copied()).collect()
    };
    let token = |name: u8| [name; 14];
    let order = |name: u8, side: u8, tif: u32, kind: &[u8; 3], cross: u8| -> Vec<u8> {
        let (shares, price) = (100_u32.to_be_bytes(), 10_000_u32.to_be_bytes());
        let head = [&b"O"[..], &token(name), &[side], &shares, b"11111111", &price, &tif.to_be_bytes()].concat();
        [&head[..], b"    ", kind, &[0; 4], &[cross], b"N"].concat()
    };
    let story = [
        order(b'1', b'B', 99_998, b"YAN", b'N'),
        order(b'2', b'S', 0, b"YAN", b'N'),
        order(b'3', b'S', 99_999, b"NPN", b'N'),
        order(b'4', b'T', 99_998, b"PAN", b'C'),
        [&b"U"[..], &token(b'3'), &token(b'5'), &90_u32.to_be_bytes(), &10_100_u32.to_be_bytes()]
            .concat()
            .into_iter()
            .chain([0, 1, 0x86, 0x9E, b'Y', b'N', 0, 0, 0, 0])
            .collect(),
        [&b"X"[..], &token(b'5'), &40_u32.to_be_bytes()].concat(),
        [&b"M"[..], &token(b'4'), b"E", &40_u32.to_be_bytes()].concat(),
        [&b"N"[..], &token(b'4')].concat(),
    ];
    let mut inputs: Vec<Vec<u8>> = story.iter().map(framed).collect();
    inputs.push(story.iter().flat_map(framed).collect());
    inputs.extend(ouch42()?.iter().map(framed));
    Ok(inputs)
}

/// The lengths of fixed parts that a type code has in either direction, found by asking.
fn fixed_lens(code: u8) -> Vec<usize> {
    let is_legal = |len: &usize| {
        let bytes = [vec![code], vec![0; len.saturating_sub(1)]].concat();
        let with_appendage = [&bytes[..], &[0, 0]].concat();
        (Inbound::TYPES.contains(&code) && Inbound::parse(&with_appendage).is_ok())
            || (Outbound::TYPES.contains(&code) && Outbound::parse(&bytes).is_ok())
            || (Outbound::TYPES.contains(&code) && Outbound::parse(&with_appendage).is_ok())
    };
    (1..100).filter(is_legal).collect()
}

/// Sessions of either side behind one byte that says how they are cut.
///
/// # Errors
/// When a packet is too long, which none is.
pub fn soup() -> Inputs {
    let packet = |packet_type: PacketType, payload: &[u8]| -> anyhow::Result<Vec<u8>> {
        let header = header(packet_type, payload.len()).context("a packet too long")?;
        Ok([&header[..], payload].concat())
    };
    let accepted = packet(PacketType::LoginAccepted, format!("{:>10}{:>20}", 1, 1).as_bytes())?;
    let login = packet(PacketType::LoginRequest, format!("{:>46}", 1).as_bytes())?;
    let mut server = accepted;
    let mut client = login;
    for (n, packet_type) in (0_u8..).zip(PacketType::ALL) {
        let payload = vec![n; usize::from(n) * 5];
        let is_data =
            matches!(packet_type, PacketType::SequencedData | PacketType::UnsequencedData | PacketType::Debug);
        let one = packet(*packet_type, if is_data { &payload } else { &[] })?;
        match packet_type {
            PacketType::UnsequencedData | PacketType::ClientHeartbeat | PacketType::Debug => client.extend(&one),
            PacketType::SequencedData | PacketType::ServerHeartbeat => server.extend(&one),
            PacketType::LoginAccepted
            | PacketType::LoginRejected
            | PacketType::EndOfSession
            | PacketType::LoginRequest
            | PacketType::LogoutRequest => {}
        }
    }
    client.extend(packet(PacketType::LogoutRequest, &[])?);
    server.extend(packet(PacketType::EndOfSession, &[])?);
    let mut inputs = Vec::new();
    for piece in [1_u8, 2, 7, 255] {
        for stream in [&server, &client] {
            inputs.push([&[piece], &stream[..]].concat());
        }
    }
    inputs
        .extend(real("pcap/nasdaq_ouch50")?.into_iter().filter_map(|file| file.get(REAL_OFFSET..).map(<[u8]>::to_vec)));
    Ok(inputs)
}

/// Messages of a client behind one byte of length each, singly and in rows.
///
/// # Errors
/// As [`ouch`].
pub fn port() -> Inputs {
    let framed = |message: &Vec<u8>| -> Vec<u8> {
        let len = u8::try_from(message.len()).unwrap_or(u8::MAX);
        core::iter::once(len).chain(message.iter().copied()).collect()
    };
    let order = |number: u32, side: u8, kind: &[u8], options: &[u8]| -> Vec<u8> {
        let shares = 100_u32.to_be_bytes();
        let price = 10_000_u64.to_be_bytes();
        let head = [&b"O"[..], &number.to_be_bytes(), &[side], &shares, b"11111111", &price, kind].concat();
        let len = u16::try_from(options.len()).unwrap_or(u16::MAX).to_be_bytes();
        [&head[..], &[b' '; 14], &len, options].concat()
    };
    let story = [
        order(1, b'B', b"0YANN", &[]),
        order(2, b'S', b"0YANN", &[2, 29, b'N']),
        order(3, b'S', b"5NPNN", &[5, 5, 0, 0, 0, 10]),
        order(4, b'T', b"0YPNC", &[]),
        [&b"U"[..], &[0, 0, 0, 1, 0, 0, 0, 5, 0, 0, 0, 90], &10_100_u64.to_be_bytes(), b"0YN", &[b' '; 14], &[0, 0]]
            .concat(),
        [&b"X"[..], &[0, 0, 0, 5, 0, 0, 0, 40]].concat(),
        [&b"M"[..], &[0, 0, 0, 4, b'E', 0, 0, 0, 40]].concat(),
        [&b"C"[..], &[0, 0, 0, 6], b"FIRM        ", &[0, 0]].concat(),
    ];
    let mut inputs: Vec<Vec<u8>> = story.iter().map(framed).collect();
    inputs.push(story.iter().flat_map(framed).collect());
    let rows = ouch()?;
    inputs.extend(rows.chunks(6).map(|row| row.iter().flat_map(framed).collect()));
    Ok(inputs)
}

/// Streams of FIX 4.4: a logon and messages of each kind, whole and behind what is garbled.
///
/// # Errors
/// Never: it has the form of the other corpora.
pub fn fix() -> Inputs {
    let message = |number: usize, msg_type: &str, fields: &str| -> Vec<u8> {
        let head = format!("35={msg_type}|49=CLIENT|56=VENUE|34={number}|52=20260105-14:30:00.000|{fields}");
        let body = head.replace('|', "\x01");
        let mut bytes = format!("8=FIX.4.4\x019={}\x01{body}", body.len()).into_bytes();
        let sum = peregrine_fix::check_sum(&bytes);
        bytes.extend_from_slice(format!("10={sum:03}\x01").as_bytes());
        bytes
    };
    let story = [
        ("A", "98=0|108=1|141=Y|"),
        ("D", "11=1|55=ALFA|54=1|60=20260105-14:30:00|38=100|40=2|44=10.01|59=0|"),
        ("F", "41=1|11=2|55=ALFA|54=1|60=20260105-14:30:00|38=100|"),
        ("G", "41=1|11=3|55=ALFA|54=1|60=20260105-14:30:00|38=90|40=2|44=10.02|"),
        ("8", "37=9|11=3|17=7|527=7|150=F|39=1|55=ALFA|54=1|32=40|31=10.02|151=50|14=40|6=10.02|"),
        ("9", "37=9|11=4|41=3|39=1|434=1|102=0|58=too late|"),
        ("j", "45=3|372=D|380=3|"),
        ("1", "112=HELLO|"),
        ("2", "7=1|16=0|"),
        ("3", "45=2|371=38|373=6|"),
        ("4", "43=Y|122=20260105-14:30:00|123=Y|36=12|"),
        ("0", "112=HELLO|"),
        ("5", "58=good night|"),
    ];
    let messages: Vec<Vec<u8>> =
        (1..).zip(story).map(|(number, (kind, fields))| message(number, kind, fields)).collect();
    let mut inputs = messages.clone();
    inputs.push(messages.concat());
    inputs.push(messages.join(&b"8=FIX.4.4\x019=99999\x0110=000\x01"[..]));
    inputs.extend(messages.windows(2).map(|pair| [&messages[0][..], &pair[1], &pair[0]].concat()));
    Ok(inputs)
}
