//! Synthetic matches and bettors: everything that a demo or a load needs, from one seed.
//!
//! **Never:** no clock and no system randomness; the same seed gives the same matches and, for the same prices
//! seen, the same bets.

pub mod bettors;
pub mod football;
pub mod prices;
pub mod random;
pub mod tennis;

pub use bettors::Bettors;
pub use prices::PriceBoard;
pub use random::Random;
