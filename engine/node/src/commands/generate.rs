//! `peregrine generate`: the session generator, written as a file or as a capture with two lines.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};

use jiff::civil::Date;
use peregrine_generate::{
    GeneratorConfig, LineFaults, PacketConfig, Session, SessionReport, for_each_mdp3_packet, for_each_packet,
    write_binary_file,
};
use peregrine_source::frame::FrameBuilder;
use peregrine_source::{pcap, session};
use peregrine_wire::itch50::MessageType;
use serde_json::json;

use crate::cli::{GenerateArgs, GenerateFormat};
use crate::commands::replay::parse_date;
use crate::commands::{print, print_json};
use crate::exit::{Exit, Failure};
use crate::run::{hex, sha256_of_file};

/// Multicast groups of the two lines: addresses of the block that RFC 5771 keeps for documentation.
const GROUPS: [SocketAddrV4; 2] = [
    SocketAddrV4::new(Ipv4Addr::new(233, 252, 0, 1), 26_477),
    SocketAddrV4::new(Ipv4Addr::new(233, 252, 0, 2), 26_477),
];
/// Address of the sender: a block that RFC 5737 keeps for documentation.
const SENDER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 26_400);

pub(super) fn run(args: &GenerateArgs) -> Result<Exit, Failure> {
    let date = parse_date(&args.date)?;
    let mut config = config(args.seed, args.messages, args.symbol_count, date)?;
    config.standing_order_count = args.standing_orders;
    config.validate().map_err(Failure::usage)?;
    let (files, report) = match args.format {
        GenerateFormat::Itch => {
            refuse_line_options(args)?;
            (vec![args.out.clone()], write_itch(config, &args.out)?)
        }
        GenerateFormat::Pcap | GenerateFormat::Mdp3 => write_pcap(config, args)?,
    };
    conclude(args, &files, &report)
}

/// A file has no lines: whoever asks for some meant a capture.
fn refuse_line_options(args: &GenerateArgs) -> Result<(), Failure> {
    let given = [
        ("lines", args.lines.is_some()),
        ("loss", args.loss.is_some()),
        ("duplication", args.duplication.is_some()),
        ("reordering", args.reordering.is_some()),
    ];
    match given.into_iter().find(|(_, is_given)| *is_given) {
        Some((name, _)) => Err(Failure::usage(format_args!("--{name} is about captures; add --format pcap or mdp3"))),
        None => Ok(()),
    }
}

/// The configuration of a regular day of these sizes.
pub(super) fn config(seed: u64, messages: u64, symbols: u32, date: Date) -> Result<GeneratorConfig, Failure> {
    let midnight = session::session_midnight(date, session::NASDAQ_ZONE).map_err(Failure::usage)?;
    let config =
        GeneratorConfig { midnight, symbol_count: symbols, message_count: messages, ..GeneratorConfig::demo(seed) };
    config.validate().map_err(Failure::usage)?;
    Ok(config)
}

/// Writes a session as a length-prefixed file.
pub(super) fn write_itch(config: GeneratorConfig, out: &Path) -> Result<SessionReport, Failure> {
    let mut session = Session::new(config).map_err(Failure::usage)?;
    let mut writer = create(out)?;
    write_binary_file(&mut session, &mut writer)
        .and_then(|report| writer.flush().map(|()| report))
        .map_err(|error| write_failed(out, &error))
}

