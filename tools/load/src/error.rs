//! Why a load could not be driven.

use std::net::SocketAddr;
use touchline_client::ClientError;

/// Why a load could not be driven.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A connection could not be made.
    #[error(
        "connecting to {address} (connection {number}): {error}; is the server running, and `ulimit -n` high enough?"
    )]
    Connect {
        /// The server.
        address: SocketAddr,
        /// Which of the connections.
        number: usize,
        /// Why.
        error: std::io::Error,
    },
    /// The server did not greet back in time.
    #[error("{address} has not answered the greeting of connection {number} within {seconds} s")]
    Silent {
        /// The server.
        address: SocketAddr,
        /// Which of the connections.
        number: usize,
        /// How long it was waited for.
        seconds: u64,
    },
    /// Every connection was lost.
    #[error("every connection was lost; the last one: {0}")]
    Lost(String),
    /// Nothing was on sale.
    #[error("no prices came within {0} s, so there is nothing to bet on")]
    NothingOnSale(u64),
    /// The feed failed.
    #[error("the feed: {0}")]
    Feed(#[from] ClientError),
    /// The operating system refused something.
    #[error("{what}: {error}")]
    System {
        /// What was asked for.
        what: &'static str,
        /// Why.
        error: std::io::Error,
    },
}
