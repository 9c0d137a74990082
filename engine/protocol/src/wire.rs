//! Field-by-field little-endian encoding: one definition of a message gives its codec, its byte table and
//! its readable form.
//!
//! A body is a fixed *block* (SBE's root block) followed by *tails*: lists (`u16` entry size, `u16` count,
//! entries) and texts (`u16` length, UTF-8). The frame header carries the block's length, so a reader of an
//! older version skips fields appended later. Loads and stores inline to plain moves: a derive of packed
//! structs was no faster for these sizes and could not describe lists.

use crate::frame::{SCHEMA_OLDEST, SCHEMA_VERSION};
use std::fmt;

/// Why a field could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The bytes end before the field does.
    Truncated,
    /// The value is outside the range that the field allows; the text names the range.
    Range(&'static str),
    /// A list or text is longer than its limit, given here.
    TooLong(usize),
    /// A text is not valid UTF-8 or holds control characters.
    Text,
    /// Bytes are left over after the last field.
    Trailing,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Truncated => write!(f, "the message ends too early"),
            Fault::Range(range) => write!(f, "the value must be {range}"),
            Fault::TooLong(limit) => write!(f, "longer than the limit of {limit}"),
            Fault::Text => write!(f, "not printable UTF-8"),
            Fault::Trailing => write!(f, "bytes are left over"),
        }
    }
}

/// A body that could not be decoded: which message, which field, why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// No message has this kind.
    UnknownKind(u16),
    /// The body's schema version is none that this program reads.
    Version(u16),
    /// A field is wrong.
    Field {
        /// Name of the message.
        message: &'static str,
        /// Name of the field.
        field: &'static str,
        /// What is wrong with it.
        fault: Fault,
    },
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DecodeError::UnknownKind(kind) => write!(f, "no message has kind {kind}"),
            DecodeError::Version(version) if *version > SCHEMA_VERSION => write!(
                f,
                "schema version {version} is newer than {SCHEMA_VERSION}, the newest that this program reads: use the version \
                 of the program that wrote it, or a later one"
            ),
            DecodeError::Version(version) => write!(
                f,
                "schema version {version} is older than {SCHEMA_OLDEST}, the oldest that this program reads: it takes an \
                 earlier version of the program"
            ),
            DecodeError::Field { message, field, fault } => write!(f, "{message}.{field}: {fault}"),
        }
    }
}

impl std::error::Error for DecodeError {}

