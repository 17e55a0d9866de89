//! Which Secrets may serve a SiemExport. Pure.
//!
//! Promises: whoever may write a SiemExport can not send out a Secret of the namespace that its owner did not share, nor send
//! it to another host than the owner named. Must never say anything of a Secret that is not shared, not even its keys.

use secrecy::ExposeSecret;

use crate::conditions::Problem;
use crate::mcp_server::Credential;
use crate::world::{Lookup, Material, Source, not_found};

/// The label of a Secret that SiemExports may use; its value is `true`.
pub const SHARED_LABEL: &str = "aigateway.dev/siem-export";
/// The annotation with the hosts that it may be sent to: names, or `*.` and a domain, separated by commas.
pub const HOSTS_ANNOTATION: &str = "aigateway.dev/hosts";

/// A Secret that is looked for, and where its value would go.
pub struct Wanted<'a> {
    /// What was found.
    pub lookup: Option<&'a Lookup>,
    /// Namespace of the SiemExport.
    pub namespace: &'a str,
    /// Name of the Secret.
    pub name: &'a str,
    /// The field that names it.
    pub field: &'a str,
    /// The hosts that the value is sent to; empty where there is none, or it is in the value itself.
    pub hosts: &'a [String],
}

impl<'a> Wanted<'a> {
    /// The Secret, if it exists and is shared.
    ///
    /// # Errors
    /// `SecretNotFound`, `SecretNotShared`
    pub fn shared(&self) -> Result<&'a Material, Problem> {
        let Some(Some(material)) = self.lookup else {
            return Err(not_found(Source::Secret, self.name, self.field));
        };
        let labelled = material.labels.get(SHARED_LABEL).is_some_and(|value| value == "true");
        let missing: Vec<&String> = self.hosts.iter().filter(|host| !names(material, host)).collect();
        if labelled && missing.is_empty() {
            return Ok(material);
        }
        let mut commands = Vec::new();
        if !labelled {
            commands.push(format!(
                "kubectl -n {} label secret {} {SHARED_LABEL}=true --overwrite",
                self.namespace, self.name
            ));
        }
        if !missing.is_empty() {
            // What the annotation holds is not repeated: this message has other readers than the Secret.
            commands.push(format!(
                "kubectl -n {} annotate secret {} '{HOSTS_ANNOTATION}={}' --overwrite",
                self.namespace,
                self.name,
                self.hosts.join(",")
            ));
        }
        let to = if self.hosts.is_empty() { String::new() } else { format!(" for {}", self.hosts.join(", ")) };
        let keep = if missing.is_empty() {
            ""
        } else {
            " (with the hosts that the annotation names already, if there are any)"
        };
        let message = format!(
            "Secret {}, which {} names, is not shared with SiemExports{to}: who owns the Secret shares it with `{}`{keep}",
            self.name,
            self.field,
            commands.join(" && ")
        );
        Err(Problem::new("SecretNotShared", message))
    }

    /// The value under a key of a Secret that is shared and for no host, to be copied: a credential of a platform is no key
    /// for hashes, which everybody who reads them could try it on.
    ///
    /// # Errors
    /// As `copied`
    pub fn copied_key(&self, key: &str, file: String) -> Result<Credential, Problem> {
        if self.shared()?.annotations.contains_key(HOSTS_ANNOTATION) {
            let message = format!(
                "Secret {}, which {} names, is shared as a credential by its annotation {HOSTS_ANNOTATION}, and not as a key \
                 for hashes: make a Secret of its own for it, with the label {SHARED_LABEL} and without the annotation",
                self.name, self.field
            );
            return Err(Problem::new("SecretNotShared", message));
        }
        self.copied(key, file)
    }

    /// The value under a key of a Secret that is shared, to be copied.
    ///
    /// # Errors
    /// As `shared`, and `SecretKeyMissing`, `SecretEmpty`
    pub fn copied(&self, key: &str, file: String) -> Result<Credential, Problem> {
        let material = self.shared()?;
        let value = material.require(key, self.field)?.clone();
        Ok(Credential { file, origin: format!("{}/{key}", material.version), value })
    }
}

