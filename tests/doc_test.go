//go:build container

// Package tests tests the built program from outside, as PID 1 of a container or of a PID
// namespace, by what a user can observe. It needs root, Docker, the images of scripts/image.sh, a
// real Tomcat and the kernel with cgroup v2 of scripts/vm.sh. scripts/test.sh container installs
// and starts all of them.
package tests

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// stoker is the program under test.
func stoker(t testing.TB) string {
	t.Helper()
	path, err := filepath.Abs("../bin/stoker")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		lacking(t, "bin/stoker is missing: make build makes it")
	}
	return path
}

// lacking skips the test, or fails it if STOKER_CI is set.
func lacking(t testing.TB, why string) {
	t.Helper()
	if os.Getenv("STOKER_CI") == "1" {
		t.Fatal(why)
	}
	t.Skip(why)
}

// needsNamespaces requires the right to create a PID namespace.
func needsNamespaces(t testing.TB) {
	t.Helper()
	if os.Getuid() != 0 {
		lacking(t, "a PID namespace of its own needs root")
	}
	if _, err := exec.LookPath("unshare"); err != nil {
		lacking(t, "unshare(1) is missing: it is in util-linux")
	}
}

// needsImage requires a Docker daemon and a test image.
func needsImage(t testing.TB, image string) {
	t.Helper()
	if out, err := exec.Command("docker", "image", "inspect", "-f", "{{.Id}}", image).CombinedOutput(); err != nil {
		lacking(t, "the image "+image+" is missing (scripts/image.sh broken makes it): "+string(out))
	}
}

// number returns a count from the environment, or the default.
func number(t testing.TB, variable string, otherwise int) int {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("%s=%q is not a count", variable, text)
	}
	return n
}

// await polls until ok holds, and fails the test with what if it does not within the time.
func await(t testing.TB, within time.Duration, what string, ok func() bool) {
	t.Helper()
	if !eventually(within, 10*time.Millisecond, ok) {
		t.Fatalf("%s did not come within %v", what, within)
	}
}

// eventually polls ok and reports whether it held within the time.
func eventually(within, every time.Duration, ok func() bool) bool {
	deadline := time.After(within)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if ok() {
			return true
		}
		select {
		case <-tick.C:
		case <-deadline:
			return ok()
		}
	}
}

// holds polls ok and reports whether it held all the time.
func holds(during time.Duration, ok func() bool) bool {
	return !eventually(during, 10*time.Millisecond, func() bool { return !ok() })
}

// pass waits where the test is about the time between two events.
func pass(d time.Duration) { <-time.After(d) }
