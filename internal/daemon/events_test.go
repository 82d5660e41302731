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
	"github.com/stoker-init/stoker/internal/lifecycle"
	"github.com/stoker-init/stoker/supervisor"
	"github.com/stoker-init/stoker/supervisor/incident"
)

// forgetful is a bag that keeps nothing.
type forgetful struct{}

func (forgetful) Put(string, []byte, ...int) error { return nil }

// testdata/events.json is also what the test of stoker events prints.
func TestEventsAreAppended(t *testing.T) {
	j := &journal{events.Resume(forgetful{}, nil, nil, true, func(text string) { t.Error(text) })}
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.FixedZone("", 3600))
	moment := func(stage supervisor.Stage, m supervisor.Moment) {
		m.Stage, m.Service, m.Round, m.At = stage, "web", 2, at
		j.moment(m)
	}
	j.moment(supervisor.Moment{Stage: supervisor.StageInit, At: at})
	moment(supervisor.StagePreStart, supervisor.Moment{})
	moment(supervisor.StageStarted, supervisor.Moment{Pid: 42})
	moment(supervisor.StageExited, supervisor.Moment{Pid: 42, Exit: &incident.Exit{Code: -1, Signal: syscall.SIGKILL}, OOM: true, Reason: "was too\nlarge \x1b[31m"})
	moment(supervisor.StageStopped, supervisor.Moment{Pid: 42, Exit: &incident.Exit{Code: 0}})
	j.moment(supervisor.Moment{Stage: supervisor.StageExited, Service: "code", Pid: 43, Exit: &incident.Exit{Code: 7}, Reason: "exit code 7: no port", At: at})
	j.moment(supervisor.Moment{Stage: supervisor.StageExited, Service: "signal", Pid: 44,
		Exit: &incident.Exit{Signal: syscall.SIGSEGV}, Reason: "killed by signal 11 (SEGV)", At: at})
	j.moment(supervisor.Moment{Stage: supervisor.StageStartFailed, Service: "none", Exit: &incident.Exit{Code: 126, NotStarted: true}, Reason: "cannot execute /x", At: at})
	j.moment(supervisor.Moment{Stage: supervisor.StageExit, Exit: &incident.Exit{Code: 7}, At: at})
	moment(supervisor.StageStopped, supervisor.Moment{Exit: &incident.Exit{Code: 0}, Reason: "told again"})
	o := lifecycle.Occurrence{Event: lifecycle.Ready, Service: "web", Start: 2, At: at}
	j.hooks(o, []hooks.Outcome{
		{Hook: "tell", OK: true, Tries: 1, Took: 12345 * time.Microsecond},
		{Hook: "tell", Plugin: "p", Tries: 3, Took: 2 * time.Second, Why: "exit code 7: no"},
		{Hook: "late", Why: "a stop came first"},
	})
	j.hooks(o, []hooks.Outcome{{Hook: "tell", OK: true, Tries: 1, Took: time.Hour}})
	j.plugin("jacoco", "failed", "Address already in use")
	j.plugin("jacoco", "active", "")
	j.reloaded("SIGHUP", api.Reloaded{}, nil)
	j.reloaded("SIGHUP", api.Reloaded{Changes: []string{"add a", "restart b"}}, nil)
	j.reloaded("SIGHUP", api.Reloaded{}, errors.New("cannot accept it"))
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