fn write_pcap(config: GeneratorConfig, args: &GenerateArgs) -> Result<(Vec<PathBuf>, SessionReport), Failure> {
    let lines = args.lines.unwrap_or(2);
    if !(1..=2).contains(&lines) {
        return Err(Failure::usage(format_args!("--lines {lines}: a capture has 1 or 2 lines")));
    }
    let packets = packet_config(args, lines)?;
    let files: Vec<PathBuf> = [args.out.clone(), line_b(&args.out)].into_iter().take(usize::from(lines)).collect();
    let mut writers = Vec::new();
    for file in &files {
        writers.push(pcap::Writer::new(create(file)?).map_err(|error| write_failed(file, &error))?);
    }
    let mut builders = GROUPS.map(|group| FrameBuilder::new(SENDER, group));
    let midnight = config.midnight;
    let mut session = Session::new(config).map_err(Failure::usage)?;
    let (mut frame, mut failed) = (Vec::with_capacity(2_048), None);
    let on_packet = |line, time, payload: &[u8]| {
        let line = usize::from(line);
        let (Some(writer), Some(builder)) = (writers.get_mut(line), builders.get_mut(line)) else { return };
        if failed.is_none() {
            let built = builder.build(payload, &mut frame).map_err(std::io::Error::other);
            failed = built.and_then(|()| writer.write_packet(time, &frame)).err().map(|error| (line, error));
        }
    };
    if args.format == GenerateFormat::Mdp3 {
        for_each_mdp3_packet(&mut session, midnight, &packets, on_packet).map_err(Failure::usage)?;
    } else {
        for_each_packet(&mut session, &packets, on_packet).map_err(Failure::usage)?;
    }
    if let Some((line, error)) = failed {
        return Err(write_failed(files.get(line).unwrap_or(&args.out), &error));
    }
    for (writer, file) in writers.into_iter().zip(&files) {
        writer.finish().map_err(|error| write_failed(file, &error))?;
    }
    Ok((files, session.report()))
}

fn packet_config(args: &GenerateArgs, lines: u8) -> Result<PacketConfig, Failure> {
    let ppm = |name: &str, percent: Option<f64>| -> Result<u32, Failure> {
        let percent = percent.unwrap_or(0.0);
        if !(0.0..=100.0).contains(&percent) {
            return Err(Failure::usage(format_args!("--{name} {percent} is no percentage; give 0 to 100")));
        }
        let text = format!("{percent:.4}");
        let scaled = peregrine_types::parse_decimal(&text).map_err(Failure::usage)? / 100_000;
        u32::try_from(scaled).map_err(Failure::usage)
    };
    let clean = PacketConfig::clean(args.seed);
    let faults = |line: LineFaults| -> Result<LineFaults, Failure> {
        Ok(LineFaults {
            loss_ppm: ppm("loss", args.loss)?,
            duplicate_ppm: ppm("duplication", args.duplication)?,
            reorder_ppm: ppm("reordering", args.reordering)?,
            ..line
        })
    };
    let (a, b) = clean.lines;
    let b = b.filter(|_| lines == 2).map(faults).transpose()?;
    Ok(PacketConfig { lines: (faults(a)?, b), ..clean })
}

/// `day.pcap` → `day.b.pcap`.
fn line_b(path: &Path) -> PathBuf {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some(extension) => path.with_extension(format!("b.{extension}")),
        None => path.with_extension("b"),
    }
}

fn create(path: &Path) -> Result<BufWriter<File>, Failure> {
    let file = File::create(path)
        .map_err(|error| Failure::file("create", path, &error, "give a path in a folder that can be written"))?;
    Ok(BufWriter::with_capacity(1 << 20, file))
}

fn write_failed(path: &Path, error: &std::io::Error) -> Failure {
    Failure::file("write", path, error, "make room on the disk and run it again")
}

fn conclude(args: &GenerateArgs, files: &[PathBuf], report: &SessionReport) -> Result<Exit, Failure> {
    let mut hashes = Vec::new();
    for file in files {
        let (len, sha256) = sha256_of_file(file)?;
        hashes.push((file.display().to_string(), len, hex(&sha256)));
    }
    let counts = MessageType::ALL.iter().map(|kind| (char::from(kind.code()).to_string(), report.count_of(*kind)));
    if args.json {
        let files: Vec<_> =
            hashes.iter().map(|(path, len, sha256)| json!({"path": path, "len": len, "sha256": sha256})).collect();
        let counts: serde_json::Map<_, _> = counts.map(|(code, count)| (code, json!(count))).collect();
        print_json(
            &json!({"seed": args.seed, "files": files, "message_count": report.message_count(), "messages": counts}),
        )?;
        return Ok(Exit::Done);
    }
    let mut text = format!(
        "seed {}, {} messages, {} symbols\n",
        args.seed,
        peregrine_report::format::count(report.message_count()),
        args.symbol_count
    );
    for (path, len, sha256) in hashes {
        text.push_str(&format!("{path}  {}  sha256 {sha256}\n", peregrine_report::format::bytes(len)));
    }
    if args.format == GenerateFormat::Itch {
        text.push_str(&format!(
            "session of {date}: a file has no date, so read it with --date {date}\n",
            date = args.date
        ));
    }
    print(&text)?;
    Ok(Exit::Done)
}
