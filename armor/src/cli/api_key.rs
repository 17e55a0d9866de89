//! `armor api-key create`: the Secret holds the hash, and the key is shown once.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::Args;
use jiff::Timestamp;
use sha2::{Digest, Sha256};

/// What every key begins with, so that scanners for leaked secrets can find one.
pub const KEY_START: &str = "agw_";

#[derive(Args)]
pub(super) struct Create {
    /// Who holds the key: an email address or another name.
    #[arg(long)]
    user: String,
    /// Groups of the holder.
    #[arg(long, value_delimiter = ',')]
    groups: Vec<String>,
    /// From when on it is refused, such as 2030-01-31T00:00:00Z.
    #[arg(long, value_name = "RFC3339")]
    expires: Option<Timestamp>,
    /// Name of the Secret; default: made from the user.
    #[arg(long)]
    name: Option<String>,
    /// Label of the Secret, by which a Pool selects it.
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write KEY=VALUE".to_owned()),
    }
}

impl Create {
    pub(super) fn run(self) -> Result<(), String> {
        let random: [u8; 32] = rand::random();
        let key = format!("{KEY_START}{}", URL_SAFE_NO_PAD.encode(random));
        let manifest = self.manifest(&key)?;
        let write =
            |mut to: Box<dyn std::io::Write>, text: &str| to.write_all(text.as_bytes()).map_err(|e| e.to_string());
        write(Box::new(std::io::stdout()), &manifest)?;
        write(Box::new(std::io::stderr()), &format!("The key, which is not shown again: {key}\n"))
    }

    /// A Secret with the hash of a key and its holder.
    fn manifest(&self, key: &str) -> Result<String, String> {
        if self.user.is_empty() || self.user.chars().any(char::is_control) {
            return Err("--user: write a name".to_owned());
        }
        let name = match &self.name {
            Some(name) => name.clone(),
            None => format!("api-key-{}", dns_label(&self.user)),
        };
        let hash = format!("sha256:{}", hex::encode(Sha256::digest(key)));
        // JSON strings are YAML strings.
        let quoted = |text: &str| crate::mcp::splice::json_string(text);
        let mut out = format!("apiVersion: v1\nkind: Secret\nmetadata:\n  name: {}\n", quoted(&name));
        if !self.labels.is_empty() {
            out.push_str("  labels:\n");
            for (key, value) in &self.labels {
                out.push_str(&format!("    {}: {}\n", quoted(key), quoted(value)));
            }
        }
        out.push_str("type: Opaque\nstringData:\n");
        out.push_str(&format!("  hash: {}\n", quoted(&hash)));
        out.push_str(&format!("  user: {}\n", quoted(&self.user)));
        if !self.groups.is_empty() {
            out.push_str(&format!("  groups: {}\n", quoted(&self.groups.join(","))));
        }
        if let Some(expires) = self.expires {
            out.push_str(&format!("  expires: {}\n", quoted(&expires.to_string())));
        }
        Ok(out)
    }
}

/// A name that Kubernetes accepts, as near to the text as it can be.
fn dns_label(text: &str) -> String {
    let mapped: String =
        text.to_ascii_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(50).collect();
    let trimmed = mapped.trim_matches('-');
    if trimmed.is_empty() { "user".to_owned() } else { trimmed.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secret_holds_the_hash_and_not_the_key() {
        let create = Create {
            user: "alice@example.com".to_owned(),
            groups: vec!["a".to_owned(), "b".to_owned()],
            expires: Some("2030-01-31T00:00:00Z".parse().unwrap()),
            name: None,
            labels: vec![label("team=sales").unwrap()],
        };
        let manifest = create.manifest("agw_secret").unwrap();
        assert!(!manifest.contains("agw_secret"));
        let value: serde_json::Value = serde_saphyr::from_str(&manifest).unwrap();
        assert_eq!(value["metadata"]["name"], "api-key-alice-example-com");
        assert_eq!(value["metadata"]["labels"]["team"], "sales");
        assert_eq!(value["stringData"]["user"], "alice@example.com");
        assert_eq!(value["stringData"]["groups"], "a,b");
        assert_eq!(value["stringData"]["expires"], "2030-01-31T00:00:00Z");
        let hash = value["stringData"]["hash"].as_str().unwrap();
        assert_eq!(hash, format!("sha256:{}", hex::encode(Sha256::digest("agw_secret"))));
    }

    #[test]
    fn names_fit_kubernetes() {
        assert_eq!(dns_label("Ünï@x"), "n--x");
        assert_eq!(dns_label("---"), "user");
        assert_eq!(dns_label(&"x".repeat(80)).len(), 50);
    }
}
