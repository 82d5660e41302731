package daemon

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stoker-init/stoker/hooks"
	"github.com/stoker-init/stoker/internal/api"
	"github.com/stoker-init/stoker/internal/events"
	"github.com/stoker-init/stoker/internal/fdstore"
	"github.com/stoker-init/stoker/internal/lifecycle"
)

// noStore is an fd store that keeps nothing.
type noStore struct{}

func (noStore) PutFile(string, []byte, syscall.Conn) error { return nil }

// testdata/events.json is also what the test of stoker events prints.
func TestEventsAreAppended(t *testing.T) {
	j := &journal{events.Resume(noStore{}, fdstore.Items{}, true, func(text string) { t.Error(text) })}
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.FixedZone("", 3600))
	code := func(n int) *int { return &n }
	occurred := func(event lifecycle.Event, m lifecycle.Occurrence) {
		m.Event, m.Service, m.Start, m.At = event, "web", 2, at
		j.occurred(m)
	}
	j.occurred(lifecycle.Occurrence{Event: lifecycle.Init, At: at})
	occurred(lifecycle.PreStart, lifecycle.Occurrence{})
	occurred(lifecycle.Started, lifecycle.Occurrence{Pid: 42})
	occurred(lifecycle.Exited, lifecycle.Occurrence{Pid: 42, Signal: "KILL", OOM: true, Reason: "was too\nlarge \x1b[31m"})
	occurred(lifecycle.Stopped, lifecycle.Occurrence{Pid: 42, ExitCode: code(0)})
	j.occurred(lifecycle.Occurrence{Event: lifecycle.Exited, Service: "code", Pid: 43, ExitCode: code(7), Reason: "exit code 7: no port",
		At: at})
	j.occurred(lifecycle.Occurrence{Event: lifecycle.Exited, Service: "signal", Pid: 44,
		Signal: "SEGV", Reason: "killed by signal 11 (SEGV)", At: at})
	j.occurred(lifecycle.Occurrence{Event: lifecycle.StartFailed, Service: "none", ExitCode: code(126), Reason: "cannot execute /x", At: at})
	j.occurred(lifecycle.Occurrence{Event: lifecycle.Exit, ExitCode: code(7), At: at})
	occurred(lifecycle.Stopped, lifecycle.Occurrence{ExitCode: code(0), Reason: "repeated"})
	o := lifecycle.Occurrence{Event: lifecycle.Ready, Service: "web", Start: 2, At: at}
	j.hooks(o, []hooks.Outcome{
		{Hook: "tell", OK: true, Tries: 1, Took: 12345 * time.Microsecond},
		{Hook: "tell", Plugin: "p", Tries: 3, Took: 2 * time.Second, Why: "exit code 7: no"},
		{Hook: "late", Why: "a stop came first"},
	})
	j.hooks(o, []hooks.Outcome{{Hook: "tell", OK: true, Tries: 1, Took: time.Hour}})
	j.plugin("jacoco", "failed", "Address already in use")
	j.plugin("jacoco", "active", "")
	j.reloaded("SIGHUP", api.ReloadResult{}, nil)
	j.reloaded("SIGHUP", api.ReloadResult{Changes: []string{"add a", "restart b"}}, nil)
	j.reloaded("SIGHUP", api.ReloadResult{}, errors.New("cannot accept it"))
	j.stopping("a stop was asked for", 7999*time.Millisecond)

	var out strings.Builder
	for _, e := range j.events.Since(0, events.Filter{}) {
		e.Time, e.ID = at, 0
		data, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(append(data, '\n'))
	}
	golden, err := os.ReadFile("testdata/events.json")
	if err != nil {
		t.Fatal(err)
	}
	if out.String() != string(golden) {
		t.Errorf("they are\n%s\nwant\n%s", out.String(), golden)
	}
}
