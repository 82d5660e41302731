//go:build container

package tests

import (
	"testing"
	"time"
)

// pressureTime is the limit for filling one region. A busy machine takes long.
const pressureTime = 3 * time.Minute

// A JVM sized by stoker is never OOM-killed, whichever regions are filled: memory runs out inside
// the JVM, which exits and is restarted. With 80 % as heap the same load gets containers up to 2g
// OOM-killed, and without any option one of 512m. Not parallel to other tests, because it uses all
// CPUs. STOKER_LOAD=long fills every region separately.
func TestJVMUnderPressure(t *testing.T) {
	// Two containers at a time, each can use both CPUs.
	t.Run("sized", func(t *testing.T) {
		t.Parallel()
		for _, memory := range []string{"512m", "1g", "2g", "4g"} {
			t.Run(memory, func(t *testing.T) { testSized(t, memory, "") })
		}
	})
	t.Run("naive", func(t *testing.T) {
		t.Parallel()
		for _, memory := range []string{"512m", "1g", "2g"} {
			t.Run(memory, func(t *testing.T) { testNaive(t, memory, naiveOptions(memory)) })
		}
		t.Run("512m without options", func(t *testing.T) { testNaive(t, "512m", "") })
		// A collector that the user has chosen.
		memories := []string{"1g"}
		if longLoad() {
			memories = []string{"512m", "1g", "2g", "4g"}
		}
		for _, memory := range memories {
			t.Run(memory+" ZGC", func(t *testing.T) { testSized(t, memory, "-XX:+UseZGC") })
		}
	})
}

func testNaive(t *testing.T, memory, options string) {
	p := newNaive(t, memory, options)
	p.press("fill.jsp?what=all", pressureTime, func(*load) bool { return !p.alive() })
	if p.alive() || p.inspect("{{.State.OOMKilled}}") != "true" {
		t.Errorf("the naive JVM is not OOM-killed: the load is no test (alive %v)", p.alive())
	}
}

func testSized(t *testing.T, memory, options string) {
	p := newSized(t, memory, options)
	if options == "" && (memory == "512m" || memory == "2g") || longLoad() { // one with each collector
		p.fillStacks()
		p.fillDirect()
		p.runOut("metaspace")
		p.runOut("heap")
	}
	if longLoad() {
		p.runOut("mixed")
	}
	p.runOut("all")
	if options == "" && memory == "512m" || longLoad() {
		p.runOutOften()
	}
	t.Logf("%s: at most %s were in use", memory, p.peak())
}

// fillStacks uses the stacks of all of the connector's threads, which must not end the JVM.
func (p *pressed) fillStacks() {
	p.t.Helper()
	before, _ := p.tomcat()
	if !p.press("fill.jsp?what=stacks", pressureTime, func(l *load) bool { return l.answered.Load() >= 2*pressureClients }) {
		p.t.Fatal("the pages that fill stacks do not answer")
	}
	p.wantNoKill("stacks")
	if now, _ := p.tomcat(); now.State != "RUNNING" || now.Pid != before.Pid {
		p.t.Errorf("full stacks have ended Tomcat: it was pid %d, it is %+v", before.Pid, now)
	}
}

// fillDirect allocates direct buffers until there are no more. The page catches the error, so the
// JVM goes on.
func (p *pressed) fillDirect() {
	p.t.Helper()
	if !p.press("fill.jsp?what=direct", pressureTime, func(l *load) bool { return l.exhausted.Load() > 0 }) {
		p.t.Fatal("direct buffers do not run out")
	}
	p.wantNoKill("direct buffers")
	p.awaitState("tomcat", "RUNNING", time.Minute)
}

// runOut fills a region until the JVM exits, and waits until it is RUNNING again.
func (p *pressed) runOut(what string) {
	p.t.Helper()
	before, _ := p.tomcat()
	ended := func(*load) bool {
		now, ok := p.tomcat()
		return now.Restarts > before.Restarts || now.State == "FATAL" || !ok && !p.alive()
	}
	if !p.press("fill.jsp?what="+what, pressureTime, ended) {
		now, _ := p.tomcat()
		p.t.Fatalf("%s does not run out: %+v", what, now)
	}
	p.wantNoKill(what)
	p.awaitState("tomcat", "RUNNING", 2*time.Minute)
}

// runOutOften causes more exits than the start limit (5). The application works in between, so the
// service must not become FATAL.
func (p *pressed) runOutOften() {
	p.t.Helper()
	for now, _ := p.tomcat(); now.Restarts <= 5; now, _ = p.tomcat() {
		p.runOut("heap")
	}
}
