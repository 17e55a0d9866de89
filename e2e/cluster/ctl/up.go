package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"time"
)

// up starts the cluster and waits until a user could work with it.
func up(s Settings) error {
	begin := time.Now()
	if err := checkPackages(); err != nil {
		return err
	}
	toolsDir, err := ensureTools()
	if err != nil {
		return err
	}
	s.ToolsDir = toolsDir
	if !s.ControlPlaneOnly {
		if s.PauseArchive, err = ensurePauseImage(); err != nil {
			return err
		}
	}
	printStage("tools", time.Since(begin))

	if _, err := os.Stat(s.Dir); err == nil {
		why := ""
		if why, err = s.unfit(); err != nil {
			return err
		}
		if why == "" {
			fmt.Fprintf(os.Stderr, "cluster %s is up; KUBECONFIG=%s\n", s.Name, s.kubeconfig())
			return nil
		}
		fmt.Fprintf(os.Stderr, "cluster %s is not fit for use (%s): starting anew\n", s.Name, why)
		if err := down(s.Dir); err != nil {
			return err
		}
	}

	start := time.Now()
	if s, err = s.create(); err != nil {
		return errors.Join(err, down(s.Dir))
	}
	printStage("prepare", time.Since(start))
	if err := s.awaitStart(); err != nil {
		return err
	}
	if err := s.awaitReady(); err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "cluster %s is ready after %.1f s; KUBECONFIG=%s\n", s.Name, time.Since(begin).Seconds(), s.kubeconfig())
	return nil
}

// unfit says why a cluster that left a state folder can not be used as it is; empty when it can.
// It is an error when the folder is not a cluster's, or its cluster is another than the one asked for.
func (s Settings) unfit() (string, error) {
	old, err := readSettings(s.Dir)
	if err != nil {
		if entries, readErr := os.ReadDir(s.Dir); readErr == nil && len(entries) == 0 {
			return "empty folder", nil
		}
		return "", fmt.Errorf("%s is not the state folder of a cluster: remove it or set CLUSTER_DIR", s.Dir)
	}
	if !old.Supervisor.alive() {
		return "stopped", nil
	}
	if old.Index != s.Index || old.Name != s.Name || old.ControlPlaneOnly != s.ControlPlaneOnly {
		return "", fmt.Errorf("a cluster with other settings runs in %s (name %s, index %d, control plane only: %t): stop it first",
			s.Dir, old.Name, old.Index, old.ControlPlaneOnly)
	}
	var state State
	if err := readJSON(old.stateFile(), &state); err != nil {
		return "no state", nil
	}
	for _, c := range state.Components {
		if c.Exit != "" {
			return c.Name + " ended", nil
		}
	}
	if !state.Started {
		return "its start was interrupted", nil
	}
	if old.ToolsDir != s.ToolsDir {
		fmt.Fprintln(os.Stderr, "the cluster runs binaries of other versions than this checkout's; `down` and `up` to change that")
	}
	if err := old.awaitReady(); err != nil {
		return err.Error(), nil
	}
	return "", nil
}

// create makes the state folder, certificates and configurations, and starts the supervisor.
func (s Settings) create() (Settings, error) {
	if err := os.MkdirAll(s.Dir, 0o755); err != nil {
		return s, err
	}
	// From now on the folder is recognised as a cluster's and `down` can remove it.
	if err := writeJSON(settingsFile(s.Dir), s); err != nil {
		return s, err
	}
	for _, dir := range []string{"logs", "conf", "volumes", "node/lib", "node/log"} {
		if err := os.MkdirAll(s.path(dir), 0o755); err != nil {
			return s, err
		}
	}
	if err := os.MkdirAll(s.path("etcd"), 0o700); err != nil {
		return s, err
	}
	if err := s.writeConfigs(); err != nil {
		return s, err
	}
	if err := s.writePKI(); err != nil {
		return s, err
	}
	if err := makeCgroups(s.cgroup()); err != nil {
		return s, err
	}
	return startSupervisor(s)
}

