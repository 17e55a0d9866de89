//! Host and Origin: against web pages that reach into a network through a browser (DNS rebinding).
//!
//! Promises: pure. With hosts configured, only they are accepted; without, no browser is, but for a page of
//! this machine that calls this machine.

use http::header::{HOST, ORIGIN};
use http::uri::Authority;
use http::{HeaderMap, Uri};

use crate::config::types::HostName;

/// Which of the two headers was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Host.
    Host,
    /// Origin.
    Origin,
}

/// The hosts under which the pool is served.
#[derive(Clone, Debug)]
pub struct HostPolicy {
    hosts: Option<Vec<Authority>>,
}

impl HostPolicy {
    /// `None`: any host.
    #[must_use]
    pub fn new(hosts: Option<&[HostName]>) -> Self {
        let parse = |hosts: &[HostName]| hosts.iter().filter_map(|host| host.as_ref().parse().ok()).collect();
        Self { hosts: hosts.map(parse) }
    }

    /// Checks a request.
    ///
    /// # Errors
    /// The header that is wrong.
    pub fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Refused> {
        // HTTP/2 has the host in the URI.
        let host = match headers.get(HOST) {
            Some(value) => value.to_str().ok().and_then(|text| text.parse().ok()),
            None => uri.authority().cloned(),
        };
        let host: Authority = host.ok_or(Refused::Host)?;
        if !self.accepts(&host) {
            return Err(Refused::Host);
        }
        let mut origins = headers.get_all(ORIGIN).iter();
        let Some(origin) = origins.next() else {
            return Ok(());
        };
        let origin = origin.to_str().ok().and_then(|text| text.parse::<Uri>().ok());
        let origin = origin
            .filter(|uri| matches!(uri.scheme_str(), Some("http" | "https")))
            .and_then(|uri| uri.authority().cloned())
            .filter(|_| origins.next().is_none())
            .ok_or(Refused::Origin)?;
        let accepted = match &self.hosts {
            Some(_) => self.accepts(&origin),
            None => is_loopback(&host) && is_loopback(&origin),
        };
        accepted.then_some(()).ok_or(Refused::Origin)
    }

    fn accepts(&self, given: &Authority) -> bool {
        self.hosts.as_ref().is_none_or(|hosts| {
            hosts.iter().any(|host| {
                host.host().eq_ignore_ascii_case(given.host())
                    && host.port_u16().is_none_or(|port| given.port_u16() == Some(port))
            })
        })
    }
}

fn is_loopback(authority: &Authority) -> bool {
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn hosts_and_origins() {
        let none: Option<&[&str]> = None;
        let own: Option<&[&str]> = Some(&["mcp.example.com", "gw:8443"]);
        for (hosts, host, origin, expected) in [
            (none, "anything:80", None, Ok(())),
            (none, "evil.com", Some("http://evil.com"), Err(Refused::Origin)),
            (none, "localhost:8080", Some("http://evil.com"), Err(Refused::Origin)),
            (none, "evil.com", Some("http://localhost:8080"), Err(Refused::Origin)),
            (none, "localhost:8080", Some("http://localhost:8080"), Ok(())),
            (none, "127.0.0.1:8080", Some("http://[::1]:3000"), Ok(())),
            (none, "localhost.evil.com", Some("http://localhost"), Err(Refused::Origin)),
            (none, "localhost", Some("null"), Err(Refused::Origin)),
            (none, "localhost", Some("file://localhost"), Err(Refused::Origin)),
            (none, "", None, Err(Refused::Host)),
            (own, "mcp.example.com", None, Ok(())),
            (own, "MCP.example.com:443", None, Ok(())),
            (own, "gw:8443", None, Ok(())),
            (own, "gw", None, Err(Refused::Host)),
            (own, "localhost", None, Err(Refused::Host)),
            (own, "mcp.example.com.evil.com", None, Err(Refused::Host)),
            (own, "mcp.example.com", Some("https://mcp.example.com"), Ok(())),
            (own, "mcp.example.com", Some("https://evil.com"), Err(Refused::Origin)),
        ] {
            let hosts: Option<Vec<HostName>> =
                hosts.map(|names| names.iter().map(|n| HostName::try_from((*n).to_owned()).unwrap()).collect());
            let mut headers = HeaderMap::new();
            headers.insert(HOST, HeaderValue::from_str(host).unwrap());
            if let Some(origin) = origin {
                headers.insert(ORIGIN, HeaderValue::from_str(origin).unwrap());
            }
            let result = HostPolicy::new(hosts.as_deref()).check(&Uri::from_static("/mcp"), &headers);
            assert_eq!(result, expected, "{hosts:?} {host} {origin:?}");
        }
    }
}