/// A value in readable form, for dumps and logs. It carries no type that JSON lacks.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// An unsigned integer.
    Uint(u64),
    /// A signed integer.
    Int(i64),
    /// A truth value.
    Bool(bool),
    /// A name, a text, or a number too wide for JSON in hexadecimal.
    Text(String),
    /// Entries of a list.
    List(Vec<Value>),
    /// Named values in wire order.
    Record(Vec<(&'static str, Value)>),
}

/// A fixed-size field.
pub trait Field: Sized {
    /// Bytes on the wire.
    const SIZE: usize;
    /// Name of the wire type in the byte tables.
    const TYPE: &'static str;
    /// Appends exactly [`Self::SIZE`] bytes.
    fn put(&self, out: &mut Vec<u8>);
    /// Reads from exactly [`Self::SIZE`] bytes.
    fn get(bytes: &[u8]) -> Result<Self, Fault>;
    /// The readable form.
    fn show(&self) -> Value;
    /// A valid value that differs from number to number: for golden files and as seeds of hostile input.
    fn sample(number: u64) -> Self;
}

impl<F: Field> Field for Box<F> {
    const SIZE: usize = F::SIZE;
    const TYPE: &'static str = F::TYPE;
    fn put(&self, out: &mut Vec<u8>) {
        F::put(self, out);
    }
    fn get(bytes: &[u8]) -> Result<Self, Fault> {
        F::get(bytes).map(Box::new)
    }
    fn show(&self) -> Value {
        F::show(self)
    }
    fn sample(number: u64) -> Self {
        Box::new(F::sample(number))
    }
}

/// A variable-size field behind the block.
pub trait Tail: Sized {
    /// Description in the byte tables.
    fn describe() -> String;
    /// Appends length and contents.
    fn put(&self, out: &mut Vec<u8>);
    /// Reads from the front of `bytes` and moves it on.
    fn take(bytes: &mut &[u8]) -> Result<Self, Fault>;
    /// The readable form.
    fn show(&self) -> Value;
    /// A valid value of `entries` entries or characters, fewer where so many are not allowed.
    fn sample(number: u64, entries: usize) -> Self;
}

/// A fixed block of fields: the root of a message or an entry of a list.
pub trait Block: Sized {
    /// Name in tables and errors.
    const NAME: &'static str;
    /// Bytes on the wire.
    const SIZE: usize;
    /// What it is for.
    const DOC: &'static str;
    /// Name, wire type, size and meaning of each field, in order.
    const FIELDS: &'static [(&'static str, &'static str, usize, &'static str)];
    /// Appends the block.
    fn put_block(&self, out: &mut Vec<u8>);
    /// Reads a block; the error names the field.
    fn get_block(bytes: &[u8]) -> Result<Self, (&'static str, Fault)>;
    /// The readable form.
    fn show_block(&self) -> Vec<(&'static str, Value)>;
    /// A block of sample values, no two fields with the same number.
    fn sample_block(number: u64) -> Self;
}

macro_rules! integer_field {
    ($($type:ty => $variant:ident as $wide:ty),*) => {$(
        impl Field for $type {
            const SIZE: usize = size_of::<$type>();
            const TYPE: &'static str = stringify!($type);
            fn put(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }
            fn get(bytes: &[u8]) -> Result<Self, Fault> {
                bytes.try_into().map(<$type>::from_le_bytes).map_err(|_| Fault::Truncated)
            }
            fn show(&self) -> Value {
                Value::$variant(<$wide>::from(*self))
            }
            fn sample(number: u64) -> Self {
                (number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as $type
            }
        }
    )*};
}

integer_field!(u8 => Uint as u64, u16 => Uint as u64, u32 => Uint as u64, u64 => Uint as u64,
               i32 => Int as i64, i64 => Int as i64);

impl Field for u128 {
    const SIZE: usize = 16;
    const TYPE: &'static str = "u128";
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_le_bytes());
    }
    fn get(bytes: &[u8]) -> Result<Self, Fault> {
        bytes.try_into().map(u128::from_le_bytes).map_err(|_| Fault::Truncated)
    }
    fn show(&self) -> Value {
        Value::Text(format!("{self:032x}"))
    }
    fn sample(number: u64) -> Self {
        u128::from(number).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835)
    }
}

impl Field for bool {
    const SIZE: usize = 1;
    const TYPE: &'static str = "bool";
    fn put(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }
    fn get(bytes: &[u8]) -> Result<Self, Fault> {
        match bytes {
            [0] => Ok(false),
            [1] => Ok(true),
            [] => Err(Fault::Truncated),
            _ => Err(Fault::Range("0 or 1")),
        }
    }
    fn show(&self) -> Value {
        Value::Bool(*self)
    }
    fn sample(number: u64) -> Self {
        number % 2 == 1
    }
}

/// A list of at most `MAX` entries behind the block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List<T, const MAX: usize>(pub Vec<T>);

impl<T, const MAX: usize> Default for List<T, MAX> {
    fn default() -> Self {
        List(Vec::new())
    }
}

impl<T, const MAX: usize> std::ops::Deref for List<T, MAX> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T: Block, const MAX: usize> Tail for List<T, MAX> {
    fn describe() -> String {
        format!("list of at most {MAX} × {} ({} bytes each)", T::NAME, T::SIZE)
    }