/// The host of the URL in a Secret of which the URL is the credential, where the Secret is shared for it.
///
/// # Errors
/// As `Wanted::copied`, and `SecretInvalid`
pub fn url_in(wanted: &Wanted<'_>, key: &str, file: String) -> Result<(Credential, String), Problem> {
    let credential = wanted.copied(key, file)?;
    let (name, field) = (wanted.name, wanted.field);
    let text = String::from_utf8_lossy(credential.value.expose_secret()).trim().to_owned();
    let url = exporter::address::Policy::STRICT.parse_url(&text).map_err(|wrong| {
        Problem::new(
            "SecretInvalid",
            format!("Secret {name}: the value under {key}, which {field} names, {wrong}: correct the Secret"),
        )
    })?;
    let host = url.host_str().unwrap_or_default().to_owned();
    let material = wanted.shared()?;
    if names(material, &host) {
        return Ok((credential, host));
    }
    // The host comes out of the Secret, so that it is not said.
    let message = format!(
        "Secret {name}, which {field} names, is not shared for the host of the URL under {key}: who owns the Secret shares it \
         with `kubectl -n {} annotate secret {name} '{HOSTS_ANNOTATION}=HOST' --overwrite`, where HOST is that host",
        wanted.namespace
    );
    Err(Problem::new("SecretNotShared", message))
}

/// Whether the annotation names a host, or the domain that it is in.
fn names(material: &Material, host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    let bare = |text: &str| text.trim_matches(['[', ']']).trim_end_matches('.').to_owned();
    let listed = material.annotations.get(HOSTS_ANNOTATION).map(String::as_str).unwrap_or_default();
    listed.split(',').map(|entry| entry.trim().to_ascii_lowercase()).filter(|entry| !entry.is_empty()).any(|entry| {
        match entry.strip_prefix("*.") {
            Some(domain) => {
                !domain.is_empty()
                    && !domain.contains('*')
                    && bare(&host).strip_suffix(domain).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
            }
            None => bare(&entry) == bare(&host),
        }
    })
}

/// Whether a host is one that can stand in a command for a shell: of what URLs allow, some of it would be run.
pub fn is_plain_host(host: &str) -> bool {
    !host.is_empty()
        && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':' | b'[' | b']'))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn named(hosts: &str, host: &str) -> bool {
        let annotations = BTreeMap::from([(HOSTS_ANNOTATION.to_owned(), hosts.to_owned())]);
        names(
            &Material::new(Source::Secret, "s", "1", BTreeMap::new()).with_metadata(BTreeMap::new(), annotations),
            host,
        )
    }

    #[test]
    fn hosts_are_names_or_the_domains_that_they_are_in() {
        for (hosts, host, expected) in [
            ("splunk.example.com", "splunk.example.com", true),
            ("a.example.com, Splunk.Example.com.", "splunk.example.com", true),
            ("*.example.com", "splunk.example.com", true),
            ("*.example.com", "a.b.example.com", true),
            ("*.example.com", "example.com", false),
            ("*.example.com", "evil-example.com", false),
            ("*.example.com", ".example.com", false),
            ("example.com", "splunk.example.com", false),
            ("*", "splunk.example.com", false),
            ("*.", "splunk.example.com", false),
            ("*.*.com", "splunk.example.com", false),
            ("", "splunk.example.com", false),
            ("splunk.example.com.evil.org", "splunk.example.com", false),
            ("2001:db8::1", "[2001:db8::1]", true),
        ] {
            assert_eq!(named(hosts, host), expected, "{hosts} {host}");
        }
    }

    #[test]
    fn nothing_that_a_shell_would_run_is_a_plain_host() {
        for bad in ["", "$(reboot).example.com", "a;b.com", "a`b`.com", "a'b.com", "a&b"] {
            assert!(!is_plain_host(bad), "{bad}");
        }
        assert!(is_plain_host("siem-1.example.com") && is_plain_host("[2001:db8::1]"));
    }
}
