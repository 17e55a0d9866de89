package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
)

// Settings identify one cluster. They are kept in its state folder, so that `down` and `status` work
// from that folder alone.
type Settings struct {
	Name             string
	Index            int
	Dir              string
	ControlPlaneOnly bool

	// ToolsDir holds the binaries that this cluster runs.
	ToolsDir string
	// PauseArchive is the OCI archive of the sandbox image.
	PauseArchive string
	// Supervisor is the first process of the cluster's namespaces.
	Supervisor ProcessID
}

const (
	maxIndex = 15
	// maxSocketPath is sun_path's size on Linux less the final NUL (unix(7)).
	maxSocketPath = 107
	clusterDomain = "cluster.local"
	apiPort       = 6443
)

// A cluster's name is its node's name too, and part of host-wide names of interfaces' aliases and cgroups.
var nameSyntax = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?$`)

func settingsFromEnv() (Settings, error) {
	s := Settings{Name: envOr("CLUSTER_NAME", "dev")}
	if !nameSyntax.MatchString(s.Name) {
		return s, fmt.Errorf("CLUSTER_NAME %q: use at most 40 of a-z, 0-9 and '-', not '-' at an end", s.Name)
	}
	index := envOr("CLUSTER_INDEX", "0")
	var err error
	if s.Index, err = strconv.Atoi(index); err != nil || s.Index < 0 || s.Index > maxIndex {
		return s, fmt.Errorf("CLUSTER_INDEX %q: use a number from 0 to %d", index, maxIndex)
	}
	switch v := os.Getenv("CLUSTER_CONTROL_PLANE_ONLY"); v {
	case "", "0":
	case "1":
		s.ControlPlaneOnly = true
	default:
		return s, fmt.Errorf("CLUSTER_CONTROL_PLANE_ONLY %q: use 0 or 1", v)
	}
	if s.Dir = os.Getenv("CLUSTER_DIR"); s.Dir == "" {
		s.Dir = filepath.Join(xdgDir("XDG_STATE_HOME", ".local/state"), "clusters", s.Name)
	}
	if s.Dir, err = filepath.Abs(s.Dir); err != nil {
		return s, err
	}
	if n := len(s.containerdSocket()) + len(".ttrpc"); n > maxSocketPath {
		return s, fmt.Errorf("CLUSTER_DIR %s is %d characters too long for a Unix socket in it", s.Dir, n-maxSocketPath)
	}
	return s, nil
}

// The address plan. Every cluster has a /30 between the host and the node, a /22 for Pods and a /20
// for Services, all below 10.213.0.0/16 to 10.215.0.0/16.

func (s Settings) hostInterface() string { return fmt.Sprintf("agw%d", s.Index) }
func (s Settings) linkCIDR() string      { return fmt.Sprintf("10.213.%d.0/30", s.Index) }
func (s Settings) hostIP() string        { return fmt.Sprintf("10.213.%d.1", s.Index) }
func (s Settings) nodeIP() string        { return fmt.Sprintf("10.213.%d.2", s.Index) }
func (s Settings) podCIDR() string       { return fmt.Sprintf("10.214.%d.0/22", 4*s.Index) }
func (s Settings) serviceCIDR() string   { return fmt.Sprintf("10.215.%d.0/20", 16*s.Index) }
func (s Settings) apiServiceIP() string  { return fmt.Sprintf("10.215.%d.1", 16*s.Index) }
func (s Settings) apiURL() string        { return fmt.Sprintf("https://%s:%d", s.nodeIP(), apiPort) }

// interfaceAlias marks the host's interface as this cluster's, for `down` and for a second `up` with the same index.
func (s Settings) interfaceAlias() string { return "ai-gateway-operator " + s.Dir }

// cgroup is the parent of every Pod's cgroup, in each hierarchy.
func (s Settings) cgroup() string { return fmt.Sprintf("agw-%d-%s", s.Index, s.Name) }

func (s Settings) path(parts ...string) string {
	return filepath.Join(append([]string{s.Dir}, parts...)...)
}
func (s Settings) pki(file string) string     { return s.path("pki", file) }
func (s Settings) conf(file string) string    { return s.path("conf", file) }
func (s Settings) logFile(name string) string { return s.path("logs", name+".log") }
func (s Settings) tool(name string) string    { return filepath.Join(s.ToolsDir, name) }
func (s Settings) kubeconfig() string         { return s.path("kubeconfig") }
func (s Settings) containerdSocket() string   { return s.path("containerd.sock") }
func settingsFile(dir string) string          { return filepath.Join(dir, "settings.json") }
func readSettings(dir string) (Settings, error) {
	var s Settings
	return s, readJSON(settingsFile(dir), &s)
}

func envOr(name, fallback string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return fallback
}

// xdgDir is this project's folder below an XDG base directory.
func xdgDir(variable, fallback string) string {
	base := os.Getenv(variable)
	if base == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			home = "/root"
		}
		base = filepath.Join(home, fallback)
	}
	return filepath.Join(base, "ai-gateway-operator")
}

func readJSON(file string, v any) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return nil
}

// writeJSON replaces a file in one step: a reader sees the old content or the new, never a part.
func writeJSON(file string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	temp := fmt.Sprintf("%s.%d", file, os.Getpid())
	if err := os.WriteFile(temp, append(data, '\n'), 0o644); err != nil {
		return err
	}
	return os.Rename(temp, file)
}

// lockFile takes an exclusive lock on a file, waiting for its holder.
func lockFile(path string, onWait func()) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	for {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
		if err != nil {
			return nil, err
		}
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if errors.Is(err, syscall.EWOULDBLOCK) {
			onWait()
			for err = syscall.EINTR; errors.Is(err, syscall.EINTR); {
				err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
			}
		}
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		// The holder before us may have deleted the file: then our lock is on nothing.
		held, err1 := f.Stat()
		now, err2 := os.Stat(path)
		if err1 == nil && err2 == nil && os.SameFile(held, now) {
			return f, nil
		}
		f.Close()
	}
}

// withLock runs `up` or `down` alone for this cluster.
func withLock(s Settings, do func() error) error {
	if os.Geteuid() != 0 {
		return errors.New("run this as root: it makes namespaces, mounts and network interfaces")
	}
	path := s.Dir + ".lock"
	lock, err := lockFile(path, func() {
		fmt.Fprintf(os.Stderr, "waiting for another command on cluster %s\n", s.Name)
	})
	if err != nil {
		return err
	}
	defer lock.Close()
	defer os.Remove(path)
	return do()
}
