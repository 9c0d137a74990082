//! Transports in one process, over real sockets on the loopback device.

mod samples;

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;
use touchline_lockstep::message::Party;
use touchline_lockstep::{Cluster, Message, NodeId, Say};
use touchline_protocol::{Epoch, Seq};
use touchline_runtime::sockets::{Driver, Wait};
use touchline_transport::drops::Reason;
use touchline_transport::keys::{Keyring, Secret};
use touchline_transport::networks::{Multicast, Network};
use touchline_transport::session::Settings;
use touchline_transport::{Config, Transport};

const PARTIES: [Party; 3] = [Party::Node(NodeId(0)), Party::Node(NodeId(1)), Party::Witness];
/// Steps without end are a failure.
const STEPS_MAX: usize = 100_000;
const SHORTLY: Wait = Wait::AtMost(Duration::from_millis(1));

/// Addresses that nobody has at the moment.
fn free(count: usize) -> Vec<SocketAddr> {
    let sockets: Vec<UdpSocket> = (0..count).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
    sockets.iter().map(|socket| socket.local_addr().unwrap()).collect()
}

fn transports(driver: Driver, networks: &[Vec<Network>]) -> Option<Vec<Transport>> {
    let secret = Secret { generation: 1, bytes: [3; 32] };
    let mut transports = Vec::new();
    for (me, networks) in PARTIES.into_iter().zip(networks) {
        let settings = Settings::new(me, Cluster(5), 1);
        let keyring = Keyring::new(std::slice::from_ref(&secret), 1).unwrap();
        match Transport::new(Config { settings, keyring, networks: networks.clone(), driver }, None) {
            Ok(transport) => transports.push(transport),
            Err(error) if driver == Driver::Uring || networks[0].multicast.is_some() => {
                println!("SKIPPED: {driver:?} cannot be had here ({error})");
                return None;
            }
            Err(error) => panic!("{error}"),
        }
    }
    Some(transports)
}

/// Each party on so many networks, reaching the others alone.
fn unicast(networks: usize) -> Vec<Vec<Network>> {
    let addresses: Vec<Vec<SocketAddr>> = (0..networks).map(|_| free(PARTIES.len())).collect();
    let of = |me: usize| {
        let network = |addresses: &Vec<SocketAddr>| Network {
            listen: addresses[me],
            multicast: None,
            peers: PARTIES
                .into_iter()
                .zip(addresses.clone())
                .filter(|(party, _)| *party != PARTIES[me])
                .collect(),
        };
        addresses.iter().map(network).collect()
    };
    (0..PARTIES.len()).map(of).collect()
}

fn small(from: usize, seq: u64) -> Message {
    samples::message(PARTIES[from], Say::Missing { epoch: Epoch(1), from: Seq(seq) })
}

/// Has everyone speak to everyone until each has heard each of the others.
fn acquaint(transports: &mut [Transport]) {
    let count = transports.len();
    let mut heard = vec![vec![false; count]; count];
    for _ in 0..STEPS_MAX {
        for me in 0..count {
            heard[me][me] = true;
            for to in (0..count).filter(|to| *to != me) {
                transports[me].send(PARTIES[to], &small(me, 0));
            }
            let mut from = |from: Party, _: Message| {
                heard[me][PARTIES.iter().position(|party| *party == from).unwrap()] = true;
            };
            transports[me].step(SHORTLY, &mut from).unwrap();
        }
        if heard.iter().flatten().all(|heard| *heard) {
            // Nothing of it is left on the way.
            for _ in 0..20 {
                transports.iter_mut().for_each(|transport| {
                    transport.step(SHORTLY, &mut |_, _| {}).unwrap();
                });
            }
            return;
        }
    }
    panic!("they never heard each other: {heard:?}");
}

