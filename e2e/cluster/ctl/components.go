package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
)

// cniPlugins is where Debian's containernetworking-plugins are.
const cniPlugins = "/usr/lib/cni"

const (
	corednsUser = "system:coredns"
	// hostName is a name that Pods can use for the machine that the cluster runs on.
	hostName = "host.cluster.internal"
	dnsPort  = 53
)

// component is one long-running process of the cluster.
type component struct {
	name string
	args []string
}

func (s Settings) etcd() component {
	return component{"etcd", []string{s.tool("etcd"),
		"--name=" + s.Name,
		"--data-dir=" + s.path("etcd"),
		"--listen-client-urls=https://127.0.0.1:2379",
		"--advertise-client-urls=https://127.0.0.1:2379",
		"--cert-file=" + s.pki("etcd.crt"), "--key-file=" + s.pki("etcd.key"),
		"--trusted-ca-file=" + s.pki(etcdCA+".crt"), "--client-cert-auth",
		"--listen-peer-urls=https://127.0.0.1:2380",
		"--initial-advertise-peer-urls=https://127.0.0.1:2380",
		"--initial-cluster=" + s.Name + "=https://127.0.0.1:2380",
		"--peer-cert-file=" + s.pki("etcd.crt"), "--peer-key-file=" + s.pki("etcd.key"),
		"--peer-trusted-ca-file=" + s.pki(etcdCA+".crt"), "--peer-client-cert-auth",
		"--log-level=warn",
	}}
}

func (s Settings) apiServer() component {
	return component{"kube-apiserver", []string{s.tool("kube-apiserver"),
		fmt.Sprintf("--secure-port=%d", apiPort),
		"--advertise-address=" + s.nodeIP(),
		"--etcd-servers=https://127.0.0.1:2379",
		"--etcd-cafile=" + s.pki(etcdCA+".crt"),
		"--etcd-certfile=" + s.pki("apiserver-etcd-client.crt"),
		"--etcd-keyfile=" + s.pki("apiserver-etcd-client.key"),
		"--client-ca-file=" + s.pki(clusterCA+".crt"),
		"--tls-cert-file=" + s.pki("apiserver.crt"), "--tls-private-key-file=" + s.pki("apiserver.key"),
		"--kubelet-certificate-authority=" + s.pki(clusterCA+".crt"),
		"--kubelet-client-certificate=" + s.pki("apiserver-kubelet-client.crt"),
		"--kubelet-client-key=" + s.pki("apiserver-kubelet-client.key"),
		"--kubelet-preferred-address-types=InternalIP",
		"--requestheader-client-ca-file=" + s.pki(frontProxyCA+".crt"),
		"--requestheader-allowed-names=front-proxy-client",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--requestheader-group-headers=X-Remote-Group",
		"--requestheader-username-headers=X-Remote-User",
		"--proxy-client-cert-file=" + s.pki("front-proxy-client.crt"),
		"--proxy-client-key-file=" + s.pki("front-proxy-client.key"),
		"--service-account-issuer=https://kubernetes.default.svc." + clusterDomain,
		"--service-account-key-file=" + s.pki("service-account.pub"),
		"--service-account-signing-key-file=" + s.pki("service-account.key"),
		"--service-cluster-ip-range=" + s.serviceCIDR(),
		"--authorization-mode=Node,RBAC",
		"--enable-admission-plugins=NodeRestriction",
		"--allow-privileged=true",
	}}
}

func (s Settings) controllerManager() component {
	kubeconfig := s.conf("kube-controller-manager.kubeconfig")
	return component{"kube-controller-manager", []string{s.tool("kube-controller-manager"),
		"--kubeconfig=" + kubeconfig, "--authentication-kubeconfig=" + kubeconfig, "--authorization-kubeconfig=" + kubeconfig,
		"--bind-address=127.0.0.1",
		"--leader-elect=false",
		"--use-service-account-credentials",
		"--client-ca-file=" + s.pki(clusterCA+".crt"),
		"--requestheader-client-ca-file=" + s.pki(frontProxyCA+".crt"),
		"--root-ca-file=" + s.pki(clusterCA+".crt"),
		"--service-account-private-key-file=" + s.pki("service-account.key"),
		"--cluster-signing-cert-file=" + s.pki(clusterCA+".crt"),
		"--cluster-signing-key-file=" + s.pki(clusterCA+".key"),
		"--service-cluster-ip-range=" + s.serviceCIDR(),
	}}
}

func (s Settings) scheduler() component {
	kubeconfig := s.conf("kube-scheduler.kubeconfig")
	return component{"kube-scheduler", []string{s.tool("kube-scheduler"),
		"--kubeconfig=" + kubeconfig, "--authentication-kubeconfig=" + kubeconfig, "--authorization-kubeconfig=" + kubeconfig,
		"--bind-address=127.0.0.1",
		"--leader-elect=false",
	}}
}

func (s Settings) containerd() component {
	return component{"containerd", []string{s.tool("containerd"), "--config=" + s.conf("containerd.toml")}}
}

func (s Settings) kubelet() component {
	return component{"kubelet", []string{s.tool("kubelet"),
		"--config=" + s.conf("kubelet.yaml"),
		"--kubeconfig=" + s.conf("kubelet.kubeconfig"),
		"--hostname-override=" + s.Name,
		"--node-ip=" + s.nodeIP(),
	}}
}

