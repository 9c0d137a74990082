//! The event streams as a subscriber hears them: without gaps, and the same again after every restart.

use std::collections::BTreeMap;
use touchline_protocol::*;

/// What a subscriber was told.
#[derive(Default)]
pub(crate) struct Streams {
    events: BTreeMap<(PartitionId, u64), Body>,
    /// Last number told on this connection.
    last: BTreeMap<PartitionId, u64>,
}

/// The number of an event in its partition's stream. An alarm of a node that its own state is odd has none.
pub(crate) fn event_number(body: &Body) -> Option<u64> {
    let number = match body {
        Body::Decision(m) => Some(m.event),
        Body::BetSettled(m) => Some(m.event),
        Body::MarketSettled(m) => Some(m.event),
        Body::LimitChanged(m) => Some(m.event),
        Body::Alarm(m) => Some(m.event),
        Body::BetArchived(m) => Some(m.event),
        Body::FixtureArchived(m) => Some(m.event),
        _ => None,
    };
    number.filter(|number| *number > 0)
}

impl Streams {
    /// The subscriber has a new connection: its streams may begin anywhere.
    pub(crate) fn connected(&mut self) {
        self.last.clear();
    }

    /// The subscriber is told something; anything but events is passed over.
    pub(crate) fn told(&mut self, partition: PartitionId, body: &Body) -> Result<(), String> {
        let Some(number) = event_number(body) else { return Ok(()) };
        if let Some(last) = self.last.insert(partition, number)
            && number != last + 1
        {
            return Err(format!("partition {}: event {number} follows {last}", partition.0));
        }
        let first = self.events.entry((partition, number)).or_insert_with(|| body.clone());
        if first == body {
            Ok(())
        } else {
            Err(format!("event {number} of partition {} was {first:?}, later {body:?}", partition.0))
        }
    }

    /// Different events told.
    pub(crate) fn count(&self) -> u64 {
        self.events.len() as u64
    }

    /// Everything told is in the log's own streams.
    pub(crate) fn check(&self, log: &BTreeMap<(PartitionId, u64), Body>) -> Result<(), String> {
        for (key, told) in &self.events {
            if log.get(key) != Some(told) {
                let (partition, number) = (key.0.0, key.1);
                let due = log.get(key);
                return Err(format!("event {number} of partition {partition}: told {told:?}, due {due:?}"));
            }
        }
        Ok(())
    }
}
