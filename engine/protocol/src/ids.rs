//! Typed identifiers, the ticket id, and the fixed hashes that place customers and fixtures on partitions.

use crate::wire::{Fault, Field, Value, id};
use xxhash_rust::xxh3::xxh3_64;

id! {
    /// A betting company served by this appliance.
    BrandId(u16)
}
id! {
    /// An opaque customer number; what identifies a person stays with the brand.
    CustomerId(u64)
}
id! {
    /// A match.
    FixtureId(u64)
}
id! {
    /// A competition.
    CompetitionId(u32)
}
id! {
    /// A feed source.
    SourceId(u16)
}
id! {
    /// A person or service that acts for a brand; 0 is the appliance itself.
    OperatorId(u32)
}
id! {
    /// Position of a frame in the global sequence, from 1.
    Seq(u64)
}
id! {
    /// Generation of the cluster's configuration, from 1.
    Epoch(u64)
}
id! {
    /// Nanoseconds since the Unix epoch.
    At(i64)
}

/// A logical partition, or one of the tags that stand for several or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionId(pub u16);

impl PartitionId {
    /// Every partition applies the frame.
    pub const ALL: PartitionId = PartitionId(u16::MAX);
    /// No partition applies the frame: session messages.
    pub const NONE: PartitionId = PartitionId(u16::MAX - 1);

    /// Whether this is one partition rather than a tag.
    pub fn is_one(self) -> bool {
        self.0 < PARTITIONS_MAX
    }
}

/// The largest number of partitions that a genesis frame may set.
pub const PARTITIONS_MAX: u16 = 64;

impl Field for PartitionId {
    const SIZE: usize = 2;
    const TYPE: &'static str = "u16";
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
    }
    fn get(bytes: &[u8]) -> Result<Self, Fault> {
        let tag = PartitionId(u16::get(bytes)?);
        if tag.is_one() || tag == PartitionId::ALL || tag == PartitionId::NONE {
            Ok(tag)
        } else {
            Err(Fault::Range("0 to 63, 65534 (none) or 65535 (all)"))
        }
    }
    fn show(&self) -> Value {
        match *self {
            PartitionId::ALL => Value::Text("ALL".into()),
            PartitionId::NONE => Value::Text("NONE".into()),
            PartitionId(one) => Value::Uint(one.into()),
        }
    }
    fn sample(number: u64) -> Self {
        match number % 66 {
            64 => PartitionId::NONE,
            65 => PartitionId::ALL,
            one => PartitionId(one as u16),
        }
    }
}

impl CustomerId {
    /// The 16-bit hash that a ticket id of this customer carries: the low bits of XXH3-64 over the brand and
    /// the customer, both little-endian.
    pub fn hash(self, brand: BrandId) -> u16 {
        let mut bytes = [0; 10];
        bytes[..2].copy_from_slice(&brand.0.to_le_bytes());
        bytes[2..].copy_from_slice(&self.0.to_le_bytes());
        xxh3_64(&bytes) as u16
    }

    /// The partition that owns this customer's account, bets and result table.
    pub fn partition(self, brand: BrandId, partitions: u16) -> PartitionId {
        PartitionId(self.hash(brand) % partitions)
    }
}

impl FixtureId {
    /// The partition that owns this fixture: XXH3-64 over its little-endian number, modulo the count.
    pub fn partition(self, partitions: u16) -> PartitionId {
        PartitionId((xxh3_64(&self.0.to_le_bytes()) % u64::from(partitions)) as u16)
    }
}

/// A ticket id: 48 bits issue time (Unix milliseconds), 16 bits customer hash, 64 random bits.
///
/// On the wire its 16 bytes stand most significant first, so ids sort by issue time and read that way in hex.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TicketId(pub u128);

impl TicketId {
    /// Builds an id. `issued_ms` keeps its low 48 bits (enough until the year 10889).
    pub fn new(issued_ms: u64, brand: BrandId, customer: CustomerId, random: u64) -> Self {
        let issued = u128::from(issued_ms & 0xFFFF_FFFF_FFFF);
        TicketId(issued << 80 | u128::from(customer.hash(brand)) << 64 | u128::from(random))
    }

