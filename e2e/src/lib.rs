//! What the end-to-end tests share: kubectl as a user has it, namespaces of their own, and waits that say what they
//! saw last.
//!
//! Every wait is on a condition and has a deadline. A namespace is removed when its test ends, however it ends.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

/// Namespace of the operator.
pub const SYSTEM: &str = "ai-gateway-system";
/// Between two looks at a condition.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Runs kubectl with something on its standard input; gives its standard output.
///
/// # Errors
/// With what kubectl wrote, when it fails.
pub fn kubectl_with(input: &str, args: &[&str]) -> Result<String> {
    let mut child = Command::new("kubectl")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("kubectl is not on PATH")?;
    child.stdin.take().context("no standard input")?.write_all(input.as_bytes())?;
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("kubectl {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// Runs kubectl.
///
/// # Errors
/// As `kubectl_with`.
pub fn kubectl(args: &[&str]) -> Result<String> {
    kubectl_with("", args)
}

/// Runs kubectl and parses what it prints as JSON.
///
/// # Errors
/// As `kubectl_with`, and when the output is no JSON.
pub fn kubectl_json(args: &[&str]) -> Result<Value> {
    Ok(serde_json::from_str(&kubectl(&[args, &["-o", "json"]].concat())?)?)
}

/// Waits until `look` gives something; on a deadline, fails with what it said last.
///
/// # Errors
/// When the time is up.
pub fn eventually<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Result<T>) -> Result<T> {
    let end = Instant::now() + limit;
    loop {
        let seen = look();
        match seen {
            Ok(found) => return Ok(found),
            Err(error) if Instant::now() >= end => bail!("{what}: not within {} s: {error:#}", limit.as_secs()),
            Err(_) => std::thread::sleep(LOOK_EVERY),
        }
    }
}

/// A namespace that enforces the `restricted` level, for one test.
pub struct Namespace {
    /// Its name.
    pub name: String,
}

impl Namespace {
    /// Makes it, after what an interrupted run left of it is gone.
    ///
    /// # Errors
    /// When the cluster refuses.
    pub fn new(name: &str) -> Result<Self> {
        kubectl(&["delete", "namespace", name, "--ignore-not-found", "--timeout=120s"])?;
        kubectl(&["create", "namespace", name])?;
        kubectl(&["label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted"])?;
        Ok(Namespace { name: name.to_owned() })
    }

    /// Applies YAML.
    ///
    /// # Errors
    /// As kubectl.
    pub fn apply(&self, yaml: &str) -> Result<String> {
        kubectl_with(yaml, &["apply", "-n", &self.name, "-f", "-"])
    }

    /// Runs kubectl in the namespace.
    ///
    /// # Errors
    /// As kubectl.
    pub fn kubectl(&self, args: &[&str]) -> Result<String> {
        kubectl(&[&["-n", &self.name], args].concat())
    }

    /// One object.
    ///
    /// # Errors
    /// As kubectl; also when there is none.
    pub fn get(&self, kind: &str, name: &str) -> Result<Value> {
        kubectl_json(&["-n", &self.name, "get", kind, name])
    }

    /// The objects of some kinds that match a selector.
    ///
    /// # Errors
    /// As kubectl.
    pub fn list(&self, kinds: &str, selector: &str) -> Result<Vec<Value>> {
        let list = kubectl_json(&["-n", &self.name, "get", kinds, "-l", selector])?;
        Ok(list["items"].as_array().cloned().unwrap_or_default())
    }

    /// Patches an object with a JSON merge patch.
    ///
    /// # Errors
    /// As kubectl.
    pub fn patch(&self, kind: &str, name: &str, patch: &Value) -> Result<String> {
        self.kubectl(&["patch", kind, name, "--type=merge", "-p", &patch.to_string()])
    }

    /// Waits for a condition of an object with a status and, unless it is empty, a reason.
    ///
    /// # Errors
    /// When the time is up; with all conditions.
    pub fn condition(&self, kind: &str, name: &str, want: (&str, &str, &str), seconds: u64) -> Result<Value> {
        let (type_, status, reason) = want;
        let what = format!("{kind} {}/{name}: {type_}={status} {reason}", self.name);
        eventually(&what, Duration::from_secs(seconds), || {
            let object = self.get(kind, name)?;
            let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
            let current = object["status"]["observedGeneration"] == object["metadata"]["generation"];
            let found = conditions
                .iter()
                .find(|c| c["type"] == type_ && c["status"] == status && (reason.is_empty() || c["reason"] == reason));
            match found {
                Some(condition) if current => Ok(condition.clone()),
                _ => bail!("{}", json!(conditions)),
            }
        })
    }

    /// Waits until a Pool is Active, with every replica ready and in sync.
    ///
    /// # Errors
    /// When the time is up.
    pub fn active(&self, pool: &str, seconds: u64) -> Result<()> {
        eventually(&format!("Pool {}/{pool} is Active", self.name), Duration::from_secs(seconds), || {
            let object = self.get("pool", pool)?;
            let current = object["status"]["observedGeneration"] == object["metadata"]["generation"];
            let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
            let is_true = |type_: &str| conditions.iter().any(|c| c["type"] == type_ && c["status"] == "True");
            // Active outlasts a blip of 30 s; Ready does not.
            if !(current && is_true("Ready") && is_true("ConfigInSync") && object["status"]["phase"] == "Active") {
                bail!("{}", object["status"]);
            }
            Ok(())
        })
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // For whoever reads the failed test.
            for args in [vec!["get", "pools,mcpservers,siemexports,pods", "-o", "wide"], vec!["get", "events"]] {
                eprintln!("{}", self.kubectl(&args).unwrap_or_else(|error| error.to_string()));
            }
        }
        if let Err(error) = kubectl(&["delete", "namespace", &self.name, "--wait=false"]) {
            eprintln!("namespace {} stays: {error:#}", self.name);
        }
    }
}
