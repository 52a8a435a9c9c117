//! CME Globex MDP 3.0 (SBE, schema `mktdata` 1, versions 9 to 13): packets and messages as views over bytes, and the decoder
//! of an incremental feed.
//!
//! Sources: the template files of schema versions 5 to 13, and the exchange's client systems wiki ("MDP 3.0": binary packet
//! headers, trade summary order level detail, market by order book management, market recovery).

mod book;
mod decoder;
mod instruments;
mod levels;
mod messages;
mod orders;
mod packet;
mod state;
mod trades;

pub use decoder::{Depth, Mdp3Config, Mdp3Counters, Mdp3Decoder};
pub use instruments::{KnownInstrument, NoInstrument};
pub use messages::*;
pub use packet::{
    Entries, Groups, MESSAGE_HEADER_LEN, Message, MessageHeader, Messages, PACKET_HEADER_LEN, PacketBuilder,
    PacketHeader, SCHEMA_ID, SCHEMA_VERSION_MIN, parse, session_at,
};
pub use packet::{GroupSize, GroupSize8Byte};
