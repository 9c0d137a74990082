//! Admission: how many commands may be inside the node at once.
//!
//! A command enters when it takes a place and leaves when its answer passes the gate. Every queue behind this
//! point is bounded by it, so no stage can block another for want of room.
//!
//! How many tickets may be inside is at most what configuration says, and less where they stay too long
//! ([`crate::stage::shedding`]). Once half of the places are taken, they are shared out evenly among the connections
//! that have tickets inside: who sends a flood is refused first.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Places in the node.
#[derive(Debug)]
pub struct Admission {
    tickets: AtomicUsize,
    others: AtomicUsize,
    tickets_max: AtomicUsize,
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
            tickets_max: AtomicUsize::new(tickets_max),
            others_max,
            disk_full: AtomicBool::new(false),
        }
    }

    /// A ticket asks for a place. Its connection has `mine` inside already, and `senders` connections have any.
    pub fn ticket(&self, mine: usize, senders: usize) -> Result<(), Closed> {
        if self.disk_full.load(Ordering::Relaxed) {
            return Err(Closed::DiskFull);
        }
        let max = self.tickets_max.load(Ordering::Relaxed);
        let scarce = self.tickets.load(Ordering::Relaxed) > max / 2;
        if scarce && mine >= (max / senders.max(1)).max(1) {
            return Err(Closed::Overloaded);
        }
        take(&self.tickets, max)
    }

    /// From now on so many tickets may be inside; those that are stay.
    pub fn set_tickets_max(&self, max: usize) {
        self.tickets_max.store(max, Ordering::Relaxed);
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

    /// Every place is free again: what was inside is forgotten.
    pub fn forget(&self) {
        self.tickets.store(0, Ordering::Relaxed);
        self.others.store(0, Ordering::Relaxed);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_sends_a_flood_is_refused_before_others_are() {
        let admission = Admission::new(100, 1);
        let flood = (0..1000).take_while(|mine| admission.ticket(*mine, 2).is_ok()).count();
        assert_eq!(flood, 51, "half of the places, and its even share");
        let modest = (0..1000).take_while(|mine| admission.ticket(*mine, 2).is_ok()).count();
        assert_eq!(modest, 49, "the rest is left to the other one");
        assert_eq!(admission.ticket(0, 2), Err(Closed::Overloaded));
        admission.leave(true);
        assert_eq!(admission.ticket(60, 2), Err(Closed::Overloaded));
        assert_eq!(admission.ticket(0, 2), Ok(()));
    }

    #[test]
    fn fewer_places_take_nobodys_away() {
        let admission = Admission::new(100, 1);
        assert!((0..100).all(|_| admission.ticket(0, 1).is_ok()));
        admission.set_tickets_max(10);
        (0..91).for_each(|_| admission.leave(true));
        assert_eq!(admission.inside(), (9, 0));
        assert_eq!((admission.ticket(0, 1), admission.ticket(0, 1)), (Ok(()), Err(Closed::Overloaded)));
    }
}
