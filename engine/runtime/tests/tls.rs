//! TLS against the library's own client, in memory and over real sockets.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use touchline_runtime::sockets::{Connections, Driver, Event, Limits, Linger, Server, Wait};
use touchline_runtime::tls::*;

/// An authority, and certificates of a server and a client that it signed, as files.
struct Files(PathBuf);

impl Files {
    fn new(name: &str) -> Files {
        let folder = std::env::temp_dir().join(format!("touchline-tls-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let files = Files(folder);
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
        files.write("authority.pem", &authority.pem());
        for (who, purpose) in
            [("server", ExtendedKeyUsagePurpose::ServerAuth), ("client", ExtendedKeyUsagePurpose::ClientAuth)]
        {
            let key = KeyPair::generate().unwrap();
            let mut leaf = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
            leaf.extended_key_usages = vec![purpose];
            files.write(&format!("{who}.pem"), &leaf.signed_by(&key, &authority).unwrap().pem());
            files.write(&format!("{who}.key"), &key.serialize_pem());
        }
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn acceptor(&self, client_authority: bool) -> Acceptor {
        let authority = self.path("authority.pem");
        let authority = client_authority.then_some(authority.as_path());
        Acceptor::from_files(&self.path("server.pem"), &self.path("server.key"), authority).unwrap()
    }

    fn client(&self, with_certificate: bool) -> ClientConnection {
        let mut roots = RootCertStore::empty();
        roots.add(certificate(&self.path("authority.pem"))).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots);
        let config = if with_certificate {
            let key = PrivateKeyDer::from_pem_file(self.path("client.key")).unwrap();
            config.with_client_auth_cert(vec![certificate(&self.path("client.pem"))], key).unwrap()
        } else {
            config.with_no_client_auth()
        };
        ClientConnection::new(Arc::new(config), ServerName::try_from("localhost").unwrap()).unwrap()
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn certificate(path: &Path) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(path).unwrap()
}

/// Carries bytes between a client and a stream until neither has more, `piece` at a time.
fn talk(
    client: &mut ClientConnection,
    server: &mut TlsStream,
    to_client: &mut Vec<u8>,
    piece: usize,
) -> Result<Vec<u8>, Refusal> {
    let mut plain = Vec::new();
    loop {
        let mut to_server = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut to_server).unwrap();
        }
        if to_server.is_empty() && to_client.is_empty() {
            return Ok(plain);
        }
        for piece in to_server.chunks(piece) {
            server.receive(piece, &mut plain, to_client)?;
        }
        let mut rest = &to_client[..];
        while !rest.is_empty() {
            client.read_tls(&mut rest).unwrap();
            client.process_new_packets().unwrap();
        }
        to_client.clear();
    }
}

fn read_all(client: &mut ClientConnection) -> Vec<u8> {
    let mut got = vec![0; 1 << 20];
    let count = client.reader().read(&mut got).unwrap_or(0);
    got.truncate(count);
    got
}

#[test]
fn bytes_pass_both_ways_in_pieces_of_any_size() {
    let files = Files::new("pieces");
    for piece in [1, 7, 1000, usize::MAX] {
        let (mut client, mut server) = (files.client(false), files.acceptor(false).accept().unwrap());
        assert!(!server.is_ready());
        let question: Vec<u8> = (0..40_000).map(|index| (index % 251) as u8).collect();
        client.writer().write_all(&question).unwrap();
        let mut out = Vec::new();
        assert!(talk(&mut client, &mut server, &mut out, piece).unwrap() == question);
        assert!(server.is_ready() && server.peer_certificate().is_none());
        server.send(b"an answer", &mut out).unwrap();
        talk(&mut client, &mut server, &mut out, piece).unwrap();
        assert_eq!(read_all(&mut client), b"an answer");
        client.send_close_notify();
        talk(&mut client, &mut server, &mut out, piece).unwrap();
        assert!(server.is_peer_finished());
    }
}

#[test]
fn what_is_sent_during_the_handshake_waits_for_it_within_bounds() {
    let files = Files::new("early");
    let (mut client, mut server) = (files.client(false), files.acceptor(false).accept().unwrap());
    let mut out = Vec::new();
    server.send(b"welcome", &mut out).unwrap();
    talk(&mut client, &mut server, &mut out, usize::MAX).unwrap();
    assert_eq!(read_all(&mut client), b"welcome");
    let mut server = files.acceptor(false).accept().unwrap();
    assert_eq!(server.send(&vec![0; 1 << 20], &mut out), Err(TooEarly));
}

#[test]
fn only_clients_of_the_authority_get_through_where_one_is_set() {
    let files = Files::new("mutual");
    let acceptor = files.acceptor(true);
    let mut server = acceptor.accept().unwrap();
    let mut client = files.client(true);
    client.writer().write_all(b"hello").unwrap();
    assert_eq!(talk(&mut client, &mut server, &mut Vec::new(), usize::MAX).unwrap(), b"hello");
    assert_eq!(server.peer_certificate(), Some(certificate(&files.path("client.pem")).as_ref()));

    let strangers = Files::new("strangers");
    let mut roots = RootCertStore::empty();
    roots.add(certificate(&files.path("authority.pem"))).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = PrivateKeyDer::from_pem_file(strangers.path("client.key")).unwrap();
    let stranger = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![certificate(&strangers.path("client.pem"))], key)
        .unwrap();
    let localhost = ServerName::try_from("localhost").unwrap();
    let mut counters = Counters::default();
    for mut client in [files.client(false), ClientConnection::new(Arc::new(stranger), localhost).unwrap()] {
        let mut server = acceptor.accept().unwrap();
        let mut out = Vec::new();
        let refusal = talk(&mut client, &mut server, &mut out, usize::MAX).unwrap_err();
        counters.note(&refusal);
        assert!(!out.is_empty(), "an alert tells the client");
    }
    assert_eq!(counters.get(Reason::Certificate), 2);
}

