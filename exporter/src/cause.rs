//! Why a destination could not be spoken to.
//!
//! Promises: a cause is one of a closed list, so that it can be a metric's label and stand in a status. Must never hold
//! a text that a server sent, nor a URL: both may hold what is nobody's business.

use crate::answer::{Code, Verdict};

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Cause {
    /// No address for the name.
    #[error("the host's name can not be resolved")]
    Resolve,
    /// Every address of the host is one that is never connected to: see [`crate::address`].
    #[error("the host's address is a loopback, link-local or metadata address, which is refused")]
    RefusedAddress,
    /// No TCP connection, to any of the addresses.
    #[error("no connection can be made")]
    Connect,
    /// The pool's proxy is not there, or refuses to connect to the host.
    #[error("the proxy makes no connection to the host")]
    Proxy,
    /// No TLS session.
    #[error("no trusted TLS connection can be made: {0}")]
    Tls(TlsCause),
    /// Not within the time of the attempt, all of it counted.
    #[error("there was no answer in time")]
    Timeout,
    /// The answer claims success and is larger than is read.
    #[error("the answer is too large")]
    TooLarge,
    /// The connection ended early, or what came is not of the protocol.
    #[error("the connection was broken off, or the answer is not of the protocol")]
    Broken,
}

/// Why there is no TLS session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum TlsCause {
    /// `notAfter` is in the past.
    #[error("the server's certificate has expired")]
    Expired,
    /// `notBefore` is in the future.
    #[error("the server's certificate is not valid yet")]
    NotYetValid,
    /// No subject alternative name matches.
    #[error("the server's certificate is for another host")]
    OtherHost,
    /// Signed by nobody who is trusted.
    #[error("the server's certificate is of an unknown CA")]
    UnknownCa,
    /// The server wants a client certificate, or another one.
    #[error("the server refused the client certificate, or the lack of one")]
    ClientCertificate,
    /// Anything else: another protocol, no common cipher.
    #[error("the handshake failed")]
    Handshake,
}

impl Cause {
    /// As it is written into status, metrics and logs.
    #[must_use]
    pub const fn code(self) -> Code {
        Code::fixed(match self {
            Self::Resolve => "resolve",
            Self::RefusedAddress => "refused-address",
            Self::Connect => "connect",
            Self::Proxy => "proxy",
            Self::Tls(TlsCause::Expired) => "tls-expired",
            Self::Tls(TlsCause::NotYetValid) => "tls-not-yet-valid",
            Self::Tls(TlsCause::OtherHost) => "tls-other-host",
            Self::Tls(TlsCause::UnknownCa) => "tls-unknown-ca",
            Self::Tls(TlsCause::ClientCertificate) => "tls-client-certificate",
            Self::Tls(TlsCause::Handshake) => "tls-handshake",
            Self::Timeout => "timeout",
            Self::TooLarge => "answer-too-large",
            Self::Broken => "broken",
        })
    }

    /// All of them may pass: the events are sent again.
    #[must_use]
    pub const fn verdict(self) -> Verdict {
        Verdict::Retry { code: self.code(), after: None }
    }

    /// The cause in an error of the transport, if one is in there.
    pub(crate) fn find(error: &(dyn std::error::Error + 'static)) -> Option<Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(cause) = error.downcast_ref::<Self>() {
                return Some(*cause);
            }
            if let Some(tls) = error.downcast_ref::<rustls::Error>() {
                return Some(Self::Tls(TlsCause::of(tls)));
            }
            // `source` of an io::Error steps over the error that it wraps.
            let wrapped = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
            next = match wrapped {
                Some(inner) => Some(inner),
                None => error.source(),
            };
        }
        None
    }
}

impl TlsCause {
    fn of(error: &rustls::Error) -> Self {
        use rustls::{AlertDescription as Alert, CertificateError as Certificate, Error};
        match error {
            Error::InvalidCertificate(Certificate::Expired | Certificate::ExpiredContext { .. }) => Self::Expired,
            Error::InvalidCertificate(Certificate::NotValidYet | Certificate::NotValidYetContext { .. }) => {
                Self::NotYetValid
            }
            Error::InvalidCertificate(Certificate::NotValidForName | Certificate::NotValidForNameContext { .. }) => {
                Self::OtherHost
            }
            Error::InvalidCertificate(Certificate::UnknownIssuer | Certificate::BadSignature) => Self::UnknownCa,
            Error::AlertReceived(
                Alert::CertificateRequired
                | Alert::BadCertificate
                | Alert::UnsupportedCertificate
                | Alert::CertificateRevoked
                | Alert::CertificateExpired
                | Alert::CertificateUnknown
                | Alert::UnknownCA
                | Alert::AccessDenied
                | Alert::DecryptError,
            ) => Self::ClientCertificate,
            _ => Self::Handshake,
        }
    }
}
