package kube_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// TestCleanProcess checks what a session's process has: its own session, no foreign descriptors, no blocked or ignored signals, no secrets.
func TestCleanProcess(t *testing.T) {
	t.Parallel()
	b := newBox(t, boxOptions{})
	for _, tty := range []bool{false, true} {
		r := b.exec(within(t), call{tty: tty}, "sh", "-c", `ls /proc/$$/fd; grep -E '^Sig(Blk|Ign)|^NoNewPrivs|^CapEff' /proc/$$/status |
			tr -d '\n\t'; echo; id -un; [ "$(cut -d' ' -f6 /proc/$$/stat)" = $$ ] && echo leader; env | grep -ciE 'token|secret|stoker.yaml'
			[ "$(cat /proc/$$/oom_score_adj)" -gt "$(cat /proc/$(pgrep -o -x sleep)/oom_score_adj)" ] && echo killed before services`)
		got := strings.ReplaceAll(r.stdout.String(), "\r\n", "\n")
		fds, rest, _ := strings.Cut(got, "SigBlk:")
		if fds = strings.Join(strings.Fields(fds), " "); fds != "0 1 2" && fds != "0 1 10 2" { // a shell with a terminal has one for it
			t.Errorf("terminal %v: descriptors %q", tty, fds)
		}
		if !strings.HasPrefix(rest, "0000000000000000SigIgn:0000000000000000CapEff:0000000000000000") || !strings.Contains(rest, "\nnobody\nleader\n0\nkilled before services\n") {
			t.Errorf("terminal %v: %q, %v", tty, got, r.err)
		}
	}
}

// TestAudit checks the two lines of a session: who, what, and the ID that a Kubernetes API server has for it.
func TestAudit(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		o  boxOptions
		by string
	}{"token": {boxOptions{}, "token ops"}, "certificate": {boxOptions{mtls: true}, "certificate agent-7"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBox(t, c.o)
			b.exec(within(t), call{env: []string{"KUBERNETES_EXEC_AUDIT_ID=id-4711"}}, "sh", "-c", "echo out; exit 7 # \x1b]0;x\a").
				check(t, 7, "out\n", "")
			line := `"by":"` + c.by + `","address":"127\.0\.0\.1:\d+","grants":\["view","exec"\],` +
				`"argv":\["sh","-c","echo out; exit 7 # \\u001b\]0;x\\u0007"\],"context":"app","user":"nobody","tty":false,`
			for event, more := range map[string]string{
				"start": `"bytes_in":0,"bytes_out":0,"audit_id":"id-4711"}`,
				"end":   `"pid":\d+,"exit":{"code":7},"seconds":[0-9.]+,"bytes_in":0,"bytes_out":4,"audit_id":"id-4711"}`,
			} {
				want := regexp.MustCompile(`audit {"time":"[^"]+","event":"` + event + `","session":"\w+",` + line + more)
				poll(t, want.String(), func() bool { return len(want.FindAllString(b.log.String(), -1)) == 1 })
			}
		})
	}
}

// TestLimits checks what is told when there are too many sessions, and that the places of those that have ended are free.
func TestLimits(t *testing.T) {
	t.Parallel()
	b := newBox(t, boxOptions{console: "sessions: 4, sessions_per_client: 2"})
	for range 3 {
		ctx, leave := context.WithCancel(t.Context())
		done := make(chan struct{})
		for range 2 {
			s := &screen{}
			go func() { // ends with ctx
				b.exec(ctx, call{stdout: s}, "sh", "-c", "echo ready; exec sleep 1000")
				done <- struct{}{}
			}()
			s.await(t, "ready")
		}
		if cause := b.refusal(t, token, ""); !apierrors.IsTooManyRequests(cause) {
			t.Errorf("%T: %v", cause, cause)
		}
		leave()
		<-done
		<-done
		pollFor(t, 5*time.Second, "the sessions end", b.idle)
		b.exec(within(t), call{}, "echo", "well").check(t, 0, "well\n", "")
	}
}

// TestStop stops the container with sessions that do not want to end: it ends in time, and no client takes that for a success.
func TestStop(t *testing.T) {
	t.Parallel()
	b := newBox(t, boxOptions{})
	const count = 6
	results := make(chan *result, count)
	for k := range count {
		s := &screen{}
		go func() { // ends with the container
			results <- b.exec(within(t), call{tty: k%2 == 0, stdout: s}, "sh", "-c", "trap '' HUP TERM INT; echo ready; while :; do sleep 1; done")
		}()
		s.await(t, "ready")
	}
	began := time.Now()
	if err := syscall.Kill(b.init, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for range count {
		if r := <-results; r.err == nil && r.code == 0 {
			t.Errorf("a session that was killed has succeeded")
		}
	}
	poll(t, "PID 1 ends", func() bool {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", b.init))
		return err != nil || bytes.Contains(text, []byte(") Z "))
	})
	if took := time.Since(began); took > 8*time.Second {
		t.Errorf("the container took %v to stop", took)
	}
}

// TestPostStuck leaves while the process does not read what is posted. All that was sent has arrived: else the server cannot know.
func TestPostStuck(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]boxOptions{"tcp": {}, "tls": {tls: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBox(t, o)
			ctx, leave := context.WithCancel(t.Context())
			defer leave()
			more, _ := io.Pipe()
			defer more.Close()
			answer, err := b.post(ctx, io.MultiReader(noise(150<<10), more), url.Values{"command": {"sh", "-c", "echo ready; exec sleep 1000"}})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(answer.Body, make([]byte, 6)); err != nil || answer.StatusCode != http.StatusOK {
				t.Fatal(answer.Status, err)
			}
			leave()
			pollFor(t, 10*time.Second, "the process ends", b.idle)
		})
	}
}