    fn put(&self, out: &mut Vec<u8>) {
        assert!(self.0.len() <= MAX, "{} entries exceed the limit of {MAX}", self.0.len());
        (T::SIZE as u16).put(out);
        (self.0.len() as u16).put(out);
        for entry in &self.0 {
            entry.put_block(out);
        }
    }

    fn take(bytes: &mut &[u8]) -> Result<Self, Fault> {
        let size = usize::from(u16::get(split(bytes, 2)?)?);
        let count = usize::from(u16::get(split(bytes, 2)?)?);
        if count > MAX {
            return Err(Fault::TooLong(MAX));
        }
        if size < T::SIZE || size * count > bytes.len() {
            return Err(Fault::Truncated);
        }
        let mut entries = Vec::with_capacity(count);
        for _ in 0..count {
            let entry = split(bytes, size)?;
            entries.push(T::get_block(&entry[..T::SIZE]).map_err(|(_, fault)| fault)?);
        }
        Ok(List(entries))
    }

    fn show(&self) -> Value {
        Value::List(self.0.iter().map(|entry| Value::Record(entry.show_block())).collect())
    }

    fn sample(number: u64, entries: usize) -> Self {
        List((0..entries.min(MAX) as u64).map(|n| T::sample_block(number + 100 * n)).collect())
    }
}

/// A printable UTF-8 text of at most `MAX` bytes behind the block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text<const MAX: usize>(String);

impl<const MAX: usize> Text<MAX> {
    /// Takes a text, cut at a character boundary to at most `MAX` bytes, control characters replaced.
    pub fn cut(text: &str) -> Self {
        let mut kept = String::new();
        for c in text.chars().map(|c| if c.is_control() { ' ' } else { c }) {
            if kept.len() + c.len_utf8() > MAX {
                break;
            }
            kept.push(c);
        }
        Text(kept)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<const MAX: usize> Tail for Text<MAX> {
    fn describe() -> String {
        format!("text of at most {MAX} bytes")
    }

    fn put(&self, out: &mut Vec<u8>) {
        (self.0.len() as u16).put(out);
        out.extend_from_slice(self.0.as_bytes());
    }

    fn take(bytes: &mut &[u8]) -> Result<Self, Fault> {
        let length = usize::from(u16::get(split(bytes, 2)?)?);
        if length > MAX {
            return Err(Fault::TooLong(MAX));
        }
        let text = std::str::from_utf8(split(bytes, length)?).map_err(|_| Fault::Text)?;
        if text.chars().any(char::is_control) {
            return Err(Fault::Text);
        }
        Ok(Text(text.to_owned()))
    }

    fn show(&self) -> Value {
        Value::Text(self.0.clone())
    }

    fn sample(number: u64, entries: usize) -> Self {
        let letter = |n: usize| char::from(b'a' + ((number as usize + n) % 26) as u8);
        Text((0..entries.min(MAX)).map(letter).collect())
    }
}

/// Splits `count` bytes off the front.
pub(crate) fn split<'a>(bytes: &mut &'a [u8], count: usize) -> Result<&'a [u8], Fault> {
    let (head, rest) = bytes.split_at_checked(count).ok_or(Fault::Truncated)?;
    *bytes = rest;
    Ok(head)
}

