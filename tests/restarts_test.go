//go:build container

package tests

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The delay before each restart, measured by the service: it doubles up to its maximum, and after
// the start limit the slow retry applies, also if the supervisor is killed.
func TestBackoffSeries(t *testing.T) {
	t.Parallel()
	for name, kill := range map[string]bool{"alone": false, "supervisor killed": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			b := newBox(t, boxOptions{dir: dir, config: `
services:
  clock: {command: [bash, -c, 'while echo $EPOCHREALTIME >>` + dir + `/clock; do sleep 0.1; done']}
  failing:
    command: [bash, -c, 'echo $EPOCHREALTIME >>` + dir + `/starts; exit 1']
    restart: {backoff: {first: 100ms, factor: 2, max: 800ms, jitter: 0}, limit: {starts: 6, within: 10m, retry_every: 1500ms}}
`})
			const starts = 9
			takeover := time.Duration(0)
			for n := 1; kill && n < starts; n++ {
				await(t, 10*time.Second, "the next start", func() bool { return len(b.lines("starts")) >= n })
				from := time.Now()
				b.killSupervisor()
				takeover = max(takeover, time.Since(from))
			}
			await(t, 20*time.Second, "all starts", func() bool { return len(b.lines("starts")) >= starts })
			if st := b.state("failing"); st != "FATAL" && st != "STARTING" && st != "RUNNING" {
				t.Errorf("past its limit it is %s", st)
			}
			at := b.stamps("starts")
			wants := []time.Duration{100, 200, 400, 800, 800, 800, 1500, 1500}
			ticks, slow := b.stamps("clock"), time.Duration(0)
			for k := range len(ticks) - 1 { // how late the machine is when a process starts another and waits
				slow = max(slow, ticks[k+1].Sub(ticks[k])-100*time.Millisecond)
			}
			t.Logf("the machine is up to %v late, a takeover took up to %v", slow, takeover)
			late := 200*time.Millisecond + 4*slow + takeover
			for k, want := range wants {
				want *= time.Millisecond
				gap, least, most := at[k+1].Sub(at[k]), want-2*time.Millisecond, want+late
				if want > time.Second { // +-20 %
					least, most = want*8/10, want*12/10+late
				}
				t.Logf("gap %d: %v, want %v", k+1, gap, want)
				if gap < least || gap > most {
					t.Errorf("gap %d is %v, want %v to %v", k+1, gap, least, most)
				}
			}
		})
	}
}

// The executable is removed and restored: the service recovers at any time of the back-off.
func TestExecutableVanishes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	program, away := filepath.Join(dir, "program"), filepath.Join(dir, "away")
	copyProgram(t, "sleep", program)
	b := newBox(t, boxOptions{dir: dir, config: fmt.Sprintf(`
services:
  service: {command: [%s, "98431"], restart: {backoff: {first: 20ms, factor: 1, max: 20ms}, limit: {starts: 100000}}}
  limited: {command: [%[1]s, "98432"], restart: {backoff: {first: 20ms, factor: 1, max: 20ms}, limit: {starts: 2, retry_every: 500ms}}}
`, program)})
	vanish := func(how func(), back func()) {
		t.Helper()
		one, two := b.awaitInside(program+" 98431", 1)[0], b.awaitInside(program+" 98432", 1)[0]
		how()
		syscall.Kill(one.pid, syscall.SIGKILL)
		syscall.Kill(two.pid, syscall.SIGKILL)
		for name, state := range map[string]string{"service": "BACKOFF", "limited": "FATAL"} {
			await(t, 5*time.Second, "a reason that names the program of "+name, func() bool {
				svc, _ := newAPIClient(b.socket).service(name)
				return svc.State == state && strings.Contains(svc.Reason, program)
			})
		}
		back()
		b.awaitState("service", "RUNNING", 2*time.Second)
		b.awaitState("limited", "RUNNING", 3*time.Second)
	}
	move := func(from, to string) func() {
		return func() {
			if err := os.Rename(from, to); err != nil {
				t.Fatal(err)
			}
		}
	}
	mode := func(mode os.FileMode) func() {
		return func() {
			if err := os.Chmod(program, mode); err != nil {
				t.Fatal(err)
			}
		}
	}
	vanish(move(program, away), move(away, program))
	vanish(mode(0o644), mode(0o755))
	b.timed("stop", "service")
	b.timed("stop", "limited")
}

// copyProgram copies a program of this machine.
func copyProgram(t testing.TB, name, to string) {
	t.Helper()
	from, err := exec.LookPath(name)
	if err == nil {
		from, err = filepath.EvalSymlinks(from)
	}
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	write(t, to, string(data), 0o755)
}

// For a while no process can be created for the service's user: the service recovers.
func TestForkFails(t *testing.T) {
	t.Parallel()
	const uid = 64123 // unused, so that no other process counts
	filler := exec.Command("sleep", "1000")
	filler.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	b := newBox(t, boxOptions{config: fmt.Sprintf(`
services:
  service: {command: [sleep, "98431"], user: "%d:%[1]d", restart: {backoff: {first: 20ms, factor: 1, max: 20ms}, limit: {starts: 100000}}}
`, uid)})
	victim := b.awaitInside("sleep 98431", 1)[0].pid
	if err := filler.Start(); err != nil {
		t.Fatal(err)
	}
	free := sync.OnceFunc(func() { filler.Process.Kill(); filler.Wait() }) // a zombie counts
	defer free()
	// The kernel counts the processes of the user before it adds the new one.
	if out, err := exec.Command("prlimit", "--pid", fmt.Sprint(b.supervisor()), "--nproc=0:0").CombinedOutput(); err != nil {
		t.Fatalf("cannot limit: %v: %s", err, out)
	}
	syscall.Kill(victim, syscall.SIGKILL)
	await(t, 5*time.Second, "the refusal", func() bool {
		svc, _ := newAPIClient(b.socket).service("service")
		return svc.State == "BACKOFF" && strings.Contains(svc.Reason, "temporarily unavailable")
	})
	free()
	b.awaitState("service", "RUNNING", 2*time.Second)
}