    /// Issue time in Unix milliseconds.
    pub fn issued_ms(self) -> u64 {
        (self.0 >> 80) as u64
    }

    /// The customer hash it carries.
    pub fn customer_hash(self) -> u16 {
        (self.0 >> 64) as u16
    }

    /// The ticket's home partition: that of its customer.
    pub fn home(self, partitions: u16) -> PartitionId {
        PartitionId(self.customer_hash() % partitions)
    }

    /// Parses 32 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        (text.len() == 32).then(|| u128::from_str_radix(text, 16).ok()).flatten().map(TicketId)
    }
}

impl std::fmt::Display for TicketId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl Field for TicketId {
    const SIZE: usize = 16;
    const TYPE: &'static str = "ticket id";
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0.to_be_bytes());
    }
    fn get(bytes: &[u8]) -> Result<Self, Fault> {
        bytes.try_into().map(|bytes| TicketId(u128::from_be_bytes(bytes))).map_err(|_| Fault::Truncated)
    }
    fn show(&self) -> Value {
        Value::Text(self.to_string())
    }
    fn sample(number: u64) -> Self {
        TicketId(u128::sample(number))
    }
}

/// A market of a fixture: its unified-odds number and its line in quarter units (2.5 is 10, −0.75 is −3,
/// 0 where the market takes none). Kind 0 stands for the whole fixture where a command allows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MarketKey {
    /// Unified-odds market number.
    pub kind: u16,
    /// Line in quarter units.
    pub line: i32,
}

impl MarketKey {
    /// Every market of the fixture.
    pub const WHOLE_FIXTURE: MarketKey = MarketKey { kind: 0, line: 0 };

    /// A market with a line in quarter units.
    pub const fn new(kind: u16, line: i32) -> Self {
        MarketKey { kind, line }
    }
}

impl std::fmt::Display for MarketKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            0 => write!(f, "{}", self.kind),
            line => write!(f, "{}@{}", self.kind, f64::from(line) / 4.0),
        }
    }
}

impl Field for MarketKey {
    const SIZE: usize = 6;
    const TYPE: &'static str = "market: u16 number, i32 line in quarters";
    fn put(&self, out: &mut Vec<u8>) {
        self.kind.put(out);
        self.line.put(out);
    }
    fn get(bytes: &[u8]) -> Result<Self, Fault> {
        let (kind, line) = bytes.split_at_checked(2).ok_or(Fault::Truncated)?;
        Ok(MarketKey { kind: u16::get(kind)?, line: i32::get(line)? })
    }
    fn show(&self) -> Value {
        Value::Record(vec![
            ("kind", Value::Uint(self.kind.into())),
            ("line_quarters", Value::Int(self.line.into())),
        ])
    }
    fn sample(number: u64) -> Self {
        MarketKey::new(u16::sample(number), i32::sample(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_id_carries_time_and_home() {
        let (brand, customer) = (BrandId(7), CustomerId(123_456));
        let id = TicketId::new(1_790_000_000_123, brand, customer, 42);
        assert_eq!(id.issued_ms(), 1_790_000_000_123);
        assert_eq!(id.customer_hash(), customer.hash(brand));
        assert_eq!(id.home(64), customer.partition(brand, 64));
        assert_eq!(TicketId::parse(&id.to_string()), Some(id));
        assert!(id < TicketId::new(1_790_000_000_124, brand, customer, 0), "ids sort by issue time");
    }

    #[test]
    fn placement_is_fixed_for_ever() {
        // A journal written by any version must find its partitions again: these values never change.
        assert_eq!(CustomerId(1).hash(BrandId(1)), 53_101);
        assert_eq!(FixtureId(1).partition(64), PartitionId(46));
        assert_eq!(FixtureId(2_500_089).partition(64), PartitionId(41));
    }
}
