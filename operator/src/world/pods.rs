//! What is kept of a Pod.

use k8s_openapi::api::core::v1::Pod;

use crate::names::{COMPONENT_LABEL, CONFIG_NUDGE, INSTANCE_LABEL, POOL_LABEL};

/// A Pod of a child, pruned.
#[derive(Clone, Debug, PartialEq)]
pub struct PodState {
    /// Uid of the Pod.
    pub uid: String,
    /// `armor`, `redis`, `exporter` or `mcp-server`.
    pub component: Box<str>,
    /// Name of the Pool or McpServer that the Pod belongs to.
    pub instance: Box<str>,
    /// Name of the pool that the Pod serves.
    pub pool: Box<str>,
    /// Address of the Pod, once it has one.
    pub ip: Option<String>,
    /// Whether it is on its way out.
    pub deleting: bool,
    /// Whether it has ended, as an evicted one has. Such a Pod keeps an address that may be another Pod's by now.
    pub ended: bool,
    /// Whether it takes traffic.
    pub ready: bool,
    /// Why it can not start, where the kubelet or the scheduler says so: a reason and a sentence.
    pub trouble: Option<(Box<str>, Box<str>)>,
    /// The configuration that its kubelet was last nudged to refresh.
    pub nudge: Option<String>,
}

impl PodState {
    /// Prunes a Pod.
    pub fn of(pod: &Pod) -> Self {
        let label =
            |key: &str| Box::from(pod.metadata.labels.as_ref().and_then(|l| l.get(key)).map_or("", String::as_str));
        let status = pod.status.as_ref();
        let condition = |type_: &str| {
            status.and_then(|s| s.conditions.as_ref()).into_iter().flatten().find(move |c| c.type_ == type_)
        };
        PodState {
            uid: pod.metadata.uid.clone().unwrap_or_default(),
            component: label(COMPONENT_LABEL),
            instance: label(INSTANCE_LABEL),
            pool: label(POOL_LABEL),
            ip: status.and_then(|s| s.pod_ip.clone()),
            deleting: pod.metadata.deletion_timestamp.is_some(),
            ended: status.and_then(|s| s.phase.as_deref()).is_some_and(|phase| matches!(phase, "Failed" | "Succeeded")),
            ready: condition("Ready").is_some_and(|c| c.status == "True"),
            trouble: trouble(pod).or_else(|| {
                let scheduled = condition("PodScheduled").filter(|c| c.status == "False")?;
                Some(("Unschedulable".into(), scheduled.message.clone().unwrap_or_default().into()))
            }),
            nudge: pod.metadata.annotations.as_ref().and_then(|a| a.get(CONFIG_NUDGE)).cloned(),
        }
    }

    /// Whether this is a Pod of a component of the pool that runs, or is about to.
    pub fn is_of(&self, component: &str, pool: &str) -> bool {
        self.component.as_ref() == component && self.pool.as_ref() == pool && self.is_wanted()
    }

    /// Whether it neither has ended nor is on its way out.
    pub fn is_wanted(&self) -> bool {
        !self.deleting && !self.ended
    }
}

/// The reason and sentence of the first container that waits for something which does not pass by itself.
fn trouble(pod: &Pod) -> Option<(Box<str>, Box<str>)> {
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    statuses.iter().find_map(|container| {
        let waiting = container.state.as_ref()?.waiting.as_ref()?;
        let reason = match waiting.reason.as_deref()? {
            "ImagePullBackOff" | "ErrImagePull" | "InvalidImageName" | "ErrImageNeverPull" => "ImagePullFailed",
            "CrashLoopBackOff" => "CrashLooping",
            "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => "ContainerRefused",
            _ => return None,
        };
        let sentence = match reason {
            // The kubelet's own text alternates between two forms, and would flap in a status.
            "ImagePullFailed" => format!("image {} can not be pulled", container.image),
            "CrashLooping" => {
                format!("container {} exits again and again: see `kubectl logs --previous`", container.name)
            }
            _ => waiting.message.clone().unwrap_or_default(),
        };
        Some((reason.into(), sentence.into()))
    })
}
