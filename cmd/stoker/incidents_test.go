package main

import (
	"bytes"
	"encoding/json"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stoker-init/stoker/internal/api"
	"github.com/stoker-init/stoker/internal/printable"
	"github.com/stoker-init/stoker/supervisor/incident"
)

// shown are examples of incidents.
func shown() map[string]incident.Incident {
	return map[string]incident.Incident{
		"everything": {Summary: incident.Summary{Number: 7, Service: "web", Kind: "tomcat", At: *at(-3 * time.Minute), Cause: incident.CauseJVMCrash,
			Reason: "fatal error in the JVM: SIGSEGV (0xb) at pc=0x1, in C [libc.so.6+0x85f14]", Start: 4, Pid: 123, Ran: 182 * time.Second},
			Exit:            &incident.Exit{Code: -1, Signal: 6, Core: true},
			StopRequestedBy: "uid 0 by the API",
			Notes:           []string{"first note", "second\nnote"},
			Output:          []byte("last \x1b[2J\x07words\n\u202eüber\xff\n\n"),
			ThreadDump:      []byte("Full thread dump\n\n\"main\" #1\n"),
			Files: []incident.File{{Kind: incident.FileHsErr, Path: "/srv/hs_err_pid123.log", Size: 46217, ModTime: *at(-3 * time.Minute),
				Excerpt: []byte("#\n# A fatal error\n")},
				{Kind: incident.FileCore, Path: "/srv/co\nre", Size: 1 << 30, ModTime: *at(-3 * time.Minute)}},
			Options: []string{"java", "-Xmx1g", "-Dp=***", "100%"},
			Limits:  json.RawMessage("{\n \"effective_cpus\": 2}")},
		"least": {Summary: incident.Summary{Number: 1, Service: "job", At: *at(0), Cause: incident.CauseNotStarted,
			Reason: "cannot execute /x: no such file or directory", Start: 1},
			Exit: &incident.Exit{Code: 127, NotStarted: true}},
		"unseen": {Summary: incident.Summary{Number: 2, Service: "job", At: *at(-48 * time.Hour), Cause: incident.CauseUnseen,
			Reason: "it was not seen", Start: 1, Pid: 5}},
	}
}

func TestIncidentForPeople(t *testing.T) {
	for name, i := range shown() {
		var b bytes.Buffer
		if _, err := io.WriteString(printable.NewWriter(&b), incidentText(i, now(), 0)); err != nil {
			t.Fatal(err)
		}
		if k := slices.IndexFunc(b.Bytes(), func(c byte) bool { return c < ' ' && c != '\n' && c != '\t' }); k >= 0 {
			t.Errorf("%s: a control character: %q", name, b.Bytes()[k:])
		}
		golden(t, "incidents/"+name+".golden", b.Bytes())
	}
}

func TestIncidentsForPeople(t *testing.T) {
	var list []incident.Summary
	for _, name := range []string{"everything", "unseen", "least"} {
		i := shown()[name]
		list = append(list, i.Summary)
	}
	list = append(list, incident.Summary{Number: 10, Service: "a\tb", Cause: "x", At: now(),
		Reason: "two\nlines \x1b[m" + strings.Repeat("é", 200)})
	golden(t, "incidents/list.golden", []byte(incidentsText(api.IncidentList{Incidents: list}, 0)))
	if text := incidentsText(api.IncidentList{}, 0); text != "No service has failed or died.\n" {
		t.Errorf("%q", text)
	}
}

// TestAdvice: every cause has advice for the operator.
func TestAdvice(t *testing.T) {
	for _, c := range []incident.Cause{incident.CauseNotStarted, incident.CauseExit, incident.CauseSignal, incident.CauseCore,
		incident.CauseOOMKill,
		incident.CauseJVMMemory, incident.CauseJVMCrash, incident.CauseStartTimeout, incident.CauseFailedStart, incident.CauseUnhealthy,
		incident.CauseStopTimeout, incident.CauseUnseen} {
		if advice[c] == "" {
			t.Errorf("%s has no advice", c)
		}
	}
}
