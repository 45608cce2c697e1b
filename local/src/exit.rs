//! How a command ends when it does not end well (contract §6): one line for people, one code for programs.

use std::fmt;

/// Wrong settings or arguments.
pub(crate) const SETTINGS: u8 = 64;
/// A needed service, file or port is not there.
pub(crate) const UNAVAILABLE: u8 = 69;
/// Try again later.
pub(crate) const TRY_AGAIN: u8 = 75;
/// A key or token was refused.
pub(crate) const CREDENTIALS: u8 = 78;

/// One line that says what to mend.
#[derive(Debug)]
pub(crate) struct Failure {
    /// Exit code.
    pub code: u8,
    message: String,
}

impl Failure {
    /// A failure with its code.
    pub(crate) fn new(code: u8, message: impl fmt::Display) -> Self {
        Self { code, message: message.to_string() }
    }

    /// A setting is wrong: names it and the mend.
    pub(crate) fn setting(name: &str, what: impl fmt::Display) -> Self {
        Self::new(SETTINGS, format_args!("{name}: {what}"))
    }

    /// Whoever read the output has gone (`roomscribe tail … | head`): nothing went wrong, and nobody is left to tell.
    pub(crate) fn nobody_listens() -> Self {
        Self::new(0, "")
    }

    /// Ends well and says nothing.
    pub(crate) fn is_silent(&self) -> bool {
        self.code == 0
    }

    /// Something needed is not there.
    pub(crate) fn unavailable(message: impl fmt::Display) -> Self {
        Self::new(UNAVAILABLE, message)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}
