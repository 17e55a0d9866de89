//! Objects of a server that the operator runs. Pure.

use crds::McpServer;
use crds::mcp_server::Workload;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment};
use k8s_openapi::api::core::v1::{
    Container, ContainerPort, EmptyDirVolumeSource, Probe, Service, ServiceAccount, ServicePort, ServiceSpec,
    TCPSocketAction, Volume, VolumeMount,
};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::{Resource, ResourceExt};

use crate::child::{Child, Kind, Owner, Prepared};
use crate::names::{child_name, labels, selector};
use crate::pool::{ingress_policy, pods, rule};
use crate::settings::Settings;
use crate::workload::{pod_template, resources, some_list};

const COMPONENT: &str = "mcp-server";
const PROGRESS_DEADLINE_SECONDS: i32 = 120;
const GRACE_SECONDS: i64 = 30;

/// Every child of an McpServer with a workload.
#[derive(Debug)]
pub struct ServerResources<S> {
    /// Identity of the Pods; absent when the user names one.
    pub account: Option<Child<S>>,
    /// Lets the pool's gateways in, and nobody else; absent when the pool switches policies off.
    pub network_policy: Option<Child<S>>,
    /// The server's Service.
    pub service: Child<S>,
    /// The server.
    pub deployment: Child<S>,
}

/// Builds every child; `None` for a remote server.
///
/// # Errors
/// When an object can not be written as JSON, which is a defect of this program.
pub fn build(
    server: &McpServer,
    network_policies: bool,
    settings: &Settings,
) -> Result<Option<ServerResources<Prepared>>, serde_json::Error> {
    let (Some(workload), Some(reference)) = (&server.spec.workload, server.controller_owner_ref(&())) else {
        return Ok(None);
    };
    let owner = Owner { namespace: server.namespace().unwrap_or_default(), reference };
    let (name, pool) = (server.name_any(), &server.spec.pool_ref.name);
    let meta = ObjectMeta {
        name: Some(child_name(&name, "mcp")),
        labels: Some(labels(COMPONENT, &name, pool)),
        ..ObjectMeta::default()
    };
    let number = workload.port.unwrap_or(8080);
    let account = ServiceAccount {
        metadata: meta.clone(),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    };
    let policy = NetworkPolicy {
        metadata: meta.clone(),
        spec: Some(ingress_policy(
            selector(COMPONENT, &name),
            vec![rule(Some(vec![pods(selector("armor", pool))]), number)],
        )),
    };
    let service = Service {
        metadata: meta.clone(),
        spec: Some(ServiceSpec {
            type_: Some("ClusterIP".into()),
            selector: Some(selector(COMPONENT, &name)),
            ports: Some(vec![ServicePort {
                name: Some("mcp".into()),
                port: number,
                target_port: Some(IntOrString::String("mcp".into())),
                protocol: Some("TCP".into()),
                ..ServicePort::default()
            }]),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    };
    let own_account = workload.pod.service_account_name.is_none();
    Ok(Some(ServerResources {
        account: own_account.then(|| Child::desired(Kind::ServiceAccount, &owner, &account)).transpose()?,
        network_policy: network_policies.then(|| Child::desired(Kind::NetworkPolicy, &owner, &policy)).transpose()?,
        service: Child::desired(Kind::Service, &owner, &service)?,
        deployment: Child::desired(Kind::Deployment, &owner, &deployment(server, workload, meta, settings))?,
    }))
}

fn deployment(server: &McpServer, workload: &Workload, metadata: ObjectMeta, settings: &Settings) -> Deployment {
    let (name, pool) = (server.name_any(), &server.spec.pool_ref.name);
    let selector = selector(COMPONENT, &name);
    let template = pod_template(
        &labels(COMPONENT, &name, pool),
        &selector,
        &workload.pod,
        &child_name(&name, "mcp"),
        container(workload, settings),
        // Many servers write to /tmp, and their root file system is read-only.
        vec![Volume {
            name: "tmp".into(),
            empty_dir: Some(EmptyDirVolumeSource { size_limit: Some(Quantity("64Mi".into())), medium: None }),
            ..Volume::default()
        }],
        GRACE_SECONDS,
    );
    Deployment {
        metadata,
        spec: Some(DeploymentSpec {
            replicas: Some(workload.replicas.unwrap_or(1)),
            revision_history_limit: Some(3),
            progress_deadline_seconds: Some(PROGRESS_DEADLINE_SECONDS),
            selector: LabelSelector { match_labels: Some(selector), match_expressions: None },
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".into()),
                rolling_update: Some(RollingUpdateDeployment {
                    max_unavailable: Some(IntOrString::Int(0)),
                    max_surge: Some(IntOrString::Int(1)),
                }),
            }),
            template,
            ..DeploymentSpec::default()
        }),
        ..Deployment::default()
    }
}

fn container(workload: &Workload, settings: &Settings) -> Container {
    let number = workload.port.unwrap_or(8080);
    let probe = |period: i32, failures: i32| Probe {
        tcp_socket: Some(TCPSocketAction { port: IntOrString::String("mcp".into()), host: None }),
        period_seconds: Some(period),
        timeout_seconds: Some(2),
        failure_threshold: Some(failures),
        ..Probe::default()
    };
    Container {
        name: "mcp-server".into(),
        image: Some(workload.image.clone()),
        image_pull_policy: Some(settings.image_pull_policy.clone()),
        command: some_list(&workload.command),
        args: some_list(&workload.args),
        env: some_list(&workload.env),
        env_from: some_list(&workload.env_from),
        ports: Some(vec![ContainerPort {
            name: Some("mcp".into()),
            container_port: number,
            protocol: Some("TCP".into()),
            ..ContainerPort::default()
        }]),
        resources: Some(resources(
            workload.resources.as_ref(),
            &[("cpu", "50m".into()), ("memory", "64Mi".into())],
            &[],
        )),
        volume_mounts: Some(vec![VolumeMount {
            name: "tmp".into(),
            mount_path: "/tmp".into(),
            ..VolumeMount::default()
        }]),
        startup_probe: Some(probe(1, 120)),
        readiness_probe: Some(probe(3, 2)),
        ..Container::default()
    }
}
