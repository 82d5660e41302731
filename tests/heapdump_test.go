//go:build container

package tests

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// heapDumps returns the heap dumps in the shared folder, recognized by their content.
func (p *plugged) heapDumps() (out []string) {
	p.t.Helper()
	paths, _ := filepath.Glob(filepath.Join(p.shared, "dumps", "*.hprof"))
	for _, path := range paths {
		data := make([]byte, 13)
		f, err := os.Open(path)
		if err != nil {
			p.t.Fatal(err)
		}
		f.Read(data)
		f.Close()
		if string(data[:12]) == "JAVA PROFILE" {
			out = append(out, path)
		}
	}
	return out
}

// TestHeapDump: a full heap leaves a dump if there is space for one. Otherwise the JVM starts
// without the option and an event says so.
func TestHeapDump(t *testing.T) {
	t.Parallel()
	page, err := filepath.Abs("testdata/oom.jsp")
	if err != nil {
		t.Fatal(err)
	}
	p := newPlugged(t, "heapdump", nil, "-v", page+":/srv/app/webapps/app/oom.jsp:ro", "--tmpfs=/small:size=20m,mode=1777")
	p.enable("dir=/shared/dumps", "user=app", "keep=1")
	p.must("stoker", "restart", "tomcat") // it was active before, with another folder
	p.ready()
	wantOption := func(want bool) {
		t.Helper()
		if got := slices.Contains(p.jvm(), "-XX:+HeapDumpOnOutOfMemoryError"); got != want {
			t.Errorf("the JVM dumps its heap: %v, want %v: %q", got, want, p.jvm())
		}
	}
	wantOption(true)
	p.request("/app/index.jsp")

	// An end within ten seconds of the start may have another cause.
	pass(11 * time.Second)
	from := p.last()
	exec.Command("docker", "exec", p.id, "perl", "-MIO::Socket::INET", "-e",
		// there is no answer
		`$s = IO::Socket::INET->new("127.0.0.1:8080") or die $!; print $s "GET /app/oom.jsp HTTP/1.0\r\n\r\n"; 1 while <$s>`).Run()
	if !eventually(2*time.Minute, 200*time.Millisecond, func() bool {
		return slices.ContainsFunc(p.events(from), func(e event) bool { return e.Kind == "ready" })
	}) {
		t.Fatal("Tomcat is not back")
	}
	dumps := p.heapDumps()
	if len(dumps) != 1 {
		t.Fatalf("the heap dumps are %q", dumps)
	}
	if list := p.must("stoker", "incidents"); !strings.Contains(list, "jvm-out-of-memory") {
		t.Errorf("the incidents are\n%s", list)
	}
	p.wantState("active")

	p.must("stoker", "plugin", "run", "heapdump", "now")
	if dumps = p.heapDumps(); len(dumps) != 2 {
		t.Errorf("after one by hand the heap dumps are %q", dumps)
	}
	p.must("stoker", "restart", "tomcat")
	p.ready()
	if left := p.heapDumps(); len(left) != 1 || left[0] != dumps[len(dumps)-1] {
		t.Errorf("of %q are kept %q", dumps, left)
	}

	p.enable("dir=/small")
	p.must("stoker", "restart", "tomcat")
	p.ready()
	wantOption(false)
	events := p.events(0)
	hook := slices.IndexFunc(events, func(e event) bool {
		return e.Hook != nil && strings.HasPrefix(e.Hook.Annotations["heapdump"], "off: /small has ")
	})
	if hook < 0 {
		t.Errorf("no event says that there is no room: %+v", events)
	}
}
