//! A session as a length-prefixed file (Nasdaq BinaryFILE): big-endian u16 length and message, over and over, closed by
//! a record of length zero.

use std::io::{self, Write};

use crate::session::{Session, SessionReport};

/// Writes every message that is left of `session`, and the end-of-session record. Writes are small: give it a
/// buffered writer (or a compressor around one).
///
/// # Errors
/// What `out` reports; the session then stands behind the message that failed.
pub fn write_binary_file(session: &mut Session, out: &mut impl Write) -> io::Result<SessionReport> {
    let mut record = [0_u8; 2 + peregrine_wire::itch50::MESSAGE_LEN_MAX];
    while let Some((_, message)) = session.next_message() {
        let len = message.len();
        record[..2].copy_from_slice(&u16::try_from(len).unwrap_or(0).to_be_bytes());
        record[2..2 + len].copy_from_slice(message);
        out.write_all(&record[..2 + len])?;
    }
    out.write_all(&[0, 0])?;
    out.flush()?;
    Ok(session.report())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::GeneratorConfig;

    #[test]
    fn the_file_holds_every_message_and_ends_with_an_empty_record() {
        let config = GeneratorConfig::every_type(2, 5, 2_000);
        let mut file = Vec::new();
        let report = write_binary_file(&mut Session::new(config.clone()).unwrap(), &mut file).unwrap();
        let mut rest = file.as_slice();
        Session::new(config).unwrap().for_each_message(|_, message| {
            let (record, tail) = rest.split_at(2 + message.len());
            assert_eq!(record[..2], u16::try_from(message.len()).unwrap().to_be_bytes());
            assert_eq!(&record[2..], message);
            rest = tail;
        });
        assert_eq!(rest, [0, 0]);
        assert!(report.message_count() > 1_500);
    }

    #[test]
    fn a_full_disk_is_reported() {
        let mut session = Session::new(GeneratorConfig::every_type(2, 5, 2_000)).unwrap();
        let mut room = [0_u8; 100];
        assert_eq!(
            write_binary_file(&mut session, &mut room.as_mut_slice()).unwrap_err().kind(),
            io::ErrorKind::WriteZero
        );
    }
}
