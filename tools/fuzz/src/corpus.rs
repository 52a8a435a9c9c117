//! What mutations start from: the output of the project's own writers, and the heads of real files where there are any.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};

use anyhow::Context;
use flate2::{Compression, write::GzEncoder};
use peregrine_eventlog::records::{DecisionRecord, HistogramRecord, InputCheckpoint, OrderRecord};
use peregrine_eventlog::{EventLog, LogConfig, RunFacts};
use peregrine_generate::{GeneratorConfig, PacketConfig, Session, for_each_packet};
use peregrine_model::{FeatureSet, Model, ModelMeta, Size};
use peregrine_source::frame::FrameBuilder;
use peregrine_source::{ByteOrder, pcap as pcap_file, pcapng as pcapng_file};
use peregrine_types::{EpochNanos, Nanos};
use peregrine_wire::itch50::MessageType;
use peregrine_wire::mdp3;

pub(crate) type Inputs = anyhow::Result<Vec<Vec<u8>>>;

/// How much of a real file is taken, in bytes.
const HEAD_LEN: usize = 8 * 1024;
/// Messages of each type in the corpus.
const MESSAGES_PER_TYPE: usize = 4;
/// Packets of one generated capture.
const CAPTURE_PACKETS: usize = 24;

/// Messages of every type, a few of each, as a generated session has them (types that it seldom has: as zeros).
fn messages() -> anyhow::Result<Vec<Vec<u8>>> {
    let mut by_type: Vec<Vec<Vec<u8>>> = vec![Vec::new(); MessageType::COUNT];
    let mut session = Session::new(GeneratorConfig::every_type(1, 6, 4_000)).context("generated session")?;
    session.for_each_message(|_, message| {
        let kind = message.first().and_then(|code| MessageType::from_code(*code));
        if let Some(list) = kind.and_then(|kind| by_type.get_mut(kind.index()))
            && list.len() < MESSAGES_PER_TYPE
        {
            list.push(message.to_vec());
        }
    });
    for (kind, list) in MessageType::ALL.iter().zip(&mut by_type) {
        if list.is_empty() {
            let mut message = vec![0; kind.message_len()];
            message.iter_mut().take(1).for_each(|code| *code = kind.code());
            list.push(message);
        }
    }
    Ok(by_type.into_iter().flatten().collect())
}

/// Packets of a generated session with losses and heartbeats: time of arrival and payload.
fn packets() -> anyhow::Result<Vec<(EpochNanos, Vec<u8>)>> {
    let mut session = Session::new(GeneratorConfig::every_type(2, 3, 600)).context("generated session")?;
    let mut all = Vec::new();
    for_each_packet(&mut session, &PacketConfig::faulty(2), |_, time, payload| all.push((time, payload.to_vec())))
        .context("generated packets")?;
    // The session's head has the directory, its tail the end of session.
    let tail = all.split_off(all.len().saturating_sub(CAPTURE_PACKETS / 2));
    all.truncate(CAPTURE_PACKETS / 2);
    all.extend(tail);
    Ok(all)
}

/// Each behind one byte of length, singly and in rows.
///
/// # Errors
/// When the generator refuses its configuration.
pub fn itch() -> Inputs {
    let messages = messages()?;
    let framed = |message: &Vec<u8>| -> Vec<u8> {
        let len = u8::try_from(message.len()).unwrap_or(u8::MAX);
        core::iter::once(len).chain(message.iter().copied()).collect()
    };
    let mut inputs: Vec<Vec<u8>> = messages.iter().map(framed).collect();
    inputs.extend(messages.chunks(8).map(|row| row.iter().flat_map(framed).collect()));
    Ok(inputs)
}

/// One packet each.
///
/// # Errors
/// When the generator refuses its configuration.
pub fn moldudp64() -> Inputs {
    let mut inputs: Vec<Vec<u8>> = packets()?.into_iter().map(|(_, payload)| payload).collect();
    inputs.extend(real("pcap/nasdaq_itch50")?.into_iter().filter_map(|file| file.get(82..).map(<[u8]>::to_vec)));
    Ok(inputs)
}