// awaitStart follows the supervisor's start and prints its stages.
func (s Settings) awaitStart() error {
	printed := 0
	imported := s.ControlPlaneOnly
	return poll(90*time.Second, "the components to start", func() (bool, error) {
		var state State
		if err := readJSON(s.stateFile(), &state); err != nil && !os.IsNotExist(err) {
			return false, err
		}
		for ; printed < len(state.Stages); printed++ {
			printStage(state.Stages[printed].Name, time.Duration(state.Stages[printed].Seconds*float64(time.Second)))
		}
		if err := state.firstExit(s); err != nil {
			return false, err
		}
		if state.Failure != "" {
			return false, fmt.Errorf("start: %s", state.Failure)
		}
		if !s.Supervisor.alive() {
			return false, fmt.Errorf("the supervisor ended: %s", tailFile(s.logFile("supervisor"), 2000))
		}
		// While the API server starts, containerd is long there.
		if _, err := os.Stat(s.containerdSocket()); err == nil && !imported {
			start := time.Now()
			if err := s.importImage(s.PauseArchive); err != nil {
				return false, err
			}
			imported = true
			printStage("sandbox image", time.Since(start))
		}
		return state.Started && imported, nil
	})
}

// awaitReady waits for what a user's first command needs: a Ready node, names that resolve, and the
// default ServiceAccount, without which no Pod is admitted.
func (s Settings) awaitReady() error {
	a, err := newAPI(s, "admin")
	if err != nil {
		return err
	}
	stages := []struct {
		name string
		done func() bool
	}{
		{"default ServiceAccount", func() bool {
			return a.call("GET", "/api/v1/namespaces/default/serviceaccounts/default", nil, nil) == nil
		}},
	}
	if !s.ControlPlaneOnly {
		stages = append(stages, []struct {
			name string
			done func() bool
		}{
			{"node Ready", func() bool { return s.nodeReady(a) }},
			{"DNS", s.resolves},
			{"service address", s.serviceAnswers},
		}...)
	}
	for _, stage := range stages {
		start := time.Now()
		err := poll(60*time.Second, stage.name, func() (bool, error) {
			if stage.done() {
				return true, nil
			}
			var state State
			if err := readJSON(s.stateFile(), &state); err != nil {
				return false, err
			}
			return false, state.firstExit(s)
		})
		if err != nil {
			return err
		}
		printStage(stage.name, time.Since(start))
	}
	return nil
}

func (s Settings) nodeReady(a *api) bool {
	var node struct {
		Status struct {
			Conditions []struct{ Type, Status string }
		}
	}
	if err := a.call("GET", "/api/v1/nodes/"+s.Name, nil, &node); err != nil {
		return false
	}
	for _, c := range node.Status.Conditions {
		if c.Type == "Ready" {
			return c.Status == "True"
		}
	}
	return false
}

// resolves asks the cluster's DNS server for the API server's Service.
func (s Settings) resolves() bool {
	resolver := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, net.JoinHostPort(s.nodeIP(), fmt.Sprint(dnsPort)))
	}}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	addresses, err := resolver.LookupHost(ctx, "kubernetes.default.svc."+clusterDomain+".")
	return err == nil && len(addresses) == 1 && addresses[0] == s.apiServiceIP()
}

// serviceAnswers shows that kube-proxy has done its work, from the host.
func (s Settings) serviceAnswers() bool {
	conn, err := net.DialTimeout("tcp", net.JoinHostPort(s.apiServiceIP(), "443"), time.Second)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

func printStage(name string, took time.Duration) {
	fmt.Fprintf(os.Stderr, "  %-24s %6.1f s\n", name, took.Seconds())
}

// load imports image archives and prints what came of each.
func load(s Settings, archives []string) error {
	if len(archives) == 0 {
		return fmt.Errorf("name at least one image archive")
	}
	running, err := readSettings(s.Dir)
	if err != nil || !running.Supervisor.alive() {
		return fmt.Errorf("cluster %s is not up", s.Name)
	}
	for _, archive := range archives {
		start := time.Now()
		if err := running.importImage(archive); err != nil {
			return err
		}
		printStage("loaded "+archive, time.Since(start))
	}
	return nil
}

func (s Settings) importImage(archive string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.tool("ctr"), "--address", s.containerdSocket(), "--namespace", "k8s.io", "images", "import", archive)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("load %s: %w: %s", archive, err, tail(out, 1000))
	}
	return nil
}
