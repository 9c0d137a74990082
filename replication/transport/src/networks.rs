//! The sockets of a party on each of its networks, and which of them lead to whom.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketType, ipproto, sockopt};
use touchline_lockstep::message::Party;

use crate::datagram::To;

/// Bytes that the system may hold for a socket, as far as it allows.
const SOCKET_BYTES: usize = 4 << 20;

/// How long an address in use is tried again.
const BIND_PATIENCE: Duration = Duration::from_secs(1);

/// A network that a party is on. With two, every datagram goes over both, and the first copy counts.
#[derive(Clone, Debug)]
pub struct Network {
    /// The own address, of the interface to use; datagrams to this party alone arrive here.
    pub listen: SocketAddr,
    /// Where everybody hears everything. None where the network carries no multicast: then everyone is in `peers`.
    pub multicast: Option<Multicast>,
    /// Parties that are sent to alone, at their `listen`; without multicast all, with it those beyond its reach.
    pub peers: Vec<(Party, SocketAddr)>,
}

/// A multicast group.
#[derive(Clone, Copy, Debug)]
pub struct Multicast {
    /// Its address, one for each cluster and network.
    pub group: SocketAddrV4,
    /// Routers that a datagram may pass, plus one; 1 stays on the network.
    pub ttl: u8,
}

/// Sockets, in the order that routes name them in.
#[derive(Debug, Default)]
pub(crate) struct Sockets {
    pub(crate) inputs: Vec<UdpSocket>,
    pub(crate) outputs: Vec<UdpSocket>,
    pub(crate) routes: Routes,
}

/// Outputs that lead to a receiver, one for each network.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    alone: Vec<(Party, Vec<usize>)>,
    /// The groups; they lead to whoever is not reached alone.
    groups: Vec<usize>,
    everyone: Vec<usize>,
}

impl Routes {
    pub(crate) fn to(&self, to: To) -> &[usize] {
        let To::One(party) = to else { return &self.everyone };
        let alone = self.alone.iter().find(|(other, _)| *other == party);
        alone.map_or(&self.groups, |(_, outputs)| outputs)
    }
}

/// Opens the sockets of all networks.
pub(crate) fn open(networks: &[Network]) -> io::Result<Sockets> {
    let mut sockets = Sockets::default();
    for network in networks {
        let input = bind(network.listen)?;
        enlarge(&input);
        sockets.inputs.push(input);
        let own = SocketAddr::new(network.listen.ip(), 0);
        let mut group = None;
        if let Some(multicast) = network.multicast {
            let IpAddr::V4(interface) = network.listen.ip() else {
                return Err(refusal("multicast needs the interface's IPv4 address in `listen`"));
            };
            sockets.inputs.push(member(multicast, interface)?);
            let output = UdpSocket::bind(own)?;
            sockopt::set_ip_multicast_if(&output, &interface)?;
            output.set_multicast_ttl_v4(multicast.ttl.into())?;
            // Parties on one machine hear each other.
            output.set_multicast_loop_v4(true)?;
            output.connect(multicast.group)?;
            group = Some(sockets.add(output));
        }
        for (party, address) in &network.peers {
            let output = UdpSocket::bind(own)?;
            output.connect(address)?;
            let output = sockets.add(output);
            match sockets.routes.alone.iter_mut().find(|(other, _)| other == party) {
                Some((_, outputs)) => outputs.push(output),
                None => sockets.routes.alone.push((*party, vec![output])),
            }
        }
        if let Some(group) = group {
            sockets.routes.groups.push(group);
        }
    }
    if sockets.inputs.is_empty() {
        return Err(refusal("no network to listen on"));
    }
    Ok(sockets)
}

impl Sockets {
    fn add(&mut self, output: UdpSocket) -> usize {
        enlarge(&output);
        self.outputs.push(output);
        self.routes.everyone.push(self.outputs.len() - 1);
        self.outputs.len() - 1
    }
}

/// Binds the own address. The kernel takes the ring of a killed process apart behind its back, and the sockets in it live
/// until then: an address in use is tried again for a while.
fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let begun = Instant::now();
    loop {
        match UdpSocket::bind(address) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && begun.elapsed() < BIND_PATIENCE => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(error) => {
                return Err(io::Error::new(error.kind(), format!("listening on {address}: {error}")));
            }
            bound => return bound,
        }
    }
}

/// A socket that hears a group through an interface. Every party on this machine has one of its own.
fn member(multicast: Multicast, interface: Ipv4Addr) -> io::Result<UdpSocket> {
    let flags = rustix::net::SocketFlags::CLOEXEC;
    let protocol = Some(ipproto::UDP);
    let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::DGRAM, flags, protocol)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    // Bound to the group, it hears that group alone.
    rustix::net::bind(&socket, &multicast.group)?;
    let socket = UdpSocket::from(socket);
    socket.join_multicast_v4(multicast.group.ip(), &interface)?;
    enlarge(&socket);
    Ok(socket)
}

/// A burst should wait in the system rather than be lost. Where the system allows less, it is repaired more often.
fn enlarge(socket: &UdpSocket) {
    if sockopt::set_socket_recv_buffer_size_force(socket, SOCKET_BYTES).is_err() {
        let _ = sockopt::set_socket_recv_buffer_size(socket, SOCKET_BYTES);
    }
    let _ = sockopt::set_socket_send_buffer_size(socket, SOCKET_BYTES);
}

fn refusal(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why)
}
