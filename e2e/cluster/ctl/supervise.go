package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// State is what the supervisor tells the outside, in state.json.
type State struct {
	Components []ComponentState
	Stages     []Stage
	// Started: every component has been started once.
	Started bool
	// Failure of the start, empty when there is none.
	Failure string
}

type ComponentState struct {
	Name string
	// PID is inside the cluster's PID namespace.
	PID int
	// Exit says how and when the component ended; empty while it runs.
	Exit string
}

// Stage is one step of the start and how long it took.
type Stage struct {
	Name    string
	Seconds float64
}

func (s Settings) stateFile() string { return s.path("state.json") }

// supervisor is the first process of the cluster's PID namespace: it starts the components, collects
// every process that ends, and takes all of them with it when it ends. It restarts nothing: a
// component that dies is a finding.
type supervisor struct {
	settings Settings
	mu       sync.Mutex
	state    State
}

// gateOpen is what `up` writes into the supervisor's pipe when the supervisor is on record and its
// network interface is there. A pipe that closes without it means that `up` was ended.
const gateOpen = "go"

// supervise runs inside fresh PID, mount and network namespaces. It goes on once `up` has
// opened the gate, a pipe that is file descriptor 3.
func supervise(dir string) error {
	if os.Getpid() != 1 {
		return errors.New("supervise is started by up, in a PID namespace of its own")
	}
	gate := os.NewFile(3, "gate")
	answer, err := io.ReadAll(gate)
	if err != nil {
		return err
	}
	gate.Close()
	if string(answer) != gateOpen {
		return errors.New("up ended before the network was there")
	}
	settings, err := readSettings(dir)
	if err != nil {
		return err
	}
	sup := &supervisor{settings: settings}
	if err := sup.prepare(); err != nil {
		sup.fail(err)
		return err
	}
	// From here on all children belong to the reaper: nothing may wait for a child of its own.
	first, err := sup.startFirst()
	if err != nil {
		sup.fail(err)
		return err
	}
	go func() {
		if err := sup.startRest(first); err != nil {
			sup.fail(err)
		}
	}()
	sup.reap()
	return errors.New("every process of the cluster has ended")
}

func (sup *supervisor) prepare() error {
	s := sup.settings
	// Settings as on any node that routes Pods; they hold in this network namespace only.
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"link", "set", "lo", "up"},
		{"address", "add", s.nodeIP() + "/30", "dev", nodeInterface},
		{"link", "set", nodeInterface, "up"},
		{"route", "add", "default", "via", s.hostIP()},
	} {
		if err := ip(args...); err != nil {
			return err
		}
	}
	return s.privateMounts()
}

// privateMounts gives the node places of its own where its programs expect them. The mount namespace
// ends with its last process, so none of this has to be undone.
func (s Settings) privateMounts() error {
	// The folders may be below one of the new mounts: they are reached by descriptors, and put back where hidden.
	keep := map[string]*os.File{}
	for _, dir := range []string{s.Dir, s.ToolsDir} {
		f, err := os.Open(dir)
		if err != nil {
			return err
		}
		defer f.Close()
		keep[dir] = f
	}
	inDir := fmt.Sprintf("/proc/self/fd/%d/", keep[s.Dir].Fd())
	mounts := []struct {
		source, target, fstype string
		flags                  uintptr
	}{
		{"", "/", "", syscall.MS_REC | syscall.MS_PRIVATE},
		// Volumes with mount propagation need a shared root, as systemd makes it; it is shared with nobody outside.
		{"", "/", "", syscall.MS_REC | syscall.MS_SHARED},
		{"proc", "/proc", "proc", syscall.MS_NOSUID | syscall.MS_NODEV | syscall.MS_NOEXEC},
		{"tmpfs", "/run", "tmpfs", syscall.MS_NOSUID | syscall.MS_NODEV},
		{inDir + "node/lib", "/var/lib", "", syscall.MS_BIND},
		{inDir + "node/log", "/var/log", "", syscall.MS_BIND},
	}
	for _, m := range mounts {
		if err := syscall.Mount(m.source, m.target, m.fstype, m.flags, ""); err != nil {
			return fmt.Errorf("mount %s: %w", m.target, err)
		}
	}
	for dir, f := range keep {
		before, err := f.Stat()
		if err != nil {
			return err
		}
		if now, err := os.Stat(dir); err == nil && os.SameFile(before, now) {
			continue
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if err := syscall.Mount(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), dir, "", syscall.MS_BIND, ""); err != nil {
			return fmt.Errorf("mount %s: %w", dir, err)
		}
	}
	return nil
}

func (sup *supervisor) startFirst() (time.Time, error) {
	start := time.Now()
	s := sup.settings
	first := []component{s.etcd(), s.apiServer()}
	if !s.ControlPlaneOnly {
		first = append(first, s.containerd())
	}
	for _, c := range first {
		if err := sup.start(c); err != nil {
			return start, err
		}
	}
	return start, nil
}

