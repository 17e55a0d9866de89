package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"time"
)

// tool is one binary of the cluster, built from a module below ../tools.
type tool struct {
	name, module, pkg string
	// versioned is the required module whose version the binary is to report.
	versioned string
	ldflags   func(version string) []string
}

const (
	kubernetes = "k8s.io/kubernetes"
	containerd = "github.com/containerd/containerd/v2"
)

// Slow builds of what the others wait for come first: a failure shows early.
var tools = []tool{
	{"kube-apiserver", "kubernetes", kubernetes + "/cmd/kube-apiserver", kubernetes, kubernetesVersion},
	{"kubelet", "kubernetes", kubernetes + "/cmd/kubelet", kubernetes, kubernetesVersion},
	{"kube-controller-manager", "kubernetes", kubernetes + "/cmd/kube-controller-manager", kubernetes, kubernetesVersion},
	{"kube-scheduler", "kubernetes", kubernetes + "/cmd/kube-scheduler", kubernetes, kubernetesVersion},
	{"kube-proxy", "kubernetes", kubernetes + "/cmd/kube-proxy", kubernetes, kubernetesVersion},
	{"kubectl", "kubernetes", kubernetes + "/cmd/kubectl", kubernetes, kubernetesVersion},
	{"etcd", "etcd", "go.etcd.io/etcd/server/v3", "go.etcd.io/etcd/server/v3", nil},
	{"containerd", "containerd", containerd + "/cmd/containerd", containerd, containerdVersion},
	{"containerd-shim-runc-v2", "containerd", containerd + "/cmd/containerd-shim-runc-v2", containerd, containerdVersion},
	{"ctr", "containerd", containerd + "/cmd/ctr", containerd, containerdVersion},
	{"helm", "helm", "helm.sh/helm/v4/cmd/helm", "helm.sh/helm/v4", helmVersion},
	{"coredns", "coredns", ".", "github.com/coredns/coredns", nil},
}

// Without these the API server reports v0.0.0, and clients that look at its version go astray.
func kubernetesVersion(version string) []string {
	parts := strings.SplitN(strings.TrimPrefix(version, "v"), ".", 3)
	pkg := "k8s.io/component-base/version."
	return []string{
		"-X", pkg + "gitVersion=" + version, "-X", pkg + "gitMajor=" + parts[0], "-X", pkg + "gitMinor=" + parts[1],
		"-X", pkg + "gitTreeState=clean",
	}
}

func containerdVersion(version string) []string {
	return []string{"-X", containerd + "/version.Version=" + version}
}

func helmVersion(version string) []string {
	return []string{"-X", "helm.sh/helm/v4/internal/version.version=" + version}
}

func cacheDir() string { return xdgDir("XDG_CACHE_HOME", ".cache") }

// sourceDir is e2e/cluster of the checkout, told by the clusterctl script.
func sourceDir() (string, error) {
	dir := os.Getenv("CLUSTERCTL_SOURCE")
	if dir == "" {
		return "", errors.New("start this program by e2e/cluster/clusterctl")
	}
	return dir, nil
}

// ensureTools builds the binaries that are missing and returns their folder. The folder's name is a
// hash of everything that decides their content, so a finished folder is never changed.
func ensureTools() (string, error) {
	source, err := sourceDir()
	if err != nil {
		return "", err
	}
	key, err := toolsKey(filepath.Join(source, "tools"))
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cacheDir(), "tools", key)
	if len(missingTools(dir)) == 0 {
		return dir, nil
	}
	lock, err := lockFile(filepath.Join(cacheDir(), "tools", ".lock"), func() {
		fmt.Fprintln(os.Stderr, "waiting for another build of the cluster's tools")
	})
	if err != nil {
		return "", err
	}
	defer lock.Close()

	missing := missingTools(dir)
	if len(missing) == 0 {
		return dir, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	if leftover, err := filepath.Glob(filepath.Join(dir, ".*")); err == nil {
		for _, file := range leftover { // of an interrupted build; the lock says that none runs now
			_ = os.Remove(file)
		}
	}
	fmt.Fprintf(os.Stderr, "building %d tools of the local cluster, once; about 10 minutes on 2 cores when nothing is cached\n", len(missing))
	for i, t := range missing {
		start := time.Now()
		fmt.Fprintf(os.Stderr, "  [%2d/%d] %-24s", i+1, len(missing), t.name)
		if err := t.build(source, dir); err != nil {
			fmt.Fprintln(os.Stderr, " failed")
			return "", err
		}
		fmt.Fprintf(os.Stderr, "%6.1f s\n", time.Since(start).Seconds())
	}
	return dir, nil
}