/// One packet each: a message of every template that is acted on, with two entries in each group; all of them in one; and the
/// payloads of real ones.
///
/// # Errors
/// When a packet has no room for them.
pub fn mdp3() -> Inputs {
    // Template, length of the root, lengths of the entries: of the second group behind the longer dimension.
    let shapes: [(u16, usize, &[u8]); 9] = [
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
    let groups = |lens: &[u8]| -> Vec<u8> {
        let entries = |len: u8| vec![1; usize::from(len) * 2];
        let group = |(len, dimension): (u8, &[u8])| -> Vec<u8> {
            core::iter::once(len).chain(dimension.iter().copied()).chain(entries(len)).collect()
        };
        lens.iter().copied().zip([&[0, 2][..], &[0, 0, 0, 0, 0, 0, 2]]).flat_map(group).collect()
    };
    let (mut inputs, mut buffer) = (Vec::new(), vec![0; 4_096]);
    let full = |_| anyhow::anyhow!("the packet is full");
    for chosen in shapes.chunks(1).chain([&shapes[..]]) {
        let mut packet = mdp3::PacketBuilder::new(&mut buffer, 1, 1_536_753_600_000_000_000).map_err(full)?;
        for (template, root_len, lens) in chosen {
            packet.push(*template, 12, &vec![1; *root_len], &groups(lens)).map_err(full)?;
        }
        inputs.push(packet.finish().to_vec());
    }
    // Behind the headers of file, record, Ethernet, IP and UDP.
    inputs.extend(real("pcap/cme")?.into_iter().filter_map(|file| file.get(82..).map(<[u8]>::to_vec)));
    Ok(inputs)
}

/// Conversations of the fuzz body's own form: line and kind, time, number, length, bytes.
///
/// # Errors
/// When the generator refuses its configuration.
pub fn feed() -> Inputs {
    let messages = messages()?;
    let step = |(number, message): (usize, &Vec<u8>), kind: u8, stride: usize| -> Vec<u8> {
        let number = u8::try_from(1 + number * stride).unwrap_or(u8::MAX);
        let len = u8::try_from(message.len()).unwrap_or(u8::MAX);
        [kind, 11, number, len].into_iter().chain(message.iter().copied()).collect()
    };
    // Kinds: bits 0 and 1 the line, 2 to 4 heartbeat, end of session, raw, or how many blocks; 6 and 7 the session.
    let row = |kind: u8, stride: usize| -> Vec<u8> {
        messages.iter().take(24).enumerate().flat_map(|numbered| step(numbered, kind, stride)).collect()
    };
    let mut inputs: Vec<Vec<u8>> = [(0b1100, 1), (0b1101, 2), (0b0001_1100, 7)].map(|(kind, by)| row(kind, by)).into();
    let with_end = |mut row: Vec<u8>, kind: u8| {
        row.extend_from_slice(&[kind, 50, 25, 0]);
        row
    };
    inputs.push(with_end(row(0b1100, 1), 0b0100));
    inputs.push(with_end(with_end(row(0b1100, 2), 0b0000), 0b0100_0100));
    Ok(inputs)
}

/// Captures of both byte orders and units, with and without a VLAN tag.
///
/// # Errors
/// When the generator refuses its configuration.
pub fn pcap() -> Inputs {
    let mut inputs = Vec::new();
    for order in [ByteOrder::Little, ByteOrder::Big] {
        for fraction in [pcap_file::Fraction::Micros, pcap_file::Fraction::Nanos] {
            let layout = pcap_file::Layout { order, fraction, ..pcap_file::Layout::default() };
            let mut file = pcap_file::Writer::with_layout(Vec::new(), layout)?;
            for (time, frame) in frames()? {
                file.write_packet(time, &frame)?;
            }
            inputs.push(file.finish()?);
        }
    }
    inputs.extend(real("pcap/nasdaq_itch50")?);
    inputs.extend(real("pcap/iex")?);
    Ok(inputs)
}

/// Captures of both byte orders and two resolutions.
///
/// # Errors
/// When the generator refuses its configuration.
pub fn pcapng() -> Inputs {
    let mut inputs = Vec::new();
    for order in [ByteOrder::Little, ByteOrder::Big] {
        for (resolution, offset_secs) in [(pcapng_file::Resolution::NANOS, 0), (pcapng_file::Resolution(0x94), 3_600)] {
            let layout = pcapng_file::Layout { order, resolution, offset_secs, ..pcapng_file::Layout::default() };
            let mut file = pcapng_file::Writer::with_layout(Vec::new(), layout)?;
            for (time, frame) in frames()? {
                file.write_packet(time, &frame)?;
            }
            inputs.push(file.finish()?);
        }
    }
    inputs.extend(real("pcap/nasdaq_itch50")?);
    Ok(inputs)
}

fn frames() -> anyhow::Result<Vec<(EpochNanos, Vec<u8>)>> {
    let group = SocketAddrV4::new(Ipv4Addr::new(233, 54, 12, 111), 26_477);
    let plain = FrameBuilder::new(SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 1), 5_000), group);
    let mut builders = [plain.clone(), plain.with_vlan(7)];
    let mut all = Vec::new();
    for ((time, payload), which) in packets()?.into_iter().zip([0, 0, 1].into_iter().cycle()) {
        let mut frame = Vec::new();
        if let Some(builder) = builders.get_mut(which) {
            builder.build(&payload, &mut frame)?;
        }
        all.push((time, frame));
    }
    Ok(all)
}

