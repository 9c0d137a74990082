//! TLS between the bytes of a socket and the bytes that a peer means, without touching the socket.
//!
//! An [`Acceptor`] belongs to a listener and makes a [`TlsStream`] for each of its connections. TLS 1.3 only: every
//! client of this appliance is newer, and what 1.2 adds is ways to configure it wrongly. It keeps no session tickets
//! and reads no 0-RTT data, which could be replayed. [`Sessions`] joins the streams to a server's connections.

mod sessions;

pub use sessions::Sessions;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{Error, RootCertStore, ServerConfig, ServerConnection};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why a listener cannot speak TLS.
#[derive(Debug, thiserror::Error)]
pub enum SetUpError {
    /// A file could not be read, or is not PEM.
    #[error("{path}: {error}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        error: pem::Error,
    },
    /// A file holds no certificate.
    #[error("{path}: there is no certificate in it (a block that begins with BEGIN CERTIFICATE)")]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// A file holds no private key.
    #[error("{path}: there is no private key in it (a block that begins with BEGIN PRIVATE KEY)")]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// The certificate and the key do not belong together, or are of a kind that cannot be used.
    #[error("{certificate} and {key} cannot be used together: {error}")]
    Pair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Why.
        #[source]
        error: Error,
    },
    /// The clients' authority is of a kind that cannot be used.
    #[error("{path}: not an authority for clients: {error}")]
    Authority {
        /// The file.
        path: PathBuf,
        /// Why.
        error: String,
    },
    /// The library refuses its own settings.
    #[error("TLS cannot be set up: {0}")]
    Library(#[source] Error),
}

/// Why a stream ended; its connection is to be closed once what was written for it is sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{note}")]
pub struct Refusal {
    /// For counters.
    pub reason: Reason,
    /// For the log.
    pub note: String,
}

/// Kinds of refusals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// What came is not TLS: garbage, or a client that speaks plainly.
    NotTls,
    /// No version or cipher in common; a client that knows no TLS 1.3, most likely.
    Incompatible,
    /// The client showed no certificate, or one that its authority does not vouch for.
    Certificate,
    /// The client gave up, for example because it does not trust this server's certificate.
    PeerAlert,
    /// A record that was changed on its way, or any other breach of the protocol.
    Broken,
}

impl Reason {
    /// All, in the order of [`Counters`].
    pub const ALL: [Reason; 5] =
        [Reason::NotTls, Reason::Incompatible, Reason::Certificate, Reason::PeerAlert, Reason::Broken];

    /// A name for logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Reason::NotTls => "not_tls",
            Reason::Incompatible => "incompatible",
            Reason::Certificate => "certificate",
            Reason::PeerAlert => "peer_alert",
            Reason::Broken => "broken",
        }
    }
}

/// Refusals by reason.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters([u64; Reason::ALL.len()]);

impl Counters {
    /// Counts one.
    pub fn note(&mut self, refusal: &Refusal) {
        self.0[refusal.reason as usize] += 1;
    }

    /// How many there were.
    pub fn get(&self, reason: Reason) -> u64 {
        self.0[reason as usize]
    }
}

/// What a listener needs to speak TLS.
#[derive(Clone, Debug)]
pub struct Acceptor(Arc<ServerConfig>);