#[test]
fn garbage_is_refused_with_an_alert() {
    let files = Files::new("garbage");
    let acceptor = files.acceptor(false);
    let long = [0xff; 100_000];
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"TLN1 plain frame of some length", &long] {
        let (mut plain, mut out) = (Vec::new(), Vec::new());
        let refusal = acceptor.accept().unwrap().receive(garbage, &mut plain, &mut out).unwrap_err();
        assert_eq!((refusal.reason, plain.len()), (Reason::NotTls, 0));
        assert_eq!(out[0], 21, "a record that is an alert");
    }
}

#[test]
fn a_record_that_was_changed_on_its_way_is_refused() {
    let files = Files::new("changed");
    let (mut client, mut server) = (files.client(false), files.acceptor(false).accept().unwrap());
    talk(&mut client, &mut server, &mut Vec::new(), usize::MAX).unwrap();
    client.writer().write_all(b"stake 100").unwrap();
    let mut raw = Vec::new();
    client.write_tls(&mut raw).unwrap();
    *raw.last_mut().unwrap() ^= 1;
    let mut plain = Vec::new();
    let refusal = server.receive(&raw, &mut plain, &mut Vec::new()).unwrap_err();
    assert_eq!((refusal.reason, plain.len()), (Reason::Broken, 0));
}

#[test]
fn files_at_fault_are_named() {
    let files = Files::new("faults");
    files.write("empty.pem", "");
    files.write("broken.pem", "-----BEGIN CERTIFICATE-----\nnot base64 !\n-----END CERTIFICATE-----\n");
    let refuse = |certificate: &str, key: &str, authority: Option<&str>| {
        let authority = authority.map(|name| files.path(name));
        let made = Acceptor::from_files(&files.path(certificate), &files.path(key), authority.as_deref());
        made.expect_err("refused").to_string()
    };
    assert!(refuse("absent.pem", "server.key", None).contains("absent.pem"));
    assert!(refuse("empty.pem", "server.key", None).contains("no certificate"));
    assert!(refuse("broken.pem", "server.key", None).contains("broken.pem"));
    assert!(refuse("server.pem", "absent.key", None).contains("absent.key"));
    assert!(refuse("server.pem", "server.pem", None).contains("no private key"));
    assert!(refuse("server.pem", "client.key", None).contains("together"));
    assert!(refuse("server.pem", "server.key", Some("empty.pem")).contains("empty.pem"));
}

#[test]
fn tls_and_plain_clients_meet_their_own_and_each_others_ports() {
    let files = Files::new("sockets");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (mut client, acceptor) = (files.client(false), files.acceptor(false));
    let open = TcpListener::bind("127.0.0.1:0").unwrap();
    let open_address = open.local_addr().unwrap();
    let server = std::thread::spawn(move || serve(vec![listener, open], acceptor, 3));
    let mut stream = TcpStream::connect(address).unwrap();
    let mut secure = rustls::Stream::new(&mut client, &mut stream);
    secure.write_all(b"hello").unwrap();
    let mut got = [0; 5];
    secure.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"hello");
    secure.conn.send_close_notify();
    secure.flush().unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut rest = Vec::new();
    let mut secure = rustls::Stream::new(&mut client, &mut stream);
    secure.read_to_end(&mut rest).unwrap(); // an error, had the server not said that this is all
    assert!(rest.is_empty());
    drop(stream);
    let mut stream = TcpStream::connect(open_address).unwrap();
    stream.write_all(b"plain").unwrap();
    stream.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"plain");
    drop(stream);
    let mut plain = TcpStream::connect(address).unwrap();
    plain.write_all(b"TLN1 plain frame of some length").unwrap();
    let mut got = Vec::new();
    plain.read_to_end(&mut got).unwrap();
    assert_eq!(got[0], 21, "an alert");
    drop(plain);
    assert_eq!(server.join().unwrap().get(Reason::NotTls), 1);
}

#[test]
fn a_tls_client_is_recognised_at_a_plain_port() {
    let files = Files::new("reverse");
    let mut hello = Vec::new();
    files.client(false).write_tls(&mut hello).unwrap();
    assert!(looks_like_tls(&hello) && !looks_like_tls(b"TLN1") && !looks_like_tls(&[22]));
}

/// Echoes over TLS, and plainly through a second listener, until so many connections have come and gone.
fn serve(listeners: Vec<TcpListener>, acceptor: Acceptor, connections: usize) -> Counters {
    let mut server = Server::new(Driver::Best, listeners, &Limits::default(), None).unwrap();
    let mut sessions = Sessions::new(vec![Some(acceptor)]);
    let mut closed = 0;
    let linger = Linger::For(Duration::from_secs(10));
    while closed < connections {
        let handler = &mut |io: &mut Connections, event: Event<'_>| match event {
            Event::Opened { id, listener, .. } => sessions.opened(id, listener).unwrap(),
            Event::Bytes { id, data } => {
                if let Ok(plain) = sessions.received(io, id, data, linger) {
                    let plain = plain.to_vec();
                    sessions.send(io, id, &plain).unwrap();
                }
            }
            Event::Finished { id } => sessions.close(io, id, linger),
            Event::Closed { id, .. } => {
                sessions.closed(id);
                closed += 1;
            }
            Event::Woken => {}
        };
        server.step(Wait::Block, handler).unwrap();
    }
    sessions.counters().clone()
}
