// Command clusterctl runs a real one-node Kubernetes on this machine, from binaries that it builds
// itself: no Docker, no systemd, no registry. See ../README.md.
//
// It promises that `down` ends everything `up` started and nothing else. A cluster lives in its own
// PID, mount and network namespaces, so ending its first process ends all of it.
package main

import (
	"fmt"
	"os"
)

const usage = `Usage: clusterctl COMMAND

  up                  start the cluster and wait until it is ready; safe to repeat
  load IMAGE.tar...   load OCI or Docker image archives into the cluster
  status              say what runs, what died, and at which addresses
  down                stop the cluster and remove every trace of it
  tools               build the binaries when absent, print their folder
  kubeconfig          print the path of the kubeconfig

Settings, by environment:
  CLUSTER_NAME                 name of the cluster and its node (default "dev")
  CLUSTER_INDEX                0 to 15; gives the address ranges, one per running cluster (default 0)
  CLUSTER_DIR                  state folder (default $XDG_STATE_HOME/ai-gateway-operator/clusters/NAME)
  CLUSTER_CONTROL_PLANE_ONLY   1: etcd, API server and controller manager, no node
`

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "clusterctl:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
	// The two commands that run inside the cluster get everything from their arguments.
	switch args[0] {
	case "supervise":
		return supervise(args[1])
	case "storage":
		return runStorage(args[1])
	case "help", "-h", "--help":
		fmt.Print(usage)
		return nil
	case "tools":
		dir, err := ensureTools()
		if err == nil {
			fmt.Println(dir)
		}
		return err
	}

	settings, err := settingsFromEnv()
	if err != nil {
		return err
	}
	switch args[0] {
	case "up":
		return withLock(settings, func() error { return up(settings) })
	case "down":
		return withLock(settings, func() error { return down(settings.Dir) })
	case "load":
		return load(settings, args[1:])
	case "status":
		return status(settings)
	case "kubeconfig":
		fmt.Println(settings.kubeconfig())
		return nil
	}
	fmt.Fprint(os.Stderr, usage)
	return fmt.Errorf("unknown command %q", args[0])
}
