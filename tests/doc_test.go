//go:build container

// Package tests holds stoker to its promises from outside: the built program is
// PID 1 of a container or of a PID namespace, and only what a user could see of
// it is looked at. It needs root, Docker, the images of scripts/image.sh, a real
// Tomcat, and for a kernel with cgroup v2 what scripts/vm.sh provides;
// scripts/test.sh container sees to all of it. It tests no function.
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

// lacking skips the test, or fails it where nothing may be skipped.
func lacking(t testing.TB, why string) {
	t.Helper()
	if os.Getenv("STOKER_CI") == "1" {
		t.Fatal(why)
	}
	t.Skip(why)
}

// needsNamespaces needs the right to make a PID namespace.
func needsNamespaces(t testing.TB) {
	t.Helper()
	if os.Getuid() != 0 {
		lacking(t, "a PID namespace of its own needs root")
	}
	if _, err := exec.LookPath("unshare"); err != nil {
		lacking(t, "unshare(1) is missing: it is in util-linux")
	}
}

// needsImage needs a Docker daemon with one of our images.
func needsImage(t testing.TB, image string) {
	t.Helper()
	if out, err := exec.Command("docker", "image", "inspect", "-f", "{{.Id}}", image).CombinedOutput(); err != nil {
		lacking(t, "the image "+image+" is missing (scripts/image.sh broken makes it): "+string(out))
	}
}

// number is a count that the environment may raise.
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

// await looks until ok holds; what is for the message when it does not within
// the time.
func await(t testing.TB, within time.Duration, what string, ok func() bool) {
	t.Helper()
	if !eventually(within, 10*time.Millisecond, ok) {
		t.Fatalf("%s did not come within %v", what, within)
	}
}

// eventually says whether ok holds within the time; it looks every so often.
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

// holds says whether ok holds for all of the time.
func holds(during time.Duration, ok func() bool) bool {
	return !eventually(during, 10*time.Millisecond, func() bool { return !ok() })
}

// pass lets time pass between two things whose distance is what is tested.
func pass(d time.Duration) { <-time.After(d) }
