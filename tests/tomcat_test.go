//go:build container

package tests

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stoker-init/stoker/internal/freeport"
)

// tomcatBase is a real Tomcat of this machine with a new CATALINA_BASE, for tests without Docker.
type tomcatBase struct {
	home, base string
	port       int
}

func newTomcatBase(t testing.TB, dir string) tomcatBase {
	t.Helper()
	homes, _ := filepath.Glob("/usr/share/tomcat[0-9]*/skel")
	if _, err := exec.LookPath("java"); err != nil || len(homes) == 0 {
		lacking(t, "this machine has no Tomcat of its distribution, or no JVM")
	}
	tc := tomcatBase{filepath.Dir(homes[len(homes)-1]), filepath.Join(dir, "base"), freeport.For(t)}
	for _, cmd := range [][]string{
		{"sh", "../scripts/base.sh", tc.home, tc.base},
		{"cp", "-r", "../testdata/webapp", tc.base + "/webapps/app"},
		{"sed", "-i", fmt.Sprintf(`s/port="8080"/port="%d"/`, tc.port), tc.base + "/conf/server.xml"},
	} {
		if out, err := exec.Command(cmd[0], cmd[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("cannot make a CATALINA_BASE: %q: %v: %s", cmd, err, out)
		}
	}
	return tc
}

func (tc tomcatBase) url() string { return fmt.Sprintf("http://127.0.0.1:%d/app/health", tc.port) }

// config returns the service's section of stoker.yaml, not indented.
func (tc tomcatBase) config() string {
	return fmt.Sprintf(`
  tomcat:
    kind: tomcat
    tomcat: {home: %s, base: %s}
    ready: {http: "%s", within: 120s}
    stop: {timeout: 6s}
`, tc.home, tc.base, tc.url())
}

// script writes a Perl program to dir.
func script(t testing.TB, dir, name, text string) string {
	t.Helper()
	if _, err := exec.LookPath("perl"); err != nil {
		lacking(t, "perl is missing")
	}
	path := filepath.Join(dir, name)
	write(t, path, "#!/usr/bin/perl\nuse strict; use warnings;\n"+strings.ReplaceAll(text, "DIR", dir), 0o755)
	return path
}

// javas counts the live JVMs among the children of a box's PID 1.
func (b *box) javas() []int {
	var out []int
	for _, p := range childrenOf(b.init) {
		exe, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", p.pid))
		if p.state != 'Z' && filepath.Base(exe) == "java" {
			out = append(out, p.pid)
		}
	}
	return out
}
