package supervisor

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
)

// permanentError is an error that does not change by itself.
type permanentError struct{ error }

func (permanentError) Lasting() bool { return true }

// logText is a log that the test reads while it is written.
type logText struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

func (l *logText) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logText) String() string { l.mu.Lock(); defer l.mu.Unlock(); return l.text.String() }

// logged has the log of the service, and of those after it, in memory.
func (st *harness) logged() *logText {
	text := new(logText)
	st.log = hclog.New(&hclog.LoggerOptions{Output: text, DisableTime: true})
	st.open()
	return text
}

func TestLastingFailureIsTriedRarely(t *testing.T) {
	withHarness(t, func(st *harness) {
		refused := func(context.Context, int) (*Launch, error) {
			return nil, permanentError{errors.New("cannot use the JVM options: no\nhint: in full")}
		}
		st.l.setPrepare(refused)
		text := st.logged()
		st.ask(EvStart)
		st.sleep(time.Second)
		st.want(Fatal)
		if snap := st.snap(); snap.Next == nil || time.Until(*snap.Next) < 4*time.Minute || snap.Settled {
			t.Errorf("next: %v", snap.Next)
		}
		st.crash() // the next supervisor goes on with it
		st.until(16 * time.Minute)
		if got := strings.Count(text.String(), "hint: in full"); got != 1 {
			t.Errorf("logged in full %d times:\n%s", got, text)
		}
		for _, want := range []string{"service is tried again rarely", `why="what it failed by does not change by itself" next_in=5m0s tries=1`,
			"tries=4"} {
			if !strings.Contains(text.String(), want) {
				t.Errorf("the log lacks %q:\n%s", want, text)
			}
		}
		if got := strings.Count(text.String(), "[ERROR]"); got != 5 {
			t.Errorf("%d lines:\n%s", got, text)
		}
		if st.l.tries() != 4 {
			t.Errorf("%d tries in 16 minutes", st.l.tries())
		}
		st.l.setPrepare(nil)
		st.ask(EvStart) // does not wait, and tells anew
		st.sleep(time.Millisecond)
		st.want(Running)
	})
}

// What may change by itself, such as a file on a mount, keeps the fast back-off.
func TestOtherFailureIsTriedSoon(t *testing.T) {
	withHarness(t, func(st *harness) {
		fails := func(why string) func(context.Context, int) (*Launch, error) {
			return func(context.Context, int) (*Launch, error) { return nil, errors.New(why + "\nhint: in full") }
		}
		st.l.setPrepare(fails("cannot execute /mnt/app: no such file or directory"))
		text := st.logged()
		st.ask(EvStart)
		st.sleep(4 * time.Second)
		if st.l.tries() != 4 {
			t.Errorf("%d tries in 4 s", st.l.tries())
		}
		if got := strings.Count(text.String(), "hint: in full"); got != 1 {
			t.Errorf("logged in full %d times:\n%s", got, text)
		}
		st.l.setPrepare(fails("cannot execute /mnt/app: permission denied"))
		st.sleep(5 * time.Second)
		if got := strings.Count(text.String(), "hint: in full"); got != 2 {
			t.Errorf("another reason: logged in full %d times:\n%s", got, text)
		}
	})
}

func TestLastingFailureObeysThePolicy(t *testing.T) {
	for _, c := range []struct {
		name string
		cfg  func(*Config)
		want State
	}{
		{"never", func(c *Config) { c.Restart.Policy = Never }, Exited},
		{"no retry", func(c *Config) { *c.Restart.Limit.RetryEvery = 0 }, Fatal},
	} {
		t.Run(c.name, func(t *testing.T) {
			withHarness(t, func(st *harness) {
				c.cfg(&st.cfg)
				st.l.setPrepare(func(context.Context, int) (*Launch, error) { return nil, permanentError{errors.New("no")} })
				st.open()
				st.ask(EvStart)
				st.sleep(time.Hour)
				st.want(c.want)
				if st.l.tries() != 1 {
					t.Errorf("%d tries", st.l.tries())
				}
			})
		})
	}
}

// A warning of a start is in the log once, and again when it has changed.
func TestWarningsAreLoggedOnce(t *testing.T) {
	withHarness(t, func(st *harness) {
		warns := func(warning string) func(context.Context, int) (*Launch, error) {
			return func(context.Context, int) (*Launch, error) {
				return &Launch{Notes: []string{"JVM 17"}, Warnings: []string{warning}}, nil
			}
		}
		warning := "the budget is too much by 3347 MiB"
		st.l.setPrepare(warns(warning))
		text := st.logged()
		st.ask(EvStart)
		for range 2 {
			st.ask(EvRestart)
			st.sleep(10 * time.Second)
		}
		if got := strings.Count(text.String(), warning); got != 1 || strings.Contains(text.String(), "JVM 17") {
			t.Errorf("%d times:\n%s", got, text)
		}
		if notes := st.snap().Notes; len(notes) != 2 || notes[1] != warning {
			t.Errorf("notes %q", notes)
		}
		warning = "the budget is too much by 1 MiB"
		st.l.setPrepare(warns(warning))
		st.ask(EvRestart)
		st.sleep(10 * time.Second)
		if !strings.Contains(text.String(), warning) {
			t.Errorf("the new one is not logged:\n%s", text)
		}
	})
}
