package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ProcessID names one process for good: a process id alone is given to another process one day.
type ProcessID struct {
	PID int
	// StartTime is in clock ticks since boot, field 22 of proc(5) stat.
	StartTime uint64
	BootID    string
}

func identify(pid int) (ProcessID, error) {
	fields, err := procStat(pid)
	if err != nil {
		return ProcessID{}, err
	}
	start, err := strconv.ParseUint(fields[19], 10, 64)
	return ProcessID{PID: pid, StartTime: start, BootID: bootID()}, err
}

// procStat gives the fields of /proc/PID/stat from the third on: state, parent, ...
func procStat(pid int) ([]string, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil, err
	}
	// The second field is the program's name in brackets and may hold anything.
	fields := strings.Fields(string(data)[strings.LastIndexByte(string(data), ')')+1:])
	if len(fields) < 20 {
		return nil, fmt.Errorf("/proc/%d/stat is too short", pid)
	}
	return fields, nil
}

func bootID() string {
	data, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(data))
}

func (p ProcessID) alive() bool {
	if p.PID == 0 || p.BootID != bootID() {
		return false
	}
	now, err := identify(p.PID)
	if err != nil || now.StartTime != p.StartTime {
		return false
	}
	fields, err := procStat(p.PID)
	return err == nil && fields[0] != "Z" && fields[0] != "X"
}

// kill ends exactly this process and waits until it is gone.
func (p ProcessID) kill(timeout time.Duration) error {
	if !p.alive() {
		return nil
	}
	// A process file descriptor can not come to mean another process between check and signal.
	process, err := os.FindProcess(p.PID)
	if err != nil {
		return err
	}
	defer process.Release()
	if !p.alive() {
		return nil
	}
	if err := process.Signal(syscall.SIGKILL); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("end process %d: %w", p.PID, err)
	}
	return poll(timeout, fmt.Sprintf("process %d to end", p.PID), func() (bool, error) {
		// Reap it, when it is our own child.
		_, _ = syscall.Wait4(p.PID, nil, syscall.WNOHANG, nil)
		return !p.alive(), nil
	})
}

// hostPIDs maps process ids inside the supervisor's PID namespace to those on the host, for its children.
func hostPIDs(supervisor int) map[int]int {
	result := map[int]int{}
	entries, _ := filepath.Glob("/proc/[0-9]*")
	for _, entry := range entries {
		pid, err := strconv.Atoi(filepath.Base(entry))
		if err != nil {
			continue
		}
		stat, err := procStat(pid)
		if err != nil || stat[1] != strconv.Itoa(supervisor) {
			continue
		}
		status, err := os.ReadFile(entry + "/status")
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(status)) {
			if rest, found := strings.CutPrefix(line, "NSpid:"); found {
				ids := strings.Fields(rest)
				if inner, err := strconv.Atoi(ids[len(ids)-1]); err == nil {
					result[inner] = pid
				}
			}
		}
	}
	return result
}

// poll asks until the answer is yes, an error that waiting can not mend, or the deadline.
func poll(timeout time.Duration, what string, done func() (bool, error)) error {
	const interval = 50 * time.Millisecond
	deadline := time.Now().Add(timeout)
	for {
		ok, err := done()
		if ok || err != nil {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("waited %s in vain for %s", timeout, what)
		}
		time.Sleep(interval)
	}
}
