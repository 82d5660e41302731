//go:build container

package tests

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// inside returns the pids of the box's live processes whose command line, joined by spaces, begins
// with prefix.
func (b *box) inside(text string) []process {
	own, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", b.init))
	if err != nil {
		return nil // the namespace has ended
	}
	var out []process
	all, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range all {
		data, _ := os.ReadFile(path)
		if !strings.HasPrefix(string(bytes.ReplaceAll(data, []byte{0}, []byte{' '})), text) {
			continue
		}
		dir := filepath.Dir(path)
		if ns, err := os.Readlink(dir + "/ns/pid"); err != nil || ns != own {
			continue
		}
		pid, _ := strconv.Atoi(filepath.Base(dir))
		if p, ok := look(pid); ok && p.state != 'Z' {
			out = append(out, p)
		}
	}
	return out
}

// awaitInside waits for a number of such processes.
func (b *box) awaitInside(text string, n int) []process {
	b.t.Helper()
	var found []process
	if !eventually(10*time.Second, 10*time.Millisecond, func() bool { found = b.inside(text); return len(found) == n }) {
		b.t.Fatalf("%d processes %q within 10 s, not %d", len(found), text, n)
	}
	return found
}

// seenInside returns the pid of a process in the PID namespace of the box.
func seenInside(t testing.TB, pid int) int {
	t.Helper()
	f := strings.Fields(statusLine(pid, "NSpid:"))
	if len(f) == 0 {
		t.Fatalf("cannot read the inner pid of %d", pid)
	}
	n, err := strconv.Atoi(f[len(f)-1])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// statusLine returns a line of /proc/PID/status, proc(5); empty: no such line.
func statusLine(pid int, key string) string {
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for _, line := range strings.Split(string(data), "\n") {
		if rest, ok := strings.CutPrefix(line, key); ok {
			return strings.TrimSpace(rest)
		}
	}
	return ""
}

// within runs a command in the box's namespaces.
func (b *box) within(command ...string) (string, error) {
	args := append([]string{"-t", strconv.Itoa(b.init), "-p", "-m"}, command...)
	out, err := exec.Command("nsenter", args...).CombinedOutput()
	return string(out), err
}

// timed runs a stoker command that must succeed and returns how long it took.
func (b *box) timed(args ...string) time.Duration {
	b.t.Helper()
	from := time.Now()
	out, err := b.run(args...)
	took := time.Since(from)
	if err != nil {
		b.t.Fatalf("stoker %s fails after %v: %v: %s", strings.Join(args, " "), took, err, out)
	}
	return took
}

// killSupervisor kills the supervisor and waits until the next one answers.
func (b *box) killSupervisor() {
	b.t.Helper()
	old := 0
	await(b.t, 10*time.Second, "a supervisor", func() bool { old = b.supervisor(); return old != 0 })
	if p, err := os.FindProcess(old); err == nil {
		p.Kill()
	}
	await(b.t, 10*time.Second, "another supervisor", func() bool {
		now := b.supervisor()
		_, answers := b.status()
		return now != 0 && now != old && answers
	})
}

// stamps returns the times in a file, one a line in seconds, as bash's EPOCHREALTIME prints them.
func (b *box) stamps(name string) []time.Time {
	b.t.Helper()
	var out []time.Time
	for _, line := range b.lines(name) {
		out = append(out, stamp(b.t, line))
	}
	return out
}

func stamp(t testing.TB, text string) time.Time {
	t.Helper()
	s, err := strconv.ParseFloat(text, 64)
	if err != nil {
		t.Fatalf("%q is no time", text)
	}
	return time.UnixMicro(int64(s * 1e6))
}

// command sends POST /v1/services/{name}/{verb}.
func (c *apiClient) command(name, verb string) error {
	resp, err := c.http.Post("http://stoker/v1/services/"+name+"/"+verb, "", nil)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s: %s: %s", verb, name, resp.Status, body)
	}
	return err
}
