//! Admission: how many commands may be inside the node at once.
//!
//! A command enters when it takes a place and leaves when its answer passes the gate. Every queue behind this
//! point is bounded by it, so no stage can block another for want of room.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Places in the node.
#[derive(Debug)]
pub struct Admission {
    tickets: AtomicUsize,
    others: AtomicUsize,
    tickets_max: usize,
    others_max: usize,
    disk_full: AtomicBool,
}

/// Why a command may not enter now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// No place is free.
    Overloaded,
    /// The journal cannot grow.
    DiskFull,
}

impl Admission {
    /// Room for so many tickets, and so many other commands.
    pub fn new(tickets_max: usize, others_max: usize) -> Self {
        Admission {
            tickets: AtomicUsize::new(0),
            others: AtomicUsize::new(0),
            tickets_max,
            others_max,
            disk_full: AtomicBool::new(false),
        }
    }

    /// A ticket asks for a place.
    pub fn ticket(&self) -> Result<(), Closed> {
        if self.disk_full.load(Ordering::Relaxed) {
            return Err(Closed::DiskFull);
        }
        take(&self.tickets, self.tickets_max)
    }

    /// Another command asks for a place; its sender waits rather than being refused.
    pub fn other(&self) -> Result<(), Closed> {
        take(&self.others, self.others_max)
    }

    /// An answer passed the gate.
    pub fn leave(&self, was_ticket: bool) {
        let places = if was_ticket { &self.tickets } else { &self.others };
        // Saturating: an answer may go out twice where a waiting ticket was asked for on two connections.
        let _ = places.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taken| taken.checked_sub(1));
    }

    /// The journal can, or can no longer, allocate room ahead. Suspensions and settlements still pass.
    pub fn set_disk_full(&self, full: bool) {
        self.disk_full.store(full, Ordering::Relaxed);
    }

    /// Tickets and other commands inside.
    pub fn inside(&self) -> (usize, usize) {
        (self.tickets.load(Ordering::Relaxed), self.others.load(Ordering::Relaxed))
    }
}

fn take(places: &AtomicUsize, max: usize) -> Result<(), Closed> {
    let grown = |taken: usize| (taken < max).then_some(taken + 1);
    places
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, grown)
        .map(|_| ())
        .map_err(|_| Closed::Overloaded)
}
