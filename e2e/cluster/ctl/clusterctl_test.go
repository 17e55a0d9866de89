package main

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestAddressRangesOfAllClustersAreDisjoint(t *testing.T) {
	type owned struct {
		network *net.IPNet
		what    string
	}
	var all []owned
	for index := range maxIndex + 1 {
		s := Settings{Index: index}
		for _, cidr := range []string{s.linkCIDR(), s.podCIDR(), s.serviceCIDR()} {
			address, network, err := net.ParseCIDR(cidr)
			if err != nil {
				t.Fatal(err)
			}
			if !address.Equal(network.IP) {
				t.Errorf("%s does not begin at its network's address", cidr)
			}
			for _, other := range all {
				if other.network.Contains(network.IP) || network.Contains(other.network.IP) {
					t.Errorf("index %d: %s overlaps %s", index, cidr, other.what)
				}
			}
			all = append(all, owned{network, cidr})
		}
		if _, services, _ := net.ParseCIDR(s.serviceCIDR()); !services.Contains(net.ParseIP(s.apiServiceIP())) {
			t.Errorf("index %d: the API server's Service is outside %s", index, services)
		}
	}
}

func TestSettingsRefuseWhatCanNotWork(t *testing.T) {
	for variable, values := range map[string][]string{
		"CLUSTER_NAME":               {"Upper", "-a", "a-", "a_b", "a/b", strings.Repeat("a", 41)},
		"CLUSTER_INDEX":              {"-1", "16", "x"},
		"CLUSTER_CONTROL_PLANE_ONLY": {"yes"},
		"CLUSTER_DIR":                {"/" + strings.Repeat("d", maxSocketPath)},
	} {
		for _, value := range values {
			t.Run(variable+"="+value, func(t *testing.T) {
				t.Setenv(variable, value)
				if _, err := settingsFromEnv(); err == nil {
					t.Error("accepted")
				} else if !strings.Contains(err.Error(), variable) {
					t.Errorf("the message does not name the variable: %v", err)
				}
			})
		}
	}
}

func TestKillSparesAProcessThatOnlyHasTheSameNumber(t *testing.T) {
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill() }()
	right, err := identify(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	other, rebooted := right, right
	other.StartTime--
	rebooted.BootID = "before"
	for _, wrong := range []ProcessID{other, rebooted, {}} {
		if err := wrong.kill(time.Second); err != nil {
			t.Error(err)
		}
	}
	if !right.alive() {
		t.Fatal("a process with another start time was ended")
	}
	if err := right.kill(5 * time.Second); err != nil {
		t.Fatal(err)
	}
	if right.alive() {
		t.Error("the process was not ended")
	}
}

func TestEveryToolHasAPinnedVersion(t *testing.T) {
	for _, tool := range tools {
		version, err := requiredVersion(filepath.Join("..", "tools", tool.module, "go.mod"), tool.versioned)
		if err != nil {
			t.Error(err)
		} else if !strings.HasPrefix(version, "v") {
			t.Errorf("%s: %s", tool.name, version)
		}
	}
}

func TestToolsKeyFollowsEveryFile(t *testing.T) {
	dir := t.TempDir()
	write := func(content string) string {
		if err := os.MkdirAll(filepath.Join(dir, "etcd"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "etcd", "go.sum"), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		key, err := toolsKey(dir)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	first, second, again := write("a"), write("b"), write("a")
	if first == second || first != again {
		t.Errorf("keys %s, %s, %s", first, second, again)
	}
}

func TestMountPointsAreUnescaped(t *testing.T) {
	for escaped, plain := range map[string]string{
		`/a\040b`: "/a b", `/a\134b`: `/a\b`, `/plain`: "/plain", `/end\04`: `/end\04`, `/no\999`: `/no\999`,
	} {
		if got := unescapeOctal(escaped); got != plain {
			t.Errorf("%s: got %q, want %q", escaped, got, plain)
		}
	}
}

func TestDownRefusesAFolderThatIsNoClusters(t *testing.T) {
	dir := t.TempDir()
	precious := filepath.Join(dir, "precious")
	if err := os.WriteFile(precious, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := down(dir); err == nil {
		t.Error("no error")
	}
	if _, err := os.Stat(precious); err != nil {
		t.Error(err)
	}
}
