package main

import (
	"errors"
	"fmt"
)

// status prints what there is, and is an error unless everything runs and the API server answers.
func status(s Settings) error {
	running, err := readSettings(s.Dir)
	if err != nil {
		fmt.Printf("cluster %s: not there (%s)\n", s.Name, s.Dir)
		return errors.New("not running")
	}
	s = running
	alive := s.Supervisor.alive()
	var state State
	_ = readJSON(s.stateFile(), &state)

	outside := map[int]int{}
	if alive {
		outside = hostPIDs(s.Supervisor.PID)
	}
	healthy := alive && state.Started && state.Failure == ""
	fmt.Printf("cluster %s, index %d, in %s\n", s.Name, s.Index, s.Dir)
	for _, c := range state.Components {
		switch {
		case !alive:
			fmt.Printf("  %-24s stopped\n", c.Name)
		case c.Exit != "":
			healthy = false
			fmt.Printf("  %-24s ENDED: %s; see %s\n", c.Name, c.Exit, s.logFile(c.Name))
		default:
			fmt.Printf("  %-24s running, pid %d\n", c.Name, outside[c.PID])
		}
	}
	if state.Failure != "" {
		fmt.Printf("  start failed: %s\n", state.Failure)
	}
	if alive {
		a, err := newAPI(s, "admin")
		if err != nil {
			return err
		}
		if !a.ready() {
			healthy = false
			fmt.Println("  the API server does not answer")
		} else if !s.ControlPlaneOnly && !s.nodeReady(a) {
			healthy = false
			fmt.Println("  the node is not Ready")
		}
	}
	if !healthy {
		return fmt.Errorf("cluster %s is not healthy", s.Name)
	}
	fmt.Printf(`API server               %s
Pods, Services           %s, %s: reachable from this machine
this machine, for Pods   %s, also as %s
logs                     %s
inside the node          nsenter -t %d -a
use it                   export KUBECONFIG=%s PATH=%s:$PATH
`, s.apiURL(), s.podCIDR(), s.serviceCIDR(), s.hostIP(), hostName, s.path("logs"), s.Supervisor.PID, s.kubeconfig(), s.ToolsDir)
	return nil
}
