//go:build container

package tests

import (
	"strings"
	"testing"
	"time"
)

// brokenImage is an image whose Tomcat cannot start.
type brokenImage struct {
	name   string
	says   []string // what `stoker status` must show of a failed start: cause, file, line
	repair []string // a command inside
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

// A Tomcat that cannot start leaves the container up; who sees nothing but
// `stoker status` knows what to mend, and `start` after the repair works.
func TestBrokenImages(t *testing.T) {
	for _, image := range brokenImages() {
		t.Run(image.name, func(t *testing.T) {
			needsImage(t, "stoker-"+image.name)
			c := newContainer(t, "--memory", "1g", "stoker-"+image.name)
			text := ""
			told := eventually(90*time.Second, 250*time.Millisecond, func() bool {
				text, _ = c.exec("stoker", "status", "tomcat")
				return !strings.Contains(text, "STARTING") && containsAll(text, image.says)
			})
			t.Logf("stoker status:\n%s", text)
			if !told {
				t.Errorf("the status does not name all of %q", image.says)
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
		})
	}
}

// staysUp says that PID 1 lives on with a Tomcat that never counts as running.
func (c *container) staysUp() {
	c.t.Helper()
	if !holds(2*time.Second, func() bool { return c.state("tomcat") != "RUNNING" }) {
		c.t.Error("a Tomcat that cannot start counts as RUNNING")
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