// startRest starts what ends itself when there is no API server yet.
func (sup *supervisor) startRest(start time.Time) error {
	s := sup.settings
	api, err := newAPI(s, "admin")
	if err != nil {
		return err
	}
	err = poll(60*time.Second, "the API server", func() (bool, error) {
		return api.ready(), sup.anyExit()
	})
	if err != nil {
		return err
	}
	sup.stage("API server", start)

	rest := []component{s.controllerManager()}
	if !s.ControlPlaneOnly {
		rest = append(rest, s.kubelet(), s.scheduler(), s.proxy())
	}
	for _, c := range rest {
		if err := sup.start(c); err != nil {
			return err
		}
	}
	start = time.Now()
	if err := applyBaseObjects(api); err != nil {
		return err
	}
	if !s.ControlPlaneOnly {
		for _, c := range []component{s.coredns(), s.storage()} {
			if err := sup.start(c); err != nil {
				return err
			}
		}
	}
	sup.stage("base objects", start)
	sup.update(func(state *State) { state.Started = true })
	return nil
}

func (sup *supervisor) start(c component) error {
	log, err := os.OpenFile(sup.settings.logFile(c.name), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	defer null.Close()
	sup.mu.Lock()
	defer sup.mu.Unlock()
	pid, err := syscall.ForkExec(c.args[0], c.args, &syscall.ProcAttr{
		Dir:   "/",
		Env:   sup.environment(),
		Files: []uintptr{null.Fd(), log.Fd(), log.Fd()},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return fmt.Errorf("start %s: %w", c.name, err)
	}
	sup.state.Components = append(sup.state.Components, ComponentState{Name: c.name, PID: pid})
	return sup.save()
}

// environment is the same whoever starts the cluster: a proxy or a Go setting of theirs stays outside.
func (sup *supervisor) environment() []string {
	return []string{
		"PATH=" + sup.settings.ToolsDir + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=/root",
	}
}

// reap collects ended processes: the components, and orphans of the containers, which come to the
// first process of their PID namespace. It returns when there is none left.
func (sup *supervisor) reap() {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case err != nil:
			return
		}
		how := fmt.Sprintf("exit code %d", status.ExitStatus())
		if status.Signaled() {
			how = "signal " + status.Signal().String()
		}
		sup.update(func(state *State) {
			for i := range state.Components {
				if c := &state.Components[i]; c.PID == pid {
					c.Exit = fmt.Sprintf("%s at %s", how, time.Now().UTC().Format(time.RFC3339))
				}
			}
		})
	}
}

func (sup *supervisor) anyExit() error {
	sup.mu.Lock()
	defer sup.mu.Unlock()
	return sup.state.firstExit(sup.settings)
}

// firstExit is an error about a component that has ended, with the end of its log.
func (state State) firstExit(s Settings) error {
	for _, c := range state.Components {
		if c.Exit != "" {
			return fmt.Errorf("%s ended (%s); the end of %s:\n%s", c.Name, c.Exit, s.logFile(c.Name), tailFile(s.logFile(c.Name), 2000))
		}
	}
	return nil
}

func (sup *supervisor) stage(name string, start time.Time) {
	sup.update(func(state *State) {
		state.Stages = append(state.Stages, Stage{name, time.Since(start).Seconds()})
	})
}

func (sup *supervisor) fail(err error) {
	sup.update(func(state *State) { state.Failure = err.Error() })
}

func (sup *supervisor) update(change func(*State)) {
	sup.mu.Lock()
	defer sup.mu.Unlock()
	change(&sup.state)
	if err := sup.save(); err != nil {
		fmt.Fprintln(os.Stderr, "state:", err)
	}
}

func (sup *supervisor) save() error { return writeJSON(sup.settings.stateFile(), sup.state) }

// startSupervisor starts the first process of the cluster and joins its network namespace to the host.
func startSupervisor(s Settings) (Settings, error) {
	self, err := os.Executable()
	if err != nil {
		return s, err
	}
	log, err := os.Create(s.logFile("supervisor"))
	if err != nil {
		return s, err
	}
	defer log.Close()
	gateRead, gateWrite, err := os.Pipe()
	if err != nil {
		return s, err
	}
	defer gateRead.Close()
	defer gateWrite.Close()

	cmd := exec.Command(self, "supervise", s.Dir)
	cmd.Args[0] = filepath.Base(self)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = []*os.File{gateRead}
	cmd.Dir = "/"
	// A session of its own: the cluster outlives this command and its terminal.
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setsid:     true,
		Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWNET,
	}
	if err := cmd.Start(); err != nil {
		return s, fmt.Errorf("start the cluster's namespaces: %w", err)
	}
	if s.Supervisor, err = identify(cmd.Process.Pid); err != nil {
		return s, err
	}
	if err := writeJSON(settingsFile(s.Dir), s); err != nil {
		return s, err
	}
	if err := connectNetwork(s); err != nil {
		return s, err
	}
	_, err = io.WriteString(gateWrite, gateOpen)
	return s, err
}