func missingTools(dir string) []tool {
	var missing []tool
	for _, t := range tools {
		if _, err := os.Stat(filepath.Join(dir, t.name)); err != nil {
			missing = append(missing, t)
		}
	}
	return missing
}

func toolsKey(dir string) (string, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*", "*"))
	if err != nil {
		return "", err
	}
	if len(files) == 0 {
		return "", fmt.Errorf("no modules in %s", dir)
	}
	hash := sha256.New()
	fmt.Fprintln(hash, runtime.GOARCH)
	for _, t := range tools {
		fmt.Fprintf(hash, "%s %s %q\n", t.name, t.pkg, t.linkerFlags("v0.0.0"))
	}
	for _, file := range files { // Glob sorts
		data, err := os.ReadFile(file)
		if err != nil {
			return "", err
		}
		rel, _ := filepath.Rel(dir, file)
		fmt.Fprintf(hash, "%s %d\n", rel, len(data))
		hash.Write(data)
	}
	return hex.EncodeToString(hash.Sum(nil))[:16], nil
}

func (t tool) build(source, dir string) error {
	module := filepath.Join(source, "tools", t.module)
	version, err := requiredVersion(filepath.Join(module, "go.mod"), t.versioned)
	if err != nil {
		return err
	}
	// A build that is interrupted leaves a file of another name: the final name means finished.
	temp := filepath.Join(dir, fmt.Sprintf(".%s.%d", t.name, os.Getpid()))
	defer os.Remove(temp)
	cmd := exec.Command("nice", "go", "build", "-mod=readonly", "-trimpath", "-buildvcs=false",
		"-ldflags", strings.Join(t.linkerFlags(version), " "), "-o", temp, t.pkg)
	cmd.Dir = module
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off")
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", t.name, err, tail(output, 4096))
	}
	return os.Rename(temp, filepath.Join(dir, t.name))
}

func (t tool) linkerFlags(version string) []string {
	flags := []string{"-s", "-w"}
	if t.ldflags != nil {
		flags = append(flags, t.ldflags(version)...)
	}
	return flags
}

func requiredVersion(goMod, module string) (string, error) {
	data, err := os.ReadFile(goMod)
	if err != nil {
		return "", err
	}
	match := regexp.MustCompile(`(?m)^\s*(?:require )?` + regexp.QuoteMeta(module) + ` (v\S+)`).FindSubmatch(data)
	if match == nil {
		return "", fmt.Errorf("%s requires no version of %s", goMod, module)
	}
	return string(match[1]), nil
}

// ensurePauseImage returns the archive of the sandbox image, built by ../images with the packages of the machine.
func ensurePauseImage() (string, error) {
	source, err := sourceDir()
	if err != nil {
		return "", err
	}
	cmd := exec.Command(filepath.Join(source, "..", "images", "build.sh"), "pause")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("build the pause image: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

// checkPackages names what is missing of the programs that come from the distribution.
func checkPackages() error {
	var missing []string
	for _, program := range []string{"runc", "iptables", "iptables-restore", "conntrack", "ip", "mount"} {
		if _, err := exec.LookPath(program); err != nil {
			missing = append(missing, program)
		}
	}
	if _, err := os.Stat(filepath.Join(cniPlugins, "ptp")); err != nil {
		missing = append(missing, filepath.Join(cniPlugins, "ptp"))
	}
	if len(missing) > 0 {
		return fmt.Errorf("not found: %s; run e2e/cluster/install-packages.sh", strings.Join(missing, ", "))
	}
	return nil
}

func tail(data []byte, limit int) string {
	if len(data) > limit {
		data = data[len(data)-limit:]
	}
	return strings.TrimSpace(string(data))
}

// tailFile gives the end of a log, for a message about the process that wrote it.
func tailFile(path string, limit int64) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > limit {
		_, _ = f.Seek(-limit, io.SeekEnd)
	}
	data, _ := io.ReadAll(f)
	return strings.TrimSpace(string(data))
}
