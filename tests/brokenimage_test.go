//go:build container

package tests

import (
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// brokenImage is an image whose Tomcat cannot start.
type brokenImage struct {
	name   string
	says   []string // what `stoker status` must show of a failed start: cause, file, line
	repair []string // a command to run in the container
}

func brokenImages() []brokenImage {
	const webxml = "/srv/app/webapps/app/WEB-INF/web.xml"
	mendApplication := []string{"sed", "-i", "/<listener>/,/<.listener>/d", webxml}
	return []brokenImage{
		{"broken-server-xml", []string{"/srv/app/conf/server.xml:9", "Connector"},
			[]string{"sed", "-i", `5s|">|"/>|`, "/srv/app/conf/server.xml"}},
		{"port-taken", []string{"8080", "squatter", "pid"},
			[]string{"stoker", "stop", "squatter"}},
		{"bad-jvm-option", []string{"UseFastestGC", "/srv/app/conf/jvm.options:3"},
			[]string{"sed", "-i", "/UseFastestGC/d", "/srv/app/conf/jvm.options"}},
		{"failing-webapp", []string{"/app", "com.example.MissingListener"},
			mendApplication},
		{"failing-webapp-zh", []string{"/app", "com.example.MissingListener"},
			mendApplication},
		{"missing-jvm", []string{"JVM"},
			[]string{"ln", "-s", "/var/away/jvm", "/usr/lib/jvm"}},
	}
}

// A Tomcat that cannot start leaves the container running. `stoker status` says what to repair,
// and `start` works after the repair, with and without a configured readiness probe.
func TestBrokenImages(t *testing.T) {
	for _, image := range brokenImages() {
		for ready, args := range map[string][]string{"ready.http": nil, "no ready": {"--set", "services.tomcat.ready.http="}} {
			t.Run(image.name+" with "+ready, func(t *testing.T) {
				t.Parallel()
				needsImage(t, "stoker-"+image.name)
				image.test(t, newContainer(t, append([]string{"--memory", "1g", "stoker-" + image.name}, args...)...))
			})
		}
	}
}

func (image brokenImage) test(t *testing.T, c *container) {
	text := ""
	shown := eventually(90*time.Second, 250*time.Millisecond, func() bool {
		text, _ = c.exec("stoker", "status", "tomcat")
		return !strings.Contains(text, "STARTING") && containsAll(text, image.says)
	})
	t.Logf("stoker status:\n%s", text)
	if !shown {
		t.Errorf("the status does not name all of %q", image.says)
	}
	if out, _ := c.exec("stoker", "events", "--service", "tomcat", "--kind", "ready"); strings.Contains(out, "pid") {
		t.Errorf("a Tomcat that cannot start was ready:\n%s", out)
	}
	c.staysUp()
	if out, err := c.exec(image.repair...); err != nil {
		t.Fatalf("cannot repair: %v\n%s", err, out)
	}
	t.Logf("stoker start tomcat: %s", c.must("stoker", "start", "tomcat"))
	c.awaitState("tomcat", "RUNNING", 90*time.Second)
	if !c.alive() {
		t.Error("the container has ended")
	}
}

// If one of two applications fails, the service is RUNNING and degraded.
func TestDegradedImage(t *testing.T) {
	t.Parallel()
	needsImage(t, "stoker-failing-webapp")
	root, err := filepath.Abs("../testdata/webapp")
	if err != nil {
		t.Fatal(err)
	}
	c := newContainer(t, "--memory", "1g", "-v", root+":/srv/app/webapps/ROOT:ro", "stoker-failing-webapp", "--set",
		"services.tomcat.ready.http=")
	c.awaitState("tomcat", "RUNNING", 90*time.Second)
	text := ""
	if !eventually(20*time.Second, 250*time.Millisecond, func() bool {
		text, _ = c.exec("stoker", "status", "tomcat")
		return containsAll(text, []string{"RUNNING", "degraded: application /app failed to start", "com.example.MissingListener"})
	}) {
		t.Errorf("the status does not say what is degraded:\n%s", text)
	}
}

// staysUp checks that the container keeps running and Tomcat is never RUNNING.
func (c *container) staysUp() {
	c.t.Helper()
	if !holds(2*time.Second, func() bool { return c.state("tomcat") != "RUNNING" }) {
		c.t.Error("a Tomcat that cannot start is RUNNING")
	}
	if !c.alive() {
		c.t.Fatal("the container has ended")
	}
}

func containsAll(text string, parts []string) bool {
	for _, part := range parts {
		if !strings.Contains(text, part) {
			return false
		}
	}
	return true
}
