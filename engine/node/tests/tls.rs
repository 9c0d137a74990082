//! The listener with TLS of a running node: clients of its authority are served, nobody else, and the plain listener stays
//! what it is.

mod common;

use common::*;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use touchline_node::config::TlsConfig;
use touchline_node::{Node, StartError};
use touchline_protocol::*;

/// An authority, and certificates for a node and for a client, as files in the folder of a test.
fn certificates(folder: &Folder, authority_name: &str) {
    std::fs::create_dir_all(&folder.0).unwrap();
    let write = |name: String, text: String| std::fs::write(folder.0.join(name), text).unwrap();
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    write(format!("{authority_name}.pem"), authority.pem());
    for (who, purpose) in
        [("node", ExtendedKeyUsagePurpose::ServerAuth), ("client", ExtendedKeyUsagePurpose::ClientAuth)]
    {
        let key = KeyPair::generate().unwrap();
        let mut leaf = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        leaf.extended_key_usages = vec![purpose];
        write(format!("{authority_name}-{who}.pem"), leaf.signed_by(&key, &authority).unwrap().pem());
        write(format!("{authority_name}-{who}.key"), key.serialize_pem());
    }
}

/// A connection that trusts `ours`, with the certificate of a client of some authority, or none.
fn connect(folder: &Folder, node: &Node, shows: Option<&str>) -> StreamOwned<ClientConnection, TcpStream> {
    let file = |name: String| folder.0.join(name);
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(file("ours.pem".into())).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots);
    let config = match shows {
        None => config.with_no_client_auth(),
        Some(authority) => {
            let certificate = CertificateDer::from_pem_file(file(format!("{authority}-client.pem"))).unwrap();
            let key = PrivateKeyDer::from_pem_file(file(format!("{authority}-client.key"))).unwrap();
            config.with_client_auth_cert(vec![certificate], key).unwrap()
        }
    };
    let name = ServerName::try_from("localhost").unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let stream = TcpStream::connect(node.tls_address().unwrap()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    StreamOwned::new(connection, stream)
}

/// Says Hello and what else is given, and reads until a message that a test waits for; `None` where the connection ends.
fn ask<T>(
    stream: &mut StreamOwned<ClientConnection, TcpStream>,
    bytes: &[u8],
    mut pick: impl FnMut(Body) -> Option<T>,
) -> Option<T> {
    let hello = frame(Hello { role: Role::Intake, version: 1, epoch: Epoch(0), name: Text::cut("tls") });
    stream.write_all(&[&hello, bytes].concat()).ok()?;
    let mut splitter = Splitter::new();
    let mut buffer = [0; 4096];
    loop {
        let count = stream.read(&mut buffer).ok().filter(|count| *count > 0)?;
        splitter.push(&buffer[..count]);
        while let Some(frame) = splitter.next_frame().unwrap() {
            if let Some(found) = pick(frame.body().unwrap()) {
                return Some(found);
            }
        }
    }
}

#[test]
fn clients_of_the_authority_are_served_and_nobody_else() {
    for sockets in [touchline_node::config::SocketsConfig::Best, touchline_node::config::SocketsConfig::Epoll]
    {
        let folder = Folder::new(&format!("tls-{sockets:?}"));
        certificates(&folder, "ours");
        certificates(&folder, "theirs");
        let file = |name: &str| folder.0.join(name);
        let mut config = config(&folder, 1);
        config.node.journal = file("journal");
        config.node.sockets = sockets;
        config.node.tls = Some(TlsConfig {
            listen: ([127, 0, 0, 1], 0).into(),
            certificate: file("ours-node.pem"),
            key: file("ours-node.key"),
            client_authority: Some(file("ours.pem")),
        });
        let node = Node::start(&config, 1).unwrap();
        set_up(&node);
        let seen = price(&mut client(&node, Role::Intake));

        let bytes = frame(ticket(seen));
        let decided = |body| match body {
            Body::Decision(m) => Some(m.code),
            _ => None,
        };
        assert_eq!(ask(&mut connect(&folder, &node, Some("ours")), &bytes, decided), Some(Code::Accepted));
        for shows in [None, Some("theirs")] {
            assert_eq!(ask(&mut connect(&folder, &node, shows), &bytes, decided), None, "{shows:?}");
        }
        // A plain client at the TLS port, and TLS at the plain one.
        let mut plain = TcpStream::connect(node.tls_address().unwrap()).unwrap();
        plain.write_all(&frame(Ping { number: 1 })).unwrap();
        let mut told = Vec::new();
        let _ = plain.read_to_end(&mut told);
        assert!(!told.starts_with(b"TLF"), "nothing is said in the clear");
        assert!(
            !self::told(&node, &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xFC, 3, 3, 9]).is_empty(),
            "and why is said"
        );
        // The plain listener has served on meanwhile.
        assert_eq!(client(&node, Role::Intake).submit(ticket(seen)).unwrap().code, Code::Accepted);
        node.stop().unwrap();
    }
}

#[test]
fn a_certificate_that_cannot_be_used_is_named_and_nothing_is_served() {
    let folder = Folder::new("tls-bad");
    certificates(&folder, "ours");
    let mut config = config(&folder, 1);
    let file = |name: &str| folder.0.join(name);
    config.node.journal = file("journal");
    let cases: [(PathBuf, PathBuf, &str); 3] = [
        (file("missing.pem"), file("ours-node.key"), "missing.pem"),
        (file("ours-node.pem"), file("ours-node.pem"), "ours-node.pem"),
        (file("ours-node.pem"), file("ours-client.key"), "ours-client.key"),
    ];
    for (certificate, key, says) in cases {
        let listen = ([127, 0, 0, 1], 0).into();
        config.node.tls = Some(TlsConfig { listen, certificate, key, client_authority: None });
        let error = Node::start(&config, 1).err().unwrap();
        assert!(matches!(error, StartError::Tls(_)), "{error}");
        assert!(error.to_string().contains(says), "{error}");
    }
}
