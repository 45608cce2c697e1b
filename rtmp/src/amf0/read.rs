use super::{MAX_DEPTH, MAX_STRING_BYTES, MAX_VALUES, Value, marker};

/// Why AMF0 cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Amf0Error {
    /// The message ends inside a value.
    #[error("AMF0 ends inside a value")]
    Truncated,
    /// Containers nested too deeply.
    #[error("AMF0 nested deeper than {MAX_DEPTH}")]
    TooDeep,
    /// Too many values in one message.
    #[error("more than {MAX_VALUES} AMF0 values")]
    TooManyValues,
    /// A string that is too long.
    #[error("AMF0 string longer than {MAX_STRING_BYTES} bytes")]
    StringTooLong,
    /// A switch to AMF3, which no publisher needs.
    #[error("AMF3 value inside AMF0")]
    AvmPlus,
    /// A marker that AMF0 does not define, or reserves.
    #[error("unknown AMF0 marker {0:#04x}")]
    UnknownMarker(u8),
    /// A value of another type than the command needs.
    #[error("AMF0 value has the wrong type")]
    WrongType,
}

/// Reads values one after another; the value budget is for all of them together.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    values_left: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, values_left: MAX_VALUES }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next value.
    pub(crate) fn value(&mut self) -> Result<Value, Amf0Error> {
        self.value_at(0)
    }

    /// The next value, which must be a string.
    pub(crate) fn string(&mut self) -> Result<String, Amf0Error> {
        match self.value()? {
            Value::String(s) => Ok(s),
            _ => Err(Amf0Error::WrongType),
        }
    }

    fn value_at(&mut self, depth: usize) -> Result<Value, Amf0Error> {
        self.values_left = self.values_left.checked_sub(1).ok_or(Amf0Error::TooManyValues)?;
        let marker = self.u8()?;
        match marker {
            marker::NUMBER => Ok(Value::Number(self.f64()?)),
            marker::BOOLEAN => Ok(Value::Boolean(self.u8()? != 0)),
            marker::STRING => Ok(Value::String(self.short_string()?)),
            marker::NULL => Ok(Value::Null),
            marker::UNDEFINED => Ok(Value::Undefined),
            marker::REFERENCE => Ok(Value::Reference(self.u16()?)),
            marker::DATE => {
                let millis = self.f64()?;
                self.u16()?;
                Ok(Value::Date(millis))
            }
            marker::LONG_STRING | marker::XML_DOCUMENT => Ok(Value::String(self.long_string()?)),
            marker::UNSUPPORTED => Ok(Value::Unsupported),
            marker::AVM_PLUS => Err(Amf0Error::AvmPlus),
            _ => self.container(marker, depth),
        }
    }

    fn container(&mut self, marker: u8, depth: usize) -> Result<Value, Amf0Error> {
        if depth >= MAX_DEPTH {
            return Err(Amf0Error::TooDeep);
        }
        match marker {
            marker::OBJECT => self.properties(depth),
            marker::ECMA_ARRAY => {
                // The count is a hint that encoders get wrong; the end marker rules.
                self.u32()?;
                self.properties(depth)
            }
            marker::TYPED_OBJECT => {
                self.short_string()?;
                self.properties(depth)
            }
            marker::STRICT_ARRAY => self.elements(depth),
            other => Err(Amf0Error::UnknownMarker(other)),
        }
    }

    fn properties(&mut self, depth: usize) -> Result<Value, Amf0Error> {
        let mut properties = Vec::new();
        loop {
            let name = self.short_string()?;
            if name.is_empty() && self.rest.first() == Some(&marker::OBJECT_END) {
                self.u8()?;
                return Ok(Value::Object(properties));
            }
            properties.push((name, self.value_at(depth + 1)?));
        }
    }

    fn elements(&mut self, depth: usize) -> Result<Value, Amf0Error> {
        let count = self.u32()?;
        // Grows with what is there, never by the declared count; the value budget ends a lying count.
        let mut elements = Vec::new();
        for _ in 0..count {
            elements.push(self.value_at(depth + 1)?);
        }
        Ok(Value::StrictArray(elements))
    }

    fn short_string(&mut self) -> Result<String, Amf0Error> {
        let length = usize::from(self.u16()?);
        self.text(length)
    }

    fn long_string(&mut self) -> Result<String, Amf0Error> {
        let length = self.u32()?;
        self.text(usize::try_from(length).unwrap_or(usize::MAX))
    }

    fn text(&mut self, length: usize) -> Result<String, Amf0Error> {
        if length > MAX_STRING_BYTES {
            return Err(Amf0Error::StringTooLong);
        }
        Ok(String::from_utf8_lossy(self.take(length)?).into_owned())
    }

    fn take(&mut self, n: usize) -> Result<&'a [u8], Amf0Error> {
        let (head, tail) = self.rest.split_at_checked(n).ok_or(Amf0Error::Truncated)?;
        self.rest = tail;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Amf0Error> {
        let (head, tail) = self.rest.split_first_chunk::<N>().ok_or(Amf0Error::Truncated)?;
        self.rest = tail;
        Ok(*head)
    }

    fn u8(&mut self) -> Result<u8, Amf0Error> {
        Ok(u8::from_be_bytes(self.array()?))
    }

    fn u16(&mut self) -> Result<u16, Amf0Error> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    fn u32(&mut self) -> Result<u32, Amf0Error> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    fn f64(&mut self) -> Result<f64, Amf0Error> {
        Ok(f64::from_be_bytes(self.array()?))
    }
}
