//! What becomes of a command at which the core's decision has a defect.

use super::{Auditor, Waiting};
use touchline_protocol::*;

impl Auditor {
    /// INTERNAL for whoever waits; the fixture is suspended where the partition that met the defect has it.
    pub(super) fn defect(&mut self, e: &Envelope, body: Body, partitions: u16) {
        let fixture = match body {
            Body::SubmitTicket(m) => {
                let (key, fixture) = ((m.brand, m.ticket), m.fixture);
                if !self.decisions.contains_key(&key) && !self.waiting.contains_key(&key) {
                    self.reject(e, m, Code::Internal);
                }
                fixture
            }
            Body::Reserve(m) => {
                let hop = Hop { from: e.partition, number: 0 };
                let (brand, ticket, odds, checked_at) = (m.brand, m.ticket, m.odds, e.seq);
                self.owe(
                    e.partition,
                    Reserved { hop, brand, ticket, code: Code::Internal, odds, checked_at },
                );
                m.fixture
            }
            Body::Reserved(m) => {
                let Some(Waiting { ticket, held }) = self.waiting.remove(&(m.brand, m.ticket)) else {
                    return;
                };
                let fixture = ticket.fixture;
                if m.code == Code::Accepted {
                    let hop = Hop { from: e.partition, number: 0 };
                    self.owe(e.partition, Rollback { hop, brand: m.brand, ticket: m.ticket, fixture });
                }
                // A ticket of somebody without an account was rejected at once.
                self.customer(&ticket).open -= held;
                self.reject(e, ticket, Code::Internal);
                fixture
            }
            // All partitions, its own among them.
            Body::Settled(Settled { fixture, .. }) | Body::Unsettled(Unsettled { fixture, .. }) => {
                self.put_off(e, fixture, body, partitions);
                if let Some(fixture) = self.book.fixtures.get_mut(&fixture) {
                    fixture.suspended |= 1 << Reason::Internal as u8;
                }
                return;
            }
            Body::Work(m) => match self.work_fails(e, &m, partitions) {
                Some(fixture) => fixture,
                None => return,
            },
            Body::Incident(m) => m.fixture,
            _ => return,
        };
        let here = fixture.partition(partitions) == e.partition;
        if let Some(fixture) = self.book.fixtures.get_mut(&fixture).filter(|_| here) {
            fixture.suspended |= 1 << Reason::Internal as u8;
        }
    }
}
