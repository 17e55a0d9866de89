package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const (
	nodeInterface = "eth0"
	ipForward     = "/proc/sys/net/ipv4/ip_forward"
	// forwardMark remembers that forwarding was off before the first cluster. /run is empty after a
	// reboot, and so is the setting.
	forwardMark = "/run/ai-gateway-operator/ip-forward-was-off"
	// interfacePattern matches the host's interfaces of all local clusters.
	interfacePattern = "/sys/class/net/agw*"
)

// connectNetwork joins host and node by a pair of virtual interfaces and routes Pods and Services to the node.
func connectNetwork(s Settings) error {
	if err := s.checkIndexFree(); err != nil {
		return err
	}
	iface := s.hostInterface()
	for _, args := range [][]string{
		{"link", "add", iface, "type", "veth", "peer", "name", nodeInterface, "netns", strconv.Itoa(s.Supervisor.PID)},
		{"link", "set", iface, "alias", s.interfaceAlias()},
		{"address", "add", s.hostIP() + "/30", "dev", iface},
		{"link", "set", iface, "up"},
		{"route", "add", s.podCIDR(), "via", s.nodeIP()},
		{"route", "add", s.serviceCIDR(), "via", s.nodeIP()},
	} {
		if err := ip(args...); err != nil {
			return err
		}
	}
	return s.allowEgress()
}

// checkIndexFree refuses an index or an address range that something else on this machine uses.
func (s Settings) checkIndexFree() error {
	alias, err := os.ReadFile("/sys/class/net/" + s.hostInterface() + "/ifalias")
	if err == nil {
		return fmt.Errorf("CLUSTER_INDEX %d is in use (interface %s: %q); stop that cluster or set another index",
			s.Index, s.hostInterface(), strings.TrimSpace(string(alias)))
	}
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return err
	}
	for _, cidr := range []string{s.linkCIDR(), s.podCIDR(), s.serviceCIDR()} {
		_, wanted, err := net.ParseCIDR(cidr)
		if err != nil {
			return err
		}
		for _, address := range addresses {
			if used, ok := address.(*net.IPNet); ok && wanted.Contains(used.IP) {
				return fmt.Errorf("this machine's address %s is in the cluster's range %s; set another CLUSTER_INDEX", used, cidr)
			}
		}
	}
	return nil
}

// egressRules let Pods reach beyond the machine, as on any cluster. The comment makes them this cluster's.
func (s Settings) egressRules() [][]string {
	comment := []string{"-m", "comment", "--comment", s.interfaceAlias()}
	iface := s.hostInterface()
	return [][]string{
		append([]string{"-t", "nat", "POSTROUTING", "-s", s.linkCIDR(), "!", "-o", iface, "-j", "MASQUERADE"}, comment...),
		append([]string{"-t", "filter", "FORWARD", "-i", iface, "-j", "ACCEPT"}, comment...),
		append([]string{"-t", "filter", "FORWARD", "-o", iface, "-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED", "-j", "ACCEPT"}, comment...),
	}
}

func (s Settings) allowEgress() error {
	for _, rule := range s.egressRules() {
		// Inserted first, because a firewall's own rule may drop what it does not know.
		if err := iptables("-I", rule); err != nil {
			return err
		}
	}
	before, err := os.ReadFile(ipForward)
	if err != nil {
		return err
	}
	if strings.TrimSpace(string(before)) != "0" {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(forwardMark), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(forwardMark, nil, 0o644); err != nil {
		return err
	}
	return os.WriteFile(ipForward, []byte("1"), 0o644)
}

// disconnectNetwork removes from the host what connectNetwork added, in any state of it.
func disconnectNetwork(s Settings) error {
	for _, rule := range s.egressRules() {
		for iptables("-C", rule) == nil {
			if err := iptables("-D", rule); err != nil {
				return err
			}
		}
	}
	iface := "/sys/class/net/" + s.hostInterface()
	mine := func() bool {
		alias, err := os.ReadFile(iface + "/ifalias")
		return err == nil && strings.TrimSpace(string(alias)) == s.interfaceAlias()
	}
	// The interface goes with the node's network namespace, a moment after the last process in it.
	err := poll(10*time.Second, "interface "+s.hostInterface()+" to go", func() (bool, error) {
		if mine() {
			_ = ip("link", "delete", s.hostInterface())
		}
		return !mine(), nil
	})
	if err != nil {
		return err
	}
	others, _ := filepath.Glob(interfacePattern)
	if _, err := os.Stat(forwardMark); err != nil || len(others) > 0 {
		return nil
	}
	if err := os.WriteFile(ipForward, []byte("0"), 0o644); err != nil {
		return err
	}
	return os.RemoveAll(filepath.Dir(forwardMark))
}

// iptables runs one rule of egressRules with an action in front of its chain.
func iptables(action string, rule []string) error {
	args := append([]string{"-w", rule[0], rule[1], action}, rule[2:]...)
	if out, err := exec.Command("iptables", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("iptables %s: %w: %s", strings.Join(args, " "), err, tail(out, 500))
	}
	return nil
}

func ip(args ...string) error {
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, tail(out, 500))
	}
	return nil
}
