use super::marker;

/// Writes the few values that a server answers with. Texts are our own and short; a longer one is cut at 65 535 bytes.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    pub(crate) fn finish(self) -> Vec<u8> {
        self.bytes
    }

    pub(crate) fn number(mut self, value: f64) -> Self {
        self.bytes.push(marker::NUMBER);
        self.bytes.extend_from_slice(&value.to_be_bytes());
        self
    }

    pub(crate) fn string(mut self, value: &str) -> Self {
        self.bytes.push(marker::STRING);
        self.text(value);
        self
    }

    pub(crate) fn null(mut self) -> Self {
        self.bytes.push(marker::NULL);
        self
    }

    /// An object whose values are strings, then those that are numbers.
    pub(crate) fn object(mut self, strings: &[(&str, &str)], numbers: &[(&str, f64)]) -> Self {
        self.bytes.push(marker::OBJECT);
        for (name, value) in strings {
            self.text(name);
            self = self.string(value);
        }
        for (name, value) in numbers {
            self.text(name);
            self = self.number(*value);
        }
        self.bytes.extend_from_slice(&[0, 0, marker::OBJECT_END]);
        self
    }

    fn text(&mut self, value: &str) {
        let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
        self.bytes.extend_from_slice(&length.to_be_bytes());
        self.bytes.extend_from_slice(value.as_bytes().get(..usize::from(length)).unwrap_or_default());
    }
}