/// Sends a long message and some short ones, and waits until all are there.
fn carry(transports: &mut [Transport]) {
    let bytes = samples::log(300).concat();
    let say =
        Say::Frames { epoch: Epoch(1), to: None, first: Seq(1), bytes: bytes.clone(), committed: Seq(0) };
    let frames = samples::message(PARTIES[0], say);
    let part = Say::Part { to: frames.boot, at: samples::point(1), offset: 0, bytes: vec![7; 20_000] };
    let part = samples::message(PARTIES[0], part);
    transports[0].send(PARTIES[1], &frames);
    transports[0].send(PARTIES[1], &part);
    let (mut got, mut parts) = (Vec::new(), 0);
    for _ in 0..STEPS_MAX {
        transports[0].step(Wait::Poll, &mut |_, _| {}).unwrap();
        let mut out = |from: Party, message: Message| {
            assert_eq!(from, PARTIES[0]);
            match message.say {
                Say::Frames { bytes, .. } => got.extend(bytes),
                _ => {
                    assert_eq!(message, part);
                    parts += 1;
                }
            }
        };
        transports[1].step(SHORTLY, &mut out).unwrap();
        if got.len() == bytes.len() && parts == 1 {
            assert!(got == bytes, "loopback keeps the order");
            return;
        }
    }
    panic!("{} of {} bytes arrived", got.len(), bytes.len());
}

#[test]
fn three_parties_speak_without_multicast() {
    for driver in [Driver::Uring, Driver::Portable] {
        let Some(mut transports) = transports(driver, &unicast(1)) else { continue };
        acquaint(&mut transports);
        carry(&mut transports);
        assert_eq!(transports[1].counters().dropped(Reason::Repeated), 0);
    }
}

#[test]
fn the_copy_on_the_second_network_is_removed() {
    for driver in [Driver::Uring, Driver::Portable] {
        let Some(mut transports) = transports(driver, &unicast(2)) else { continue };
        acquaint(&mut transports);
        carry(&mut transports);
        assert!(transports[1].counters().dropped(Reason::Repeated) > 20, "{driver:?}");
    }
}

#[test]
fn one_network_of_two_is_enough() {
    let mut networks = unicast(2);
    // Nobody listens where the first party's second network says that the second party does.
    networks[0][1].peers[0].1 = free(1)[0];
    for driver in [Driver::Uring, Driver::Portable] {
        let Some(mut transports) = transports(driver, &networks) else { continue };
        acquaint(&mut transports);
        carry(&mut transports);
    }
}

#[test]
fn three_parties_speak_through_a_group() {
    for (number, driver) in [Driver::Uring, Driver::Portable].into_iter().enumerate() {
        let addresses = free(4);
        let group = format!("239.77.{}.{}:{}", std::process::id() % 250, number + 1, addresses[3].port());
        let multicast = Multicast { group: group.parse().unwrap(), ttl: 1 };
        let network = |listen| vec![Network { listen, multicast: Some(multicast), peers: Vec::new() }];
        let networks: Vec<Vec<Network>> = addresses.into_iter().take(3).map(network).collect();
        let Some(mut transports) = transports(driver, &networks) else { continue };
        acquaint(&mut transports);
        carry(&mut transports);
        let own = transports[0].counters().dropped(Reason::Own);
        assert!(own > 0, "a sender hears itself in its group");
        assert!(transports[2].counters().dropped(Reason::Elsewhere) > 0);
    }
}

#[test]
fn networks_that_cannot_be_are_refused_in_words() {
    let secret = Secret { generation: 1, bytes: [3; 32] };
    let multicast = Some(Multicast { group: "239.1.1.1:9".parse().unwrap(), ttl: 1 });
    let six = Network { listen: "[::1]:0".parse().unwrap(), multicast, peers: Vec::new() };
    for (networks, says) in [(vec![], "no network"), (vec![six], "IPv4")] {
        let config = Config {
            settings: Settings::new(PARTIES[0], Cluster(5), 1),
            keyring: Keyring::new(std::slice::from_ref(&secret), 1).unwrap(),
            networks,
            driver: Driver::Portable,
        };
        let error = Transport::new(config, None).err().unwrap().to_string();
        assert!(error.contains(says), "{error}");
    }
}