/// Defines a block: a struct with its codec, byte table and readable form.
macro_rules! block {
    ($(#[doc = $doc:literal])* $name:ident { $($(#[doc = $fdoc:literal])* $field:ident: $type:ty,)* }) => {
        $(#[doc = $doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name { $($(#[doc = $fdoc])* pub $field: $type,)* }

        $crate::wire::block_impl!($name, concat!($($doc, "\n"),*), { $($field: $type, concat!($($fdoc),*);)* });
    };
}

/// Implements [`Block`] for the fixed fields of a struct that may also have tails.
macro_rules! block_impl {
    ($name:ident, $doc:expr, { $($field:ident: $type:ty, $fdoc:expr;)* } $(, tails { $($tail:ident),* })?) => {
        impl $crate::wire::Block for $name {
            const NAME: &'static str = stringify!($name);
            const SIZE: usize = 0 $(+ <$type as $crate::wire::Field>::SIZE)*;
            const DOC: &'static str = $doc;
            const FIELDS: &'static [(&'static str, &'static str, usize, &'static str)] = &[$((
                stringify!($field), <$type as $crate::wire::Field>::TYPE,
                <$type as $crate::wire::Field>::SIZE, $fdoc,
            ),)*];

            #[allow(unused_variables)]
            fn put_block(&self, out: &mut Vec<u8>) {
                $($crate::wire::Field::put(&self.$field, out);)*
            }

            #[allow(unused_assignments, unused_mut, unused_variables)]
            fn get_block(bytes: &[u8]) -> Result<Self, (&'static str, $crate::wire::Fault)> {
                let mut at = 0;
                $(
                    let size = <$type as $crate::wire::Field>::SIZE;
                    let $field = bytes
                        .get(at..at + size)
                        .ok_or($crate::wire::Fault::Truncated)
                        .and_then(<$type as $crate::wire::Field>::get)
                        .map_err(|fault| (stringify!($field), fault))?;
                    at += size;
                )*
                Ok($name { $($field,)* $($($tail: Default::default(),)*)? })
            }

            fn show_block(&self) -> Vec<(&'static str, $crate::wire::Value)> {
                vec![$((stringify!($field), $crate::wire::Field::show(&self.$field)),)*]
            }

            #[allow(unused_assignments, unused_mut, unused_variables)]
            fn sample_block(number: u64) -> Self {
                let mut next = number;
                $(
                    next += 1;
                    let $field = <$type as $crate::wire::Field>::sample(next);
                )*
                $name { $($field,)* $($($tail: Default::default(),)*)? }
            }
        }
    };
}