func (s Settings) proxy() component {
	return component{"kube-proxy", []string{s.tool("kube-proxy"), "--config=" + s.conf("kube-proxy.yaml")}}
}

func (s Settings) coredns() component {
	return component{"coredns", []string{s.tool("coredns"), "-conf=" + s.conf("Corefile")}}
}

func (s Settings) storage() component {
	return component{"storage", []string{"/proc/self/exe", "storage", s.Dir}}
}

func (s Settings) writeConfigs() error {
	files := map[string]string{
		"containerd.toml":      s.containerdConfig(),
		"kubelet.yaml":         s.kubeletConfig(),
		"kube-proxy.yaml":      s.proxyConfig(),
		"Corefile":             s.corefile(),
		"cni/10-pods.conflist": s.cniConfig(),
	}
	for name, content := range files {
		file := s.conf(name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func (s Settings) containerdConfig() string {
	return fmt.Sprintf(`version = 3
# root, state and the shims' sockets are at their usual places, in the cluster's own mount namespace.
# Only this socket is outside, for loading images from the host.
[grpc]
  address = %[1]q

[plugins.'io.containerd.cri.v1.images']
  snapshotter = 'overlayfs'
  [plugins.'io.containerd.cri.v1.images'.pinned_images]
    sandbox = 'localhost/pause:1'

[plugins.'io.containerd.cri.v1.runtime']
  # In a container or a sandbox even root may not lower its OOM score.
  restrict_oom_score_adj = true
  [plugins.'io.containerd.cri.v1.runtime'.cni]
    bin_dirs = [%[2]q]
    conf_dir = %[3]q
`, s.containerdSocket(), cniPlugins, s.conf("cni"))
}

// cniConfig routes Pods instead of bridging them: then every packet between two Pods passes iptables,
// whether the kernel has br_netfilter or not.
func (s Settings) cniConfig() string {
	return fmt.Sprintf(`{
  "cniVersion": "1.0.0",
  "name": "pods",
  "plugins": [
    {
      "type": "ptp",
      "ipMasq": true,
      "ipam": {
        "type": "host-local",
        "ranges": [[{"subnet": %q}]],
        "routes": [{"dst": "0.0.0.0/0"}]
      }
    },
    {"type": "portmap", "capabilities": {"portMappings": true}}
  ]
}
`, s.podCIDR())
}

func (s Settings) kubeletConfig() string {
	return fmt.Sprintf(`apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
  x509: {clientCAFile: %[1]q}
authorization: {mode: Webhook}
tlsCertFile: %[2]q
tlsPrivateKeyFile: %[3]q
containerRuntimeEndpoint: %[4]q
clusterDNS: [%[5]s]
clusterDomain: %[6]s
# No systemd is needed; either version of cgroups, or both side by side, will do.
cgroupDriver: cgroupfs
cgroupRoot: /%[7]s
failCgroupV1: false
enforceNodeAllocatable: []
failSwapOn: false
# Images exist only here: they must outlive a full disk, which is the machine's and not the cluster's.
imageGCHighThresholdPercent: 100
evictionHard: {nodefs.available: "0%%", nodefs.inodesFree: "0%%", imagefs.available: "0%%", imagefs.inodesFree: "0%%"}
`, s.pki(clusterCA+".crt"), s.pki("kubelet-server.crt"), s.pki("kubelet-server.key"),
		"unix://"+s.containerdSocket(), s.nodeIP(), clusterDomain, s.cgroup())
}

func (s Settings) proxyConfig() string {
	return fmt.Sprintf(`apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clientConnection: {kubeconfig: %q}
mode: iptables
clusterCIDR: %s
hostnameOverride: %s
# The machine's connection tracking limits are not the cluster's to change.
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
`, s.conf("kube-proxy.kubeconfig"), s.podCIDR(), s.Name)
}

func (s Settings) corefile() string {
	forward := ""
	if servers := usableNameservers(); len(servers) > 0 {
		forward = "    forward . " + strings.Join(servers, " ") + "\n"
	}
	return fmt.Sprintf(`.:%d {
    bind %s
    errors
    ready 127.0.0.1:8181
    kubernetes %s in-addr.arpa ip6.arpa {
        kubeconfig %q
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
    }
    hosts {
        %s %s
        fallthrough
    }
%s    cache 30
    loadbalance
}
`, dnsPort, s.nodeIP(), clusterDomain, s.conf("coredns.kubeconfig"), s.hostIP(), hostName, forward)
}

// usableNameservers are the host's resolvers that can be reached from another network namespace.
func usableNameservers() []string {
	data, err := os.ReadFile("/etc/resolv.conf")
	if err != nil {
		return nil
	}
	var servers []string
	for line := range strings.Lines(string(data)) {
		fields := strings.Fields(line)
		if len(fields) < 2 || fields[0] != "nameserver" {
			continue
		}
		if ip := net.ParseIP(fields[1]); ip != nil && !ip.IsLoopback() && ip.To4() != nil {
			servers = append(servers, fields[1])
		}
	}
	return servers
}
