//! Why a TLS connection cannot go on, in words for whoever set the publisher up.

use std::io;

/// Why a TLS connection cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsProblem {
    /// The first byte is RTMP's version.
    #[error("plain RTMP at the TLS port (TLS_CERT is set): the publisher must use rtmps://")]
    PlainRtmp,
    /// The peer's alert says so.
    #[error(
        "the publisher does not trust the certificate of TLS_CERT ({0:?}): its name must be the host of the RTMP URL \
         (RTMP_HOST), and its issuer known to the publisher"
    )]
    Distrusted(rustls::AlertDescription),
    /// Anything else.
    #[error("not TLS, or TLS that cannot be spoken here: {0}")]
    Protocol(rustls::Error),
}

impl TlsProblem {
    /// Somebody's own publisher, not a stranger.
    pub(crate) fn is_set_up_wrong(&self) -> bool {
        matches!(self, Self::PlainRtmp | Self::Distrusted(_))
    }

    /// For metrics.
    pub(crate) fn metric_label(&self) -> &'static str {
        match self {
            Self::PlainRtmp => "plain_rtmp",
            Self::Distrusted(_) => "tls_distrusted",
            Self::Protocol(_) => "tls_error",
        }
    }
}

impl From<rustls::Error> for TlsProblem {
    fn from(error: rustls::Error) -> Self {
        use rustls::AlertDescription as Alert;
        match error {
            rustls::Error::AlertReceived(
                alert @ (Alert::BadCertificate
                | Alert::UnsupportedCertificate
                | Alert::CertificateExpired
                | Alert::CertificateUnknown
                | Alert::UnknownCA),
            ) => Self::Distrusted(alert),
            error => Self::Protocol(error),
        }
    }
}

impl From<TlsProblem> for io::Error {
    fn from(problem: TlsProblem) -> Self {
        Self::new(io::ErrorKind::InvalidData, problem)
    }
}
