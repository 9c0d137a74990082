//! One connection's bytes: the greeting and frames out, frames in.

use touchline_protocol::frame::encode;
use touchline_protocol::*;

/// What is said on a connection, and said again on the next.
pub(crate) struct Link {
    hello: Hello,
    subscribe: Option<Subscribe>,
    splitter: Splitter,
    out: Vec<u8>,
}

impl Link {
    pub(crate) fn new(role: Role, name: &str) -> Self {
        let hello = Hello { role, version: 1, epoch: Epoch(0), name: Text::cut(name) };
        Link { hello, subscribe: None, splitter: Splitter::new(), out: Vec::new() }
    }

    /// A connection was made: what was left of the one before is void, and the greeting goes first.
    pub(crate) fn connected(&mut self) {
        self.splitter = Splitter::new();
        self.out.clear();
        let hello = self.hello.clone().into();
        self.write(0, &hello);
        if let Some(subscribe) = self.subscribe.clone() {
            self.write(0, &subscribe.into());
        }
    }

    /// Asks for streams, now and behind every greeting.
    pub(crate) fn subscribe(&mut self, wants: Subscribe) {
        self.subscribe = Some(wants.clone());
        self.write(0, &wants.into());
    }

    pub(crate) fn write(&mut self, request: u64, body: &Body) {
        encode(&Envelope::session(0, self.hello.epoch, request), body, &mut self.out);
    }

    pub(crate) fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.splitter.push(bytes);
    }

    /// The next whole frame; an error ends the connection.
    pub(crate) fn next_frame(&mut self) -> Result<Option<(Envelope, Body)>, String> {
        let Some(frame) = self.splitter.next_frame().map_err(|error| error.to_string())? else {
            return Ok(None);
        };
        let (envelope, body) = (frame.envelope(), frame.body().map_err(|error| error.to_string())?);
        self.heard(envelope.epoch);
        Ok(Some((envelope, body)))
    }

    /// The highest epoch heard of, here or elsewhere: what is sent carries it.
    pub(crate) fn heard(&mut self, epoch: Epoch) {
        self.hello.epoch = self.hello.epoch.max(epoch);
    }
}
