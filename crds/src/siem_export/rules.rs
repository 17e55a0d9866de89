//! Validation rules that several blocks of a SiemExport share.
//!
//! Promises: what passes here names one host, whichever parser reads it. `url()` of CEL is Go's parser, and the exporter's
//! is another one: a backslash, a tab or a user part is where such two disagree, so none of them passes.

use kube::core::Rule;

/// That a URL is absolute and has a host. `isURL` alone takes `/path`, `https:x` and bytes that other parsers drop.
pub(super) fn url_form(field: &str) -> Rule {
    Rule::new(
        "isURL(self) && url(self).getScheme() in ['http', 'https'] && url(self).getHostname() != '' \
         && self.matches('^[!-~]+$') && !self.contains('\\\\')",
    )
    .message(&*format!(
        "{field}: write an absolute URL in ASCII, without spaces or backslashes, such as https://siem.example.com"
    ))
}

/// That a URL leads over TLS, or to a Service of the cluster.
pub(super) fn url_scheme(field: &str) -> Rule {
    // The host is matched in the text: of what `getHostname` gives, the API server takes any length into account.
    Rule::new(
        "!isURL(self) || url(self).getScheme() != 'http' \
         || self.matches('^http://[a-z0-9-]+[.][a-z0-9-]+[.]svc([.]cluster[.]local)?(:[0-9]+)?([/?].*)?$')",
    )
    .message(&*format!(
        "{field} must begin with https://; http:// is only for a Service of the cluster, a host of the form NAME.NAMESPACE.svc"
    ))
}

/// That a URL holds no credential.
pub(super) fn url_user(field: &str) -> Rule {
    Rule::new("!self.matches('^[^:]*:[/\\\\\\\\]*[^/?#\\\\\\\\]*@')").message(&*format!(
        "{field} must not hold a user name or password: put the credential into a Secret and name it in the block"
    ))
}

/// That a URL has no part that is never sent.
pub(super) fn url_fragment(field: &str) -> Rule {
    Rule::new("!self.contains('#')").message(&*format!("{field} must not have a fragment (#...): remove it"))
}

/// That a duration is written as one and lies in its range.
pub(super) fn duration(field: &str, least: &str, most: &str, example: &str) -> Rule {
    Rule::new(format!(
        "self.matches('^[0-9]{{1,7}}(ms|s|m|h)$') && duration(self) >= duration('{least}') && duration(self) <= duration('{most}')"
    ))
    .message(&*format!("{field}: write a duration from {least} to {most}, such as {example}"))
}

/// That an index of Splunk can exist ("Create custom indexes").
pub(super) fn splunk_index(field: &str) -> Rule {
    Rule::new("self.matches('^[a-z0-9][a-z0-9_-]*$') && !self.contains('kvstore')").message(&*format!(
        "{field}: write the name of an index: lower-case letters, digits, underscores and hyphens, beginning with a letter or \
         digit, without kvstore"
    ))
}

/// That a name is a DNS label.
pub(super) fn dns_label(field: &str) -> Rule {
    Rule::new("self.matches('^[a-z0-9]([a-z0-9-]*[a-z0-9])?$')").message(&*format!(
        "{field}: write a DNS label: lower-case letters, digits and hyphens, beginning and ending with a letter or digit"
    ))
}

/// That the names in a list of a list are those of destinations.
pub(super) fn known_destinations(list: &str) -> Rule {
    Rule::new(format!(
        "!has(self.{list}) || self.{list}.all(one, !has(one.to) || one.to.all(name, self.destinations.exists(d, d.name == name)))"
    ))
    .message(&*format!("spec.{list}[].to names a destination that is not in spec.destinations: correct the name"))
}