/// Defines a message: a block, optional tails, and its kind.
macro_rules! message {
    ($(#[doc = $doc:literal])* $name:ident { $($(#[doc = $fdoc:literal])* $field:ident: $type:ty,)* }
     $(then { $($(#[doc = $tdoc:literal])* $tail:ident: $ttype:ty,)* })?) => {
        $(#[doc = $doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name {
            $($(#[doc = $fdoc])* pub $field: $type,)*
            $($($(#[doc = $tdoc])* pub $tail: $ttype,)*)?
        }

        $crate::wire::block_impl!($name, concat!($($doc, "\n"),*), { $($field: $type, concat!($($fdoc),*);)* }
            $(, tails { $($tail),* })?);

        impl $crate::wire::Message for $name {
            #[allow(unused_variables)]
            fn put_tails(&self, out: &mut Vec<u8>) {
                $($($crate::wire::Tail::put(&self.$tail, out);)*)?
            }

            #[allow(unused_variables, unused_mut)]
            fn take_tails(&mut self, bytes: &mut &[u8]) -> Result<(), (&'static str, $crate::wire::Fault)> {
                $($(self.$tail = $crate::wire::Tail::take(bytes).map_err(|fault| (stringify!($tail), fault))?;)*)?
                Ok(())
            }

            #[allow(unused_mut)]
            fn show(&self) -> $crate::wire::Value {
                let mut fields = $crate::wire::Block::show_block(self);
                $($(fields.push((stringify!($tail), $crate::wire::Tail::show(&self.$tail)));)*)?
                $crate::wire::Value::Record(fields)
            }

            #[allow(unused_variables, unused_mut)]
            fn sample(number: u64, entries: usize) -> Self {
                let mut message = <Self as $crate::wire::Block>::sample_block(number);
                $($(message.$tail = $crate::wire::Tail::sample(number + 50, entries);)*)?
                message
            }

            fn tails() -> Vec<(&'static str, String, &'static str)> {
                vec![$($((stringify!($tail), <$ttype as $crate::wire::Tail>::describe(), concat!($($tdoc),*)),)*)?]
            }
        }
    };
}

/// Defines a newtype over an integer as a field.
macro_rules! id {
    ($(#[doc = $doc:literal])* $name:ident($inner:ty)) => {
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl $crate::wire::Field for $name {
            const SIZE: usize = <$inner as $crate::wire::Field>::SIZE;
            const TYPE: &'static str = <$inner as $crate::wire::Field>::TYPE;
            fn put(&self, out: &mut Vec<u8>) {
                self.0.put(out);
            }
            fn get(bytes: &[u8]) -> Result<Self, $crate::wire::Fault> {
                <$inner as $crate::wire::Field>::get(bytes).map($name)
            }
            fn show(&self) -> $crate::wire::Value {
                self.0.show()
            }
            fn sample(number: u64) -> Self {
                $name(<$inner as $crate::wire::Field>::sample(number))
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

/// Defines an enumeration as a field; the wire name of each variant is the field's own term.
macro_rules! code {
    ($(#[doc = $doc:literal])* $name:ident: $inner:ident { $($(#[doc = $vdoc:literal])* $variant:ident = $value:literal $text:literal,)* }) => {
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr($inner)]
        pub enum $name { $($(#[doc = $vdoc])* #[doc = concat!("`", $text, "`")] $variant = $value,)* }

        impl $name {
            /// Every variant, in the order of their numbers.
            pub const ALL: &'static [$name] = &[$($name::$variant,)*];

            /// The field's own term.
            pub fn name(self) -> &'static str {
                match self { $($name::$variant => $text,)* }
            }

            /// The variant with this term.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($text => Some($name::$variant),)* _ => None }
            }
        }

        impl $crate::wire::Field for $name {
            const SIZE: usize = size_of::<$inner>();
            const TYPE: &'static str = concat!(stringify!($inner), " ", stringify!($name));
            fn put(&self, out: &mut Vec<u8>) {
                (*self as $inner).put(out);
            }
            fn get(bytes: &[u8]) -> Result<Self, $crate::wire::Fault> {
                match <$inner as $crate::wire::Field>::get(bytes)? {
                    $($value => Ok($name::$variant),)*
                    _ => Err($crate::wire::Fault::Range(concat!("a known ", stringify!($name)))),
                }
            }
            fn show(&self) -> $crate::wire::Value {
                $crate::wire::Value::Text(self.name().to_owned())
            }
            fn sample(number: u64) -> Self {
                Self::ALL[number as usize % Self::ALL.len()]
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

pub(crate) use {block, block_impl, code, id, message};

/// A message: a block and its tails.
pub trait Message: Block {
    /// Appends the tails.
    fn put_tails(&self, out: &mut Vec<u8>);
    /// Reads the tails; the error names the field.
    fn take_tails(&mut self, bytes: &mut &[u8]) -> Result<(), (&'static str, Fault)>;
    /// The readable form, tails included.
    fn show(&self) -> Value;
    /// A message of sample values with so many entries in each tail.
    fn sample(number: u64, entries: usize) -> Self;
    /// Name, description and meaning of each tail.
    fn tails() -> Vec<(&'static str, String, &'static str)>;

    /// Appends block and tails.
    fn put_body(&self, out: &mut Vec<u8>) {
        self.put_block(out);
        self.put_tails(out);
    }

    /// Reads a whole body whose block is `block` bytes long on the wire; longer blocks come from a later
    /// version and their unknown end is skipped.
    fn get_body(bytes: &[u8], block: usize) -> Result<Self, DecodeError> {
        let wrong = |(field, fault)| DecodeError::Field { message: Self::NAME, field, fault };
        let mut rest = bytes;
        let root = split(&mut rest, block).map_err(|fault| wrong(("(block)", fault)))?;
        let mut message = Self::get_block(root).map_err(wrong)?;
        message.take_tails(&mut rest).map_err(wrong)?;
        if !rest.is_empty() {
            return Err(wrong(("(end)", Fault::Trailing)));
        }
        Ok(message)
    }
}
