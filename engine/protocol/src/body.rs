//! Every message by its kind number: decoding, encoding and the readable form.

use crate::archive::*;
use crate::commands::*;
use crate::effects::*;
use crate::internal::*;
use crate::session::*;
use crate::wire::{Block, DecodeError, Message, Value};

/// Who a message is from and whether it is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Logged, from the node itself.
    Node,
    /// Logged, from a client.
    Command,
    /// Logged, between partitions.
    Internal,
    /// Of a connection, never logged.
    Session,
    /// What leaves after commit.
    Effect,
}

macro_rules! bodies {
    ($($kind:literal $class:ident $name:ident,)*) => {
        /// The number of a message.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u16)]
        pub enum Kind { $(
            #[doc = concat!("[`", stringify!($name), "`]")]
            $name = $kind,
        )* }

        impl Kind {
            /// Every kind, by number.
            pub const ALL: &'static [Kind] = &[$(Kind::$name,)*];

            /// The kind with this number.
            pub fn from_number(number: u16) -> Option<Kind> {
                match number { $($kind => Some(Kind::$name),)* _ => None }
            }

            /// The message's name.
            pub fn name(self) -> &'static str {
                match self { $(Kind::$name => stringify!($name),)* }
            }

            /// Who it is from.
            pub fn class(self) -> Class {
                match self { $(Kind::$name => Class::$class,)* }
            }

            /// Length of its block, bytes.
            pub fn block_bytes(self) -> usize {
                match self { $(Kind::$name => <$name as Block>::SIZE,)* }
            }

            /// Its byte table: purpose, fields of the block, tails.
            pub(crate) fn table(self) -> Table {
                match self { $(Kind::$name => Table {
                    doc: <$name as Block>::DOC, fields: <$name as Block>::FIELDS, tails: <$name as Message>::tails(),
                },)* }
            }
        }

        /// A decoded message.
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[allow(clippy::large_enum_variant)]
        pub enum Body { $(
            #[doc = concat!("[`", stringify!($name), "`]")]
            $name($name),
        )* }

        impl Body {
            /// The message's number.
            pub fn kind(&self) -> Kind {
                match self { $(Body::$name(_) => Kind::$name,)* }
            }

            /// Decodes a body of this kind whose block is `block` bytes long.
            pub fn decode(kind: u16, block: usize, bytes: &[u8]) -> Result<Body, DecodeError> {
                match kind {
                    $($kind => <$name as Message>::get_body(bytes, block).map(Body::$name),)*
                    _ => Err(DecodeError::UnknownKind(kind)),
                }
            }

            /// A message of this kind with sample values and so many entries in each list or text.
            pub fn sample(kind: Kind, entries: usize) -> Body {
                let number = u64::from(kind as u16) * 1000;
                match kind { $(Kind::$name => Body::$name(<$name as Message>::sample(number, entries)),)* }
            }

            /// Appends the body's bytes.
            pub fn put(&self, out: &mut Vec<u8>) {
                match self { $(Body::$name(message) => message.put_body(out),)* }
            }

            /// The readable form.
            pub fn show(&self) -> Value {
                match self { $(Body::$name(message) => message.show(),)* }
            }
        }

        $(impl From<$name> for Body {
            fn from(message: $name) -> Body {
                Body::$name(message)
            }
        })*
    };
}

/// What a byte table is written from.
pub(crate) struct Table {
    pub(crate) doc: &'static str,
    pub(crate) fields: &'static [(&'static str, &'static str, usize, &'static str)],
    pub(crate) tails: Vec<(&'static str, String, &'static str)>,
}

bodies! {
    1 Node Genesis,
    2 Node NewEpoch,
    3 Command Configure,
    4 Command Activate,
    5 Node SourceExpired,
    6 Node Attest,
    7 Command SetRetention,
    8 Node Archive,
    16 Command OpenAccount,
    17 Command SetAccountStatus,
    18 Command SetBook,
    32 Command OpenFixture,
    33 Command OpenMarkets,
    34 Command SetReference,
    35 Command SetIntensities,
    36 Command Incident,
    37 Command SourceFresh,
    38 Command Suspend,
    39 Command SetLimit,
    40 Command SetPrices,
    41 Command SettleFixture,
    42 Command SettleMarket,
    43 Command VoidMarket,
    44 Command RollbackSettlement,
    45 Command Reopen,
    64 Command SubmitTicket,
    80 Internal Reserve,
    81 Internal Reserved,
    82 Internal Confirm,
    83 Internal Rollback,
    84 Internal Publish,
    85 Internal Settled,
    86 Internal Unsettled,
    87 Internal PriceVerdict,
    88 Internal Closed,
    89 Internal Retire,
    90 Internal Recall,
    91 Internal Work,
    128 Session Hello,
    129 Session Welcome,
    130 Session Refused,
    131 Session Subscribe,
    132 Session Ping,
    133 Session Pong,
    134 Session Leader,
    135 Session Hold,
    144 Effect Decision,
    145 Effect Done,
    146 Effect BetSettled,
    147 Effect MarketSettled,
    148 Effect MarketOdds,
    149 Effect FixtureState,
    150 Effect LimitChanged,
    151 Effect Alarm,
    152 Effect BetArchived,
    153 Effect FixtureArchived,
}

// Bodies are moved about by value: a rare message must not make every bet's copy longer.
const _: () = assert!(size_of::<Body>() <= 160);

impl Body {
    /// Sender and number of an internal message.
    pub fn hop(&self) -> Option<Hop> {
        match self {
            Body::Reserve(m) => Some(m.hop),
            Body::Reserved(m) => Some(m.hop),
            Body::Confirm(m) => Some(m.hop),
            Body::Rollback(m) => Some(m.hop),
            Body::Publish(m) => Some(m.hop),
            Body::Settled(m) => Some(m.hop),
            Body::Unsettled(m) => Some(m.hop),
            Body::PriceVerdict(m) => Some(m.hop),
            Body::Closed(m) => Some(m.hop),
            Body::Retire(m) => Some(m.hop),
            Body::Recall(m) => Some(m.hop),
            _ => None,
        }
    }
}
