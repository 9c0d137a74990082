//! The one language: ids, units, commands, effects, frames, codec.
