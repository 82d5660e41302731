//go:build container

package tests

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestJMX: JMX listens on one port of one address and requires the password.
func TestJMX(t *testing.T) {
	t.Parallel()
	p := newPlugged(t, "jmx", nil)
	if _, err := exec.LookPath("javac"); err != nil {
		lacking(t, "javac is missing")
	}
	if out, err := exec.Command("javac", "-d", p.shared, "testdata/Jmx.java").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	ask := func(args ...string) string {
		t.Helper()
		out, _ := p.execAs("app", append([]string{"java", "-Xmx32m", "-cp", "/shared", "Jmx"}, args...)...)
		return out
	}

	// Without passwords there is no JMX, and the application runs.
	p.must("stoker", "plugin", "enable", "--set", "password_file=/shared/none", "--set", "user=app", "jmx")
	p.ready()
	p.wantState("failed", "/shared/none", "no such file")
	if p.listens(9010) || slices.ContainsFunc(p.jvm(), func(arg string) bool { return strings.Contains(arg, "jmxremote") }) {
		t.Errorf("it has JMX without a password: %q", p.jvm())
	}

	// As secrets of Kubernetes and Docker: owned by root and readable for all.
	if err := os.WriteFile(filepath.Join(p.shared, "passwords"), []byte("# who\nmonitor s3cret\r\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	from := p.last()
	p.enable("password_file=/shared/passwords", "user=app", "port=9012")
	p.wantState("active")
	p.wantStarts(from, 1)
	for who, want := range map[string]string{"monitor s3cret": "vm ", "monitor wrong": "refused ", "nobody s3cret": "refused ",
		"": "refused "} {
		if got := ask(append([]string{"9012"}, strings.Fields(who)...)...); !strings.HasPrefix(got, want) {
			t.Errorf("%q gets %q, want %q", who, got, want)
		}
	}
	if addr := p.must("cat", "/proc/net/tcp", "/proc/net/tcp6"); !strings.Contains(addr, "0100007F:2334") ||
		strings.Contains(addr, "00000000:2334") {
		t.Errorf("port 9012 is not on loopback alone:\n%s", addr)
	}
	if got := strings.TrimSpace(p.must("sh", "-c", "stat -c '%U %a' /var/lib/stoker/plugins/jmx/jmxremote.password")); got != "app 600" {
		t.Errorf("the passwords are %s", got)
	}
}
