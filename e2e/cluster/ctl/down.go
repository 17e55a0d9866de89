package main

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const cgroupRoot = "/sys/fs/cgroup"

// down removes a cluster in any state: running, half-stopped, or from before a reboot.
func down(dir string) error {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		fmt.Fprintf(os.Stderr, "no cluster in %s\n", dir)
		return nil
	}
	s, err := readSettings(dir)
	if err != nil {
		return fmt.Errorf("%s is not the state folder of a cluster: %w", dir, err)
	}
	start := time.Now()
	// With the first process of a PID namespace the kernel ends all others in it: components, shims and containers.
	if err := s.Supervisor.kill(30 * time.Second); err != nil {
		return err
	}
	if err := disconnectNetwork(s); err != nil {
		return err
	}
	if err := removeCgroups(s.cgroup()); err != nil {
		return err
	}
	if err := unmountBelow(s.Dir); err != nil {
		return err
	}
	if err := os.RemoveAll(s.Dir); err != nil {
		return err
	}
	printStage("down", time.Since(start))
	return nil
}

// cgroupParents are the roots of the mounted hierarchies: one for version 2 alone, one per controller
// for version 1, and both when they are side by side.
func cgroupParents() []string {
	if _, err := os.Stat(filepath.Join(cgroupRoot, "cgroup.controllers")); err == nil {
		return []string{cgroupRoot}
	}
	roots, _ := filepath.Glob(filepath.Join(cgroupRoot, "*", "cgroup.procs"))
	seen := []string{}
	for _, root := range roots {
		// cpu and cpuacct may be links to one hierarchy.
		if dir, err := filepath.EvalSymlinks(filepath.Dir(root)); err == nil && !slices.Contains(seen, dir) {
			seen = append(seen, dir)
		}
	}
	return seen
}

// makeCgroups makes the folder below which the kubelet puts all Pods.
func makeCgroups(name string) error {
	for _, parent := range cgroupParents() {
		dir := filepath.Join(parent, name)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		// Version 2 hands controllers down only when told to; the kubelet requires these.
		for _, level := range []string{parent, dir} {
			available, err := os.ReadFile(filepath.Join(level, "cgroup.controllers"))
			if err != nil {
				continue
			}
			for controller := range strings.FieldsSeq(string(available)) {
				_ = os.WriteFile(filepath.Join(level, "cgroup.subtree_control"), []byte("+"+controller), 0o644)
			}
		}
	}
	return nil
}

// removeCgroups removes the Pods' cgroups, which are empty once the PID namespace has ended.
func removeCgroups(name string) error {
	for _, parent := range cgroupParents() {
		root := filepath.Join(parent, name)
		err := poll(10*time.Second, "cgroup "+root+" to be empty", func() (bool, error) {
			var dirs []string
			_ = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
				if err == nil && entry.IsDir() {
					dirs = append(dirs, path)
				}
				return nil
			})
			slices.Reverse(dirs)
			for _, dir := range dirs {
				// Not os.Remove: the files in a cgroup are part of it and go with it.
				_ = syscall.Rmdir(dir)
			}
			_, err := os.Stat(root)
			return errors.Is(err, fs.ErrNotExist), nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// unmountBelow clears what could be mounted in the state folder. The cluster's own mounts are not
// among them, they ended with its mount namespace; but removing the folder must never reach into
// another file system.
func unmountBelow(dir string) error {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	defer f.Close()
	var points []string
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		// Field 5 is the mount point, with odd characters as \ooo (proc(5)).
		point := unescapeOctal(strings.Fields(lines.Text())[4])
		if strings.HasPrefix(point, dir+"/") {
			points = append(points, point)
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	sort.Sort(sort.Reverse(sort.StringSlice(points)))
	for _, point := range points {
		if err := syscall.Unmount(point, syscall.MNT_DETACH); err != nil {
			return fmt.Errorf("unmount %s: %w", point, err)
		}
	}
	return nil
}

func unescapeOctal(text string) string {
	var out strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] == '\\' && i+3 < len(text) {
			if value, err := strconv.ParseUint(text[i+1:i+4], 8, 8); err == nil {
				out.WriteByte(byte(value))
				i += 3
				continue
			}
		}
		out.WriteByte(text[i])
	}
	return out.String()
}