impl Acceptor {
    /// Reads a certificate (with the intermediate ones behind it) and its key from PEM files. With `client_authority`,
    /// a PEM file too, only clients whose certificate one of its authorities signed get through the handshake.
    ///
    /// # Errors
    ///
    /// [`SetUpError`], which names the file at fault.
    pub fn from_files(
        certificate: &Path,
        key: &Path,
        client_authority: Option<&Path>,
    ) -> Result<Self, SetUpError> {
        let chain = certificates(certificate)?;
        let private = PrivateKeyDer::from_pem_file(key).map_err(|error| match error {
            pem::Error::NoItemsFound => SetUpError::NoKey { path: key.into() },
            error => SetUpError::File { path: key.into(), error },
        })?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(SetUpError::Library)?;
        let builder = match client_authority {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let refuse = |error: &dyn std::fmt::Display| SetUpError::Authority {
                    path: path.into(),
                    error: error.to_string(),
                };
                let mut roots = RootCertStore::empty();
                for authority in certificates(path)? {
                    roots.add(authority).map_err(|error| refuse(&error))?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
                builder.with_client_cert_verifier(verifier.map_err(|error| refuse(&error))?)
            }
        };
        let pair = |error| SetUpError::Pair { certificate: certificate.into(), key: key.into(), error };
        let mut config = builder.with_single_cert(chain, private).map_err(pair)?;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Acceptor(Arc::new(config)))
    }

    /// The stream of a new connection.
    ///
    /// # Errors
    ///
    /// The system gives no randomness.
    pub fn accept(&self) -> Result<TlsStream, SetUpError> {
        let connection = ServerConnection::new(Arc::clone(&self.0)).map_err(SetUpError::Library)?;
        Ok(TlsStream { connection, is_peer_finished: false })
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, SetUpError> {
    let file = |error| SetUpError::File { path: path.into(), error };
    let found = CertificateDer::pem_file_iter(path).map_err(file)?;
    let found: Vec<_> = found.collect::<Result<_, _>>().map_err(file)?;
    if found.is_empty() { Err(SetUpError::NoCertificate { path: path.into() }) } else { Ok(found) }
}

/// Nothing is sent: the handshake is not over, and too much waits for it already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the peer has not finished its handshake")]
pub struct TooEarly;

/// One connection's TLS. It holds at most a handshake message or a record of input; some 64 KiB of output may wait for
/// the handshake, none afterwards.
pub struct TlsStream {
    connection: ServerConnection,
    is_peer_finished: bool,
}

impl TlsStream {
    /// Takes bytes from the socket. Appends what the peer meant by them to `plain`, and what is to be sent to the peer
    /// because of them to `raw_out`, also where it fails: then it is the alert that tells the peer why.
    ///
    /// # Errors
    ///
    /// [`Refusal`]: nothing more can be understood. What `plain` got before it is genuine.
    pub fn receive(
        &mut self,
        mut raw: &[u8],
        plain: &mut Vec<u8>,
        raw_out: &mut Vec<u8>,
    ) -> Result<(), Refusal> {
        while !raw.is_empty() && !self.is_peer_finished {
            let taken = self.connection.read_tls(&mut raw);
            let state = match taken {
                Ok(_) => self.connection.process_new_packets(),
                Err(error) => Err(Error::General(error.to_string())),
            };
            self.write_raw(raw_out);
            let state = state.map_err(|error| refusal(&error))?;
            self.is_peer_finished = state.peer_has_closed();
            let start = plain.len();
            plain.resize(start + state.plaintext_bytes_to_read(), 0);
            // It has told how much there is, so that this neither blocks nor falls short.
            let read = self.connection.reader().read(&mut plain[start..]).unwrap_or(0);
            plain.truncate(start + read);
        }
        Ok(())
    }

    /// Appends the sealed form of `plain` to `raw_out`. During the handshake it is kept until that is over, as far as
    /// there is room.
    ///
    /// # Errors
    ///
    /// [`TooEarly`]; then the peer gets only a part of it, and the connection is to be closed.
    pub fn send(&mut self, mut plain: &[u8], raw_out: &mut Vec<u8>) -> Result<(), TooEarly> {
        while !plain.is_empty() {
            match self.connection.writer().write(plain) {
                Ok(0) | Err(_) => return Err(TooEarly),
                Ok(count) => plain = &plain[count..],
            }
            self.write_raw(raw_out);
        }
        Ok(())
    }

    /// Appends the notice that nothing more comes; the connection is to be closed after it, lingering.
    pub fn finish(&mut self, raw_out: &mut Vec<u8>) {
        self.connection.send_close_notify();
        self.write_raw(raw_out);
    }

    /// Whether the handshake is over.
    pub fn is_ready(&self) -> bool {
        !self.connection.is_handshaking()
    }

    /// Whether the peer said that it sends no more. A socket that ends without this was cut, perhaps by somebody else.
    pub fn is_peer_finished(&self) -> bool {
        self.is_peer_finished
    }

    /// The certificate that the client showed, in DER; none where it was not asked for one.
    pub fn peer_certificate(&self) -> Option<&[u8]> {
        self.connection.peer_certificates().and_then(|chain| chain.first()).map(|first| first.as_ref())
    }

    fn write_raw(&mut self, raw_out: &mut Vec<u8>) {
        while self.connection.wants_write() {
            if self.connection.write_tls(raw_out).is_err() {
                return; // a vector takes everything
            }
        }
    }
}

fn refusal(error: &Error) -> Refusal {
    let reason = match error {
        Error::InvalidMessage(_) => Reason::NotTls,
        Error::PeerIncompatible(_) => Reason::Incompatible,
        Error::InvalidCertificate(_) | Error::NoCertificatesPresented => Reason::Certificate,
        Error::AlertReceived(_) => Reason::PeerAlert,
        _ => Reason::Broken,
    };
    Refusal { reason, note: error.to_string() }
}

/// Whether the first bytes of a plain connection are those of a TLS client, so that the log can say what is wrong.
pub fn looks_like_tls(first: &[u8]) -> bool {
    matches!(first, [22, 3, ..])
}