/// Length-prefixed files with and without their end.
///
/// # Errors
/// When the generator refuses its configuration.
pub fn binaryfile() -> Inputs {
    let messages = messages()?;
    let mut inputs = Vec::new();
    for (row, has_end) in messages.chunks(12).zip([true, false].into_iter().cycle()) {
        let mut file = peregrine_source::binaryfile::Writer::new(Vec::new());
        for message in row {
            file.write_message(message)?;
        }
        inputs.push(if has_end { file.finish()? } else { file.finish_incomplete()? });
    }
    inputs.extend(real("itch")?);
    Ok(inputs)
}

/// Every kind of file as it is, and packed (also in two members).
///
/// # Errors
/// When the generator refuses its configuration.
pub fn gzip() -> Inputs {
    let plain =
        [binaryfile()?, pcap()?.into_iter().take(4).collect(), pcapng()?.into_iter().take(4).collect()].concat();
    let pack = |bytes: &[u8]| -> anyhow::Result<Vec<u8>> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes)?;
        Ok(encoder.finish()?)
    };
    let mut inputs = plain.iter().map(|file| pack(file)).collect::<anyhow::Result<Vec<_>>>()?;
    if let Some((first, second)) = plain.first().map(|file| file.split_at(file.len() / 2)) {
        inputs.push([pack(first)?, pack(second)?].concat());
    }
    inputs.extend(plain);
    Ok(inputs)
}

/// Segments of every stream: one with a few records, one with several blocks.
///
/// # Errors
/// When the log cannot be written to a temporary folder.
pub fn segment() -> Inputs {
    let mut inputs = Vec::new();
    for record_count in [3, 150] {
        let folder = tempfile::tempdir()?;
        let config = LogConfig {
            dir: folder.path().join("log"),
            staging_dir: Some(folder.path().to_path_buf()),
            staging_record_counts: [256; 4],
            segment_len_max: 1 << 20,
            stream_len_max: 1 << 24,
            sync_interval: Nanos::ZERO,
            is_memory_locked: false,
        };
        write_log(&config, record_count).context("event log")?;
        inputs.extend(read_files(&config.dir, usize::MAX)?);
    }
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../engine/eventlog/tests/golden/v1");
    if golden.is_dir() {
        inputs.extend(read_files(&golden, 1 << 15)?);
    }
    Ok(inputs)
}

fn write_log(config: &LogConfig, record_count: u64) -> anyhow::Result<()> {
    let facts = RunFacts {
        start_time: EpochNanos(1_700_000_000_000_000_000),
        host_flags: 5,
        config_hash: [1; 32],
        model_hash: [2; 32],
        binary_hash: [3; 32],
    };
    let mut log = EventLog::create(config, &facts)?;
    let full = |_| anyhow::anyhow!("the staging ring is full");
    for index in 0..record_count {
        log.feed.append(&InputCheckpoint { event_count: index, ..Default::default() }).map_err(full)?;
        log.decide.append(&DecisionRecord::default()).map_err(full)?;
        log.send.append(&OrderRecord::default()).map_err(full)?;
        log.measure.append(&HistogramRecord { count: index, ..Default::default() }).map_err(full)?;
    }
    drop((log.feed, log.decide, log.send, log.measure));
    log.recorder.close()?;
    Ok(())
}

/// The smallest model, and the head of it.
///
/// # Errors
/// When the model crate refuses its own metadata.
pub fn model_file() -> Inputs {
    let names = (0..Size::Nano.d()).map(|index| format!("f{index}")).collect();
    let meta = ModelMeta::untrained(Size::Nano, 1, FeatureSet::unscaled(names, &"0".repeat(64)));
    let file = Model::seeded_bytes(&meta).context("seeded model")?;
    let head = file.get(..4_096).unwrap_or(&file).to_vec();
    Ok(vec![file, head])
}

/// The heads of the files in a folder of the shared data; none, where there is no such folder.
pub(crate) fn real(part: &str) -> Inputs {
    let folder = data_folder().join(part);
    if folder.is_dir() { read_files(&folder, HEAD_LEN) } else { Ok(Vec::new()) }
}

/// Where real data is looked for.
#[must_use]
pub fn data_folder() -> PathBuf {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    std::env::var_os("PEREGRINE_DATA").map_or_else(beside, PathBuf::from)
}

/// Every file of `folder` in the order of their names, cut to `len_max` bytes.
fn read_files(folder: &Path, len_max: usize) -> Inputs {
    let list = || format!("cannot list {}", folder.display());
    let mut paths: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(list)? {
        let path = entry.with_context(list)?.path();
        if path.is_file() {
            paths.push(path);
        }
    }
    paths.sort();
    let read = |path: &PathBuf| -> anyhow::Result<Vec<u8>> {
        let mut bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        bytes.truncate(len_max);
        Ok(bytes)
    };
    paths.iter().map(read).collect()
}
