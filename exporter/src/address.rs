//! Which addresses may be connected to. A SiemExport's author must not reach, by a URL, what only this Pod can reach:
//! itself, its node, the cloud's metadata service and its credentials.
//!
//! Promises: what is checked is the address that the connection is made to, after resolution, so a name that changes
//! its mind in between gains nothing. Addresses that lead to an IPv4 address (v4-mapped, v4-compatible, NAT64, 6to4)
//! are checked as that address. Must never be lifted by anything that a custom resource can say.
//!
//! Private ranges (RFC 1918, `fc00::/7`) are allowed: that is where a company's SIEM is.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use url::{Host, Url};

use crate::cause::Cause;

/// Which addresses and URLs are allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    loopback: bool,
}

/// Why a destination's URL is refused. The URL itself is not repeated: it may hold a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlProblem {
    /// No absolute URL with a host.
    #[error("must be a URL like https://siem.example.com/path")]
    Syntax,
    /// Neither of the two schemes, or `http` to somewhere else.
    #[error("must begin with https://; http:// is only for a Service of the cluster (NAME.NAMESPACE.svc)")]
    Scheme,
    /// `user:password@`.
    #[error("must not hold a user or password: a credential belongs in a Secret")]
    UserInfo,
    /// `#…`, which is never sent.
    #[error("must not have a fragment (#)")]
    Fragment,
    /// A literal address that is refused.
    #[error("must not point to a loopback, link-local or metadata address")]
    Address,
}

impl Policy {
    /// For production.
    pub const STRICT: Self = Self { loopback: false };
    /// For tests, whose receivers are on this machine: loopback addresses too, and `http` to them.
    pub const LOOPBACK_TOO: Self = Self { loopback: true };

    /// Whether a connection to `address` may be made.
    #[must_use]
    pub fn allows(self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(v4) => self.allows_v4(v4),
            IpAddr::V6(v6) => match self.loopback && v6.is_loopback() {
                true => true,
                false => inner_v4(v6).map_or_else(|| allows_v6(v6), |v4| self.allows_v4(v4)),
            },
        }
    }

    fn allows_v4(self, address: Ipv4Addr) -> bool {
        if address.is_loopback() {
            return self.loopback;
        }
        let octets = address.octets();
        let refused = octets[0] == 0 // "this network", RFC 791: Linux connects to itself
            || address.is_link_local() // with AWS, GCP and most other clouds' metadata
            || octets[0] >= 224 // multicast, reserved, broadcast
            || address == Ipv4Addr::new(168, 63, 129, 16) // Azure's wire server
            || address == Ipv4Addr::new(100, 100, 100, 200) // Alibaba's metadata
            || address == Ipv4Addr::new(192, 0, 0, 192); // Oracle's older metadata
        !refused
    }

    /// Whether a URL has no literal address that is refused.
    fn allows_literal(self, url: &Url) -> bool {
        match url.host() {
            Some(Host::Ipv4(v4)) => self.allows(v4.into()),
            Some(Host::Ipv6(v6)) => self.allows(v6.into()),
            Some(Host::Domain(_)) | None => true,
        }
    }

    /// Reads the URL of a destination.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse_url(self, text: &str) -> Result<Url, UrlProblem> {
        let url = Url::parse(text).map_err(|_| UrlProblem::Syntax)?;
        if !matches!(url.scheme(), "https" | "http") {
            return Err(UrlProblem::Scheme);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(UrlProblem::UserInfo);
        }
        if url.fragment().is_some() {
            return Err(UrlProblem::Fragment);
        }
        if !self.allows_literal(&url) {
            return Err(UrlProblem::Address);
        }
        let plain = match url.host() {
            Some(Host::Domain(name)) => is_cluster_service(name),
            Some(Host::Ipv4(v4)) => self.loopback && v4.is_loopback(),
            Some(Host::Ipv6(v6)) => self.loopback && v6.is_loopback(),
            None => return Err(UrlProblem::Syntax),
        };
        if url.scheme() == "http" && !plain {
            return Err(UrlProblem::Scheme);
        }
        Ok(url)
    }

    /// The addresses of a host that may be connected to, in the order of the system's resolver. A literal address is
    /// checked too.
    ///
    /// # Errors
    /// [`Cause::Resolve`] where there is no address, [`Cause::RefusedAddress`] where none may be used.
    pub async fn resolve(self, host: &str, port: u16) -> Result<Vec<SocketAddr>, Cause> {
        let mut found = tokio::net::lookup_host((host, port)).await.map_err(|_| Cause::Resolve)?.peekable();
        if found.peek().is_none() {
            return Err(Cause::Resolve);
        }
        let allowed: Vec<_> = found.filter(|address| self.allows(address.ip())).collect();
        if allowed.is_empty() { Err(Cause::RefusedAddress) } else { Ok(allowed) }
    }
}

