//! The cluster's client over real sockets: the node that leads dies with a ticket unanswered, and the next one decides it.

use std::future::Future;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, JoinHandle, Thread};
use std::time::Duration;
use touchline_client::{AsyncClient, Client, ClientError, ClusterClient, ClusterEvent, Outcome, Stopped};
use touchline_protocol::frame::encode;
use touchline_protocol::*;

const PATIENCE: Duration = Duration::from_secs(30);

fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn say(stream: &mut TcpStream, epoch: u64, request: u64, body: impl Into<Body>) {
    let mut bytes = Vec::new();
    encode(&Envelope::session(1, Epoch(epoch), request), &body.into(), &mut bytes);
    stream.write_all(&bytes).unwrap();
}

fn greet(stream: &mut TcpStream, epoch: u64, leads: bool) {
    let welcome = Welcome { version: 1, partitions: 1, committed: Seq(0), frame_bytes_max: 65_536 };
    say(stream, epoch, 0, welcome);
    say(stream, epoch, 0, Leader { epoch: Epoch(epoch), leads, address: Text::default() });
}

/// Reads until a frame of this kind.
fn until(stream: &mut TcpStream, splitter: &mut Splitter, kind: Kind) -> (u64, Body) {
    let mut buffer = [0; 4096];
    loop {
        while let Some(frame) = splitter.next_frame().unwrap() {
            if frame.kind() == kind as u16 {
                return (frame.envelope().request, frame.body().unwrap());
            }
        }
        let count = stream.read(&mut buffer).unwrap();
        assert!(count > 0, "the client hung up");
        splitter.push(&buffer[..count]);
    }
}

fn decision(body: &Body) -> Decision {
    let Body::SubmitTicket(m) = body else { panic!("a ticket") };
    let Body::Decision(sample) = Body::sample(Kind::Decision, 0) else { panic!("a sample of its kind") };
    Decision { brand: m.brand, ticket: m.ticket, ..sample }
}

/// Two nodes. The first leads, takes a message of this kind and dies; then the second leads and decides the ticket that
/// comes to it. The request numbers that they saw.
fn take_over(dies_with: Kind) -> ([SocketAddr; 2], JoinHandle<[u64; 2]>) {
    let ((first, a), (second, b)) = (listen(), listen());
    let nodes = thread::spawn(move || {
        let (mut standby, _) = second.accept().unwrap();
        let mut splitter = Splitter::new();
        until(&mut standby, &mut splitter, Kind::Hello);
        greet(&mut standby, 1, false);
        let (mut primary, _) = first.accept().unwrap();
        greet(&mut primary, 1, true);
        let (lost, _) = until(&mut primary, &mut Splitter::new(), dies_with);
        drop((primary, first));
        say(&mut standby, 2, 0, Leader { epoch: Epoch(2), leads: true, address: Text::default() });
        let (request, body) = until(&mut standby, &mut splitter, Kind::SubmitTicket);
        say(&mut standby, 2, request, decision(&body));
        let mut rest = Vec::new();
        let _ = standby.read_to_end(&mut rest);
        [lost, request]
    });
    ([a, b], nodes)
}

#[test]
fn a_ticket_that_the_dead_leader_left_is_decided_by_the_next_under_the_same_number() {
    let (addresses, nodes) = take_over(Kind::SubmitTicket);
    let mut client = Client::connect_cluster(&addresses, Role::Intake, "test", PATIENCE).unwrap();
    let ticket = Body::sample(Kind::SubmitTicket, 0);
    let Body::SubmitTicket(m) = ticket.clone() else { panic!("a sample of its kind") };
    assert_eq!(client.submit(m).unwrap(), decision(&ticket));
    let mut leaders = client.poll(Duration::ZERO).into_iter().filter_map(|event| match event {
        ClusterEvent::Leader { epoch, node } => Some((epoch.0, node)),
        _ => None,
    });
    assert_eq!(leaders.next_back(), Some((2, Some(1))));
    drop(client);
    let [lost, decided] = nodes.join().unwrap();
    assert_eq!(lost, decided);
}

#[test]
fn a_command_that_may_have_run_is_told_to_be_lost_and_does_not_go_to_the_next() {
    let (addresses, nodes) = take_over(Kind::SetLimit);
    let mut client = Client::connect_cluster(&addresses, Role::Operator, "test", PATIENCE).unwrap();
    let limit = Body::sample(Kind::SetLimit, 0);
    let told = client.command(limit.clone()).unwrap_err();
    assert!(matches!(&told, ClientError::Lost { body } if **body == limit), "{told}");
    let Body::SubmitTicket(m) = Body::sample(Kind::SubmitTicket, 0) else { panic!("a sample of its kind") };
    client.submit(m).unwrap();
    drop(client);
    nodes.join().unwrap();
}

/// Wakes a thread that waits for one future: the least that a runtime can be.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let (mut future, mut context) = (pin!(future), Context::from_waker(&waker));
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

#[test]
fn futures_are_completed_without_a_runtime() {
    let (addresses, nodes) = take_over(Kind::SubmitTicket);
    let client = ClusterClient::begin(&addresses, Role::Intake, "test", PATIENCE);
    let client = AsyncClient::start(client, |_| {});
    let ticket = Body::sample(Kind::SubmitTicket, 0);
    let answer = client.send(ticket.clone());
    assert_eq!(block_on(answer), Ok(Outcome::Decided(decision(&ticket))));
    let never = client.send(Body::sample(Kind::OpenAccount, 0));
    drop(client);
    assert_eq!(block_on(never), Err(Stopped));
    nodes.join().unwrap();
}

#[test]
fn a_cluster_that_nobody_leads_is_named() {
    let (_listener, address) = listen();
    let patience = Duration::from_millis(50);
    let told = Client::connect_cluster(&[address], Role::Intake, "test", patience).map(|_| ()).unwrap_err();
    assert!(told.to_string().starts_with(&format!("none of {address} led within")), "{told}");
}
