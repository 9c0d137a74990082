//! The one language of the appliance: ids, units, codes, commands, effects and the frame that carries them.
//!
//! The same frame is wire message, journal record, replay input and simulator trace; `PROTOCOL.md` beside
//! this crate holds its byte tables, and a test keeps them equal to the definitions here.
//!
//! **Never:** this crate knows no clock, no socket, no file and no market rule. Decoding hostile bytes
//! yields a typed [`DecodeError`]; it never panics and never allocates more than the bytes it was given
//! could hold.

pub mod archive;
pub mod body;
pub mod codes;
pub mod commands;
pub mod document;
pub mod effects;
pub mod frame;
pub mod ids;
pub mod internal;
pub mod range;
pub mod routing;
pub mod schema;
pub mod session;
pub mod splitter;
pub mod units;
pub mod wire;

pub use archive::*;
pub use body::{Body, Kind};
pub use codes::*;
pub use commands::*;
pub use effects::*;
pub use frame::{ChainHash, Envelope, FrameError, FrameRef, HEADER_BYTES, MAX_FRAME_BYTES};
pub use ids::*;
pub use internal::*;
pub use session::*;
pub use splitter::Splitter;
pub use units::{Money, Odds, Stake};
pub use wire::{DecodeError, Fault, List, Text, Value};