/// Whether a name is `NAME.NS.svc` or `NAME.NS.svc.cluster.local`.
pub(crate) fn is_cluster_service(name: &str) -> bool {
    let labels: Vec<&str> = name.split('.').collect();
    let rest = match labels.as_slice() {
        [name, namespace, rest @ ..] if !name.is_empty() && !namespace.is_empty() => rest,
        _ => return false,
    };
    rest == ["svc"] || rest == ["svc", "cluster", "local"]
}

fn allows_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let refused = address.is_loopback()
        || address.is_unspecified()
        || address.is_multicast()
        || address.is_unicast_link_local()
        // fd00:ec2::/32: AWS's metadata (…::254) and its Pod Identity credentials (…::23).
        || (segments[0] == 0xfd00 && segments[1] == 0x0ec2)
        // Google's metadata on machines that have IPv6 alone.
        || address == Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254);
    !refused
}

/// The IPv4 address that an IPv6 address leads to.
fn inner_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let s = address.segments();
    let last = Ipv4Addr::from(((u32::from(s[6])) << 16) | u32::from(s[7]));
    match s {
        // ::ffff:a.b.c.d, RFC 4291 2.5.5.2; ::ffff:0:a.b.c.d, RFC 2765.
        [0, 0, 0, 0, 0, 0xffff, ..] | [0, 0, 0, 0, 0xffff, 0, ..] => Some(last),
        // ::a.b.c.d, deprecated by RFC 4291 2.5.5.1; :: and ::1 are 0.0.0.0 and 0.0.0.1, which are refused too.
        [0, 0, 0, 0, 0, 0, ..] => Some(last),
        // NAT64: 64:ff9b::/96, RFC 6052; 64:ff9b:1::/48, RFC 8215.
        [0x64, 0xff9b, 0 | 1, ..] => Some(last),
        // 6to4: 2002:aabb:ccdd::/48, RFC 3056.
        [0x2002, high, low, ..] => Some(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(text: &str) -> bool {
        Policy::STRICT.allows(text.parse().unwrap())
    }

    #[test]
    fn addresses_of_this_machine_and_of_the_cloud_are_refused_in_every_spelling() {
        for refused in [
            "127.0.0.1",
            "127.255.255.254",
            "0.0.0.0",
            "0.1.2.3",
            "169.254.169.254",
            "169.254.170.23",
            "168.63.129.16",
            "100.100.100.200",
            "192.0.0.192",
            "224.0.0.1",
            "255.255.255.255",
            "240.0.0.1",
            "::",
            "::1",
            "fe80::1",
            "febf::1",
            "ff02::1",
            "fd00:ec2::254",
            "fd00:ec2::23",
            "fd20:ce::254",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::ffff:100.100.100.200",
            "::ffff:0:169.254.169.254",
            "::169.254.169.254",
            "64:ff9b::169.254.169.254",
            "64:ff9b::7f00:1",
            "64:ff9b:1::a8.3f.81.10".replace("a8.3f.81.10", "168.63.129.16").as_str(),
            "2002:a9fe:a9fe::1",
            "2002:7f00:1::",
        ] {
            assert!(!allowed(refused), "{refused}");
        }
    }

    #[test]
    fn addresses_next_to_the_refused_ones_and_private_ones_are_allowed() {
        for fine in [
            "10.0.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "169.253.255.255",
            "169.255.0.1",
            "168.63.129.17",
            "100.100.100.201",
            "223.255.255.255",
            "93.184.216.34",
            "fd00:ec3::254",
            "fd12::1",
            "fec0::1",
            "2001:db8::1",
            "64:ff9b::10.0.0.1",
            "::ffff:10.0.0.1",
            "2002:a00:1::",
        ] {
            assert!(allowed(fine), "{fine}");
        }
    }

    #[test]
    fn the_flag_of_tests_lifts_loopback_and_nothing_else() {
        let lifted = |text: &str| Policy::LOOPBACK_TOO.allows(text.parse().unwrap());
        assert!(lifted("127.0.0.1") && lifted("::1") && lifted("::ffff:127.0.0.1"));
        assert!(!lifted("169.254.169.254") && !lifted("0.0.0.0") && !lifted("::") && !lifted("fe80::1"));
    }

    #[test]
    fn urls_are_refused_with_what_is_to_change_and_without_repeating_them() {
        let problem = |text: &str| Policy::STRICT.parse_url(text).unwrap_err();
        for (text, expected) in [
            ("siem.example.com", UrlProblem::Syntax),
            ("https://", UrlProblem::Syntax),
            ("ftp://siem.example.com", UrlProblem::Scheme),
            ("http://siem.example.com", UrlProblem::Scheme),
            ("http://svc", UrlProblem::Scheme),
            ("http://a.svc", UrlProblem::Scheme),
            ("http://.b.svc", UrlProblem::Scheme),
            ("http://a.b.svc.cluster.local.evil.com", UrlProblem::Scheme),
            ("http://a.b.svc.evil", UrlProblem::Scheme),
            ("https://user@siem.example.com", UrlProblem::UserInfo),
            ("https://:hunter2@siem.example.com", UrlProblem::UserInfo),
            ("https://siem.example.com/#x", UrlProblem::Fragment),
            ("https://127.0.0.1/", UrlProblem::Address),
            ("https://2130706433/", UrlProblem::Address),
            ("https://0x7f.1/", UrlProblem::Address),
            ("https://0251.0376.0251.0376/", UrlProblem::Address),
            ("https://169.254.169.254/latest", UrlProblem::Address),
            ("https://[::ffff:7f00:1]/", UrlProblem::Address),
            ("https://[fd00:ec2::254]/", UrlProblem::Address),
        ] {
            assert_eq!(problem(text), expected, "{text}");
            assert!(!problem(text).to_string().contains("hunter2"));
        }
        for fine in [
            "https://siem.example.com:8088/services/collector/event?a=b",
            "https://10.1.2.3/",
            "http://splunk.monitoring.svc:8088",
            "http://splunk.monitoring.svc.cluster.local/",
        ] {
            assert!(Policy::STRICT.parse_url(fine).is_ok(), "{fine}");
        }
    }

    #[tokio::test]
    async fn a_name_for_this_machine_is_refused_after_it_is_resolved() {
        assert_eq!(Policy::STRICT.resolve("localhost", 443).await, Err(Cause::RefusedAddress));
        assert!(Policy::LOOPBACK_TOO.resolve("localhost", 443).await.is_ok());
        assert_eq!(Policy::STRICT.resolve("169.254.169.254", 80).await, Err(Cause::RefusedAddress));
        assert_eq!(Policy::STRICT.resolve("no-such-host.invalid", 443).await, Err(Cause::Resolve));
    }
}
