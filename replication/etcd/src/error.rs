//! What can go wrong between the witness and etcd, and what to do about it.

use std::time::Duration;
use thiserror::Error;

/// Why the register could not be loaded or swapped. After a swap it says nothing about the register, which may
/// have changed, or may still: the witness ends, and the next one finds out.
#[derive(Debug, Error)]
pub enum EtcdError {
    /// The configuration names no endpoint.
    #[error("no etcd endpoint is configured; name at least one, such as http://127.0.0.1:2379")]
    NoEndpoint,
    /// An endpoint cannot be understood.
    #[error("`{endpoint}` is no etcd endpoint: {reason}; write it as http://host:port")]
    Endpoint {
        /// As configured.
        endpoint: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// No endpoint gave an answer that counts, however often each was asked.
    #[error(
        "etcd gave no usable answer within {} ms, so the register is unknown ({}); check that a majority of \
         etcd's members runs and can be reached, then start the witness again",
        patience.as_millis(),
        each(failures)
    )]
    Unavailable {
        /// How long it was tried.
        patience: Duration,
        /// What each endpoint that was asked did last.
        failures: Vec<Failure>,
    },
    /// The key holds something else.
    #[error(
        "the key `{key}` in etcd holds {bytes} bytes that are no register; find out who else writes there, then \
         remove it with `etcdctl del {key}` and start the witness with both nodes running: it is blank then, and \
         they seed it again"
    )]
    Corrupt {
        /// The key.
        key: String,
        /// How many bytes.
        bytes: usize,
    },
    /// Others keep changing the key while it is being taken over.
    #[error("other processes keep writing the key `{key}` in etcd; run one witness for a cluster")]
    Contended {
        /// The key.
        key: String,
    },
}

/// Why one endpoint's answer does not count.
#[derive(Debug, Error)]
pub enum Failure {
    /// It could not be reached, or the connection ended before the answer was whole.
    #[error("{endpoint}: {source}")]
    Transport {
        /// As configured.
        endpoint: String,
        /// What the connection reported.
        source: Box<ureq::Error>,
    },
    /// It answered with an error, which does not say that nothing was done.
    #[error("{endpoint}: status {status}, {said:?}")]
    Status {
        /// As configured.
        endpoint: String,
        /// The status of HTTP.
        status: u16,
        /// The beginning of what it said.
        said: String,
    },
    /// It answered with something that no etcd says.
    #[error("{endpoint}: not an answer of etcd: {reason}")]
    Answer {
        /// As configured.
        endpoint: String,
        /// What is wrong with it.
        reason: String,
    },
    /// It belongs to another etcd than the one that answered first: two registers would be one too many.
    #[error("{endpoint}: a member of etcd {found}, while the others belong to etcd {expected}")]
    OtherEtcd {
        /// As configured.
        endpoint: String,
        /// The identity that answered first.
        expected: u64,
        /// The identity of this one.
        found: u64,
    },
}

fn each(failures: &[Failure]) -> String {
    let said: Vec<String> = failures.iter().map(ToString::to_string).collect();
    said.join("; ")
}
