//! AMF0, as "Action Message Format AMF 0" (Adobe, 2007) defines it: what commands and metadata are made of.

mod read;
mod write;

pub use read::Amf0Error;
pub(crate) use read::Reader;
pub(crate) use write::Writer;

/// Nested containers inside one value.
pub(crate) const MAX_DEPTH: usize = 16;
/// Values of one message, properties and elements included.
pub(crate) const MAX_VALUES: usize = 256;
/// Bytes of one string.
pub(crate) const MAX_STRING_BYTES: usize = 16 * 1024;

/// One value. Containers keep the order of the wire.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Number(f64),
    Boolean(bool),
    /// String, LongString and XmlDocument alike.
    String(String),
    /// Object, TypedObject and ECMA array alike: the class name says nothing that we need.
    Object(Vec<(String, Self)>),
    StrictArray(Vec<Self>),
    /// Milliseconds since 1970; its time zone is reserved and unused.
    Date(f64),
    /// Points at an earlier container; never followed, so it cannot make a loop.
    Reference(u16),
    Null,
    Undefined,
    /// Marker 0x0D: the sender could not write the value.
    Unsupported,
}

mod marker {
    pub(super) const NUMBER: u8 = 0x00;
    pub(super) const BOOLEAN: u8 = 0x01;
    pub(super) const STRING: u8 = 0x02;
    pub(super) const OBJECT: u8 = 0x03;
    pub(super) const NULL: u8 = 0x05;
    pub(super) const UNDEFINED: u8 = 0x06;
    pub(super) const REFERENCE: u8 = 0x07;
    pub(super) const ECMA_ARRAY: u8 = 0x08;
    pub(super) const OBJECT_END: u8 = 0x09;
    pub(super) const STRICT_ARRAY: u8 = 0x0A;
    pub(super) const DATE: u8 = 0x0B;
    pub(super) const LONG_STRING: u8 = 0x0C;
    pub(super) const UNSUPPORTED: u8 = 0x0D;
    pub(super) const XML_DOCUMENT: u8 = 0x0F;
    pub(super) const TYPED_OBJECT: u8 = 0x10;
    pub(super) const AVM_PLUS: u8 = 0x11;
}
