package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/stoker-init/stoker/internal/events"
)

// TestEventsInWords prints the events that the daemon appends.
func TestEventsInWords(t *testing.T) {
	golden, err := os.ReadFile("../../internal/daemon/testdata/events.json")
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	p := newEventPrinter(&out, false, 0)
	for line := range strings.Lines(string(golden)) {
		var e events.Event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		if err := p.print(e); err != nil {
			t.Fatal(err)
		}
	}
	want := `TIME                  KIND           SERVICE       WHAT
2026-01-02T02:04:05Z  init           -
2026-01-02T02:04:05Z  pre-start      web           start 2
2026-01-02T02:04:05Z  started        web           pid 42, start 2
2026-01-02T02:04:05Z  exited         web           pid 42, killed by the kernel: out of memory, start 2: was too large ?[31m
2026-01-02T02:04:05Z  stopped        web           pid 42, exit code 0, start 2
2026-01-02T02:04:05Z  exited         code          pid 43: exit code 7: no port
2026-01-02T02:04:05Z  exited         signal        pid 44: killed by signal 11 (SEGV)
2026-01-02T02:04:05Z  start-failed   none          cannot execute /x
2026-01-02T02:04:05Z  exit           -             exit code 7
2026-01-02T02:04:05Z  hook           web           ready/tell ok after 12ms
2026-01-02T02:04:05Z  hook           web           ready/tell of plugin p failed after 2s and 3 tries: exit code 7: no
2026-01-02T02:04:05Z  hook           web           ready/late was not run: a stop came first
2026-01-02T02:04:05Z  plugin         -             jacoco is failed: Address already in use
2026-01-02T02:04:05Z  plugin         -             jacoco is active
2026-01-02T02:04:05Z  config         -             in force, requested by SIGHUP, add a; restart b
2026-01-02T02:04:05Z  config         -             refused, requested by SIGHUP: cannot accept it
2026-01-02T02:04:05Z  container      -             stopping: a stop was asked for; the budget is 8s
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}
