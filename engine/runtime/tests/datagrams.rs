//! Real UDP sockets on the loopback device, over both drivers.

use std::net::UdpSocket;
use std::os::fd::OwnedFd;
use std::time::Duration;
use touchline_runtime::datagrams::{Datagrams, Event, Limits};
use touchline_runtime::sockets::{Driver, Wait};

/// Far beyond what anything here takes: a test that reaches it has failed.
const PATIENCE: Wait = Wait::AtMost(Duration::from_secs(60));
const LIMITS: Limits = Limits { datagram_bytes: 1500, receives: 64, sends: 8 };

/// An end that receives, and one that sends to it; none where this driver cannot be had here.
fn pair(driver: Driver, wake: Option<OwnedFd>) -> Option<[Datagrams; 2]> {
    let input = UdpSocket::bind("127.0.0.1:0").unwrap();
    let outputs = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
    outputs.iter().for_each(|output| output.connect(input.local_addr().unwrap()).unwrap());
    match Datagrams::new(driver, vec![input], vec![], &LIMITS, wake) {
        Ok(receiver) => {
            Some([receiver, Datagrams::new(driver, vec![], outputs.into(), &LIMITS, None).unwrap()])
        }
        Err(error) if driver == Driver::Uring => {
            println!("SKIPPED: no io_uring here ({error})");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

fn receive(receiver: &mut Datagrams, count: usize) -> Vec<Vec<u8>> {
    let mut got = Vec::new();
    while got.len() < count {
        let events = receiver.step(PATIENCE, &mut |event| {
            if let Event::Datagram { data, .. } = event {
                got.push(data.to_vec());
            }
        });
        assert!(events.unwrap() > 0, "{} of {count} arrived", got.len());
    }
    got
}

#[test]
fn datagrams_arrive_whole_and_slots_are_used_again() {
    for driver in [Driver::Uring, Driver::Portable] {
        let Some([mut receiver, mut sender]) = pair(driver, None) else { continue };
        assert_eq!((receiver.driver(), sender.driver()), (driver, driver));
        // More than there are slots and buffers, and fewer at a time than a socket of the system holds.
        for round in 0..40u8 {
            for number in 0..4u8 {
                let datagram = vec![round; 1 + usize::from(number) * 400];
                assert!(sender.send(&[0, 1], &datagram), "{driver:?}");
            }
            sender.flush().unwrap();
            let mut lengths: Vec<usize> = receive(&mut receiver, 8).iter().map(Vec::len).collect();
            lengths.sort_unstable();
            assert_eq!(lengths, [1, 1, 401, 401, 801, 801, 1201, 1201]);
        }
    }
}

#[test]
fn slots_that_were_sent_are_free_without_a_step() {
    for driver in [Driver::Uring, Driver::Portable] {
        let Some([mut receiver, mut sender]) = pair(driver, None) else { continue };
        let mut taken = 0;
        for _ in 0..30 {
            taken += usize::from(sender.send(&[0], b"one"));
            if driver == Driver::Portable {
                sender.flush().unwrap();
            }
        }
        sender.flush().unwrap();
        assert_eq!(taken, 30, "{driver:?}");
        receive(&mut receiver, 30);
    }
}

#[test]
fn a_thread_is_woken_while_it_waits() {
    for driver in [Driver::Uring, Driver::Portable] {
        let flags = rustix::event::EventfdFlags::NONBLOCK;
        let wake = rustix::event::eventfd(0, flags).unwrap();
        let bell = wake.try_clone().unwrap();
        let Some([mut receiver, _]) = pair(driver, Some(wake)) else { continue };
        for _ in 0..3 {
            rustix::io::write(&bell, &1u64.to_ne_bytes()).unwrap();
            let mut woken = 0;
            while woken == 0 {
                receiver
                    .step(PATIENCE, &mut |event| woken += i32::from(matches!(event, Event::Woken)))
                    .unwrap();
            }
            assert_eq!(receiver.step(Wait::Poll, &mut |_| {}).unwrap(), 0);
        }
    }
}

#[test]
fn a_receiver_that_is_not_there_harms_nobody() {
    for driver in [Driver::Uring, Driver::Portable] {
        let Some([receiver, mut sender]) = pair(driver, None) else { continue };
        drop(receiver);
        for _ in 0..20 {
            assert!(sender.send(&[0], b"nobody"));
            sender.step(Wait::Poll, &mut |_| {}).unwrap();
        }
    }
}
