package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/stoker-init/stoker/internal/api"
	"github.com/stoker-init/stoker/internal/console"
	"github.com/stoker-init/stoker/internal/console/recording"
)

// hostileSession has control characters wherever a client can put them.
func hostileSession() console.Info {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	return console.Info{ID: "jx5sd2cuqa", By: "token \x1b[31mops", Address: "192.0.2.7:4711", Started: at, User: "app", Holder: "uid 0\n", Viewers: 2,
		DetachedSince: &at, Ended: &at, Pid: 12, StdoutBytes: 40, StderrBytes: 2, Recording: "x.cast",
		Exit: &console.Exit{Code: 137, Signal: "KILL", OOM: true, Why: "idle\u202e for 15m0s"},
		Spec: console.Spec{Command: []string{"sh", "-c", "echo \x1b]0;x\x07\nls"}, Env: []string{"TERM=\u009b"}, TTY: true, Rows: 24, Columns: 80,
			Keep: console.Duration(time.Minute), AuditID: "\x1b", Dir: "/tmp\r"}}
}

func TestSessionTexts(t *testing.T) {
	running := hostileSession()
	running.ID, running.Exit, running.Ended, running.DetachedSince, running.Viewers = "aaaaaaaaaa", nil, nil, nil, 0
	ended := running
	ended.Exit = &console.Exit{Code: 7}
	texts := map[string]string{
		"list": sessionsText(api.SessionList{Sessions: []console.Info{hostileSession(), running, ended}}, 0),
		"show": sessionText(hostileSession(), 0),
		"recordings": recordingsText(api.RecordingList{Recordings: []recording.Info{{ID: "jx5sd2cuqa", Size: 4711, Header: recording.Header{
			Stoker: &recording.Session{By: "token \x1b[31mops", Argv: []string{"sh\x1b"}, Exit: &recording.Exit{Exit: console.Exit{Code: 7}, Seconds: 1.25}}}},
			{ID: "aaaaaaaaaa", Header: recording.Header{Stoker: &recording.Session{By: "uid 0"}}}}}, 0),
		"title": replayTitle(recording.Header{Width: 80, Height: 24, Stoker: &recording.Session{ID: "\x1b", By: "\n", Argv: []string{"\r"}}}),
	}
	for name, text := range texts {
		if at := strings.IndexFunc(text, func(r rune) bool { return r != '\n' && !unicode.IsGraphic(r) }); at >= 0 {
			t.Errorf("%s has a control character: %q", name, text[at:])
		}
	}
	for name, lines := range map[string][]string{
		"list": {"ID          BY            USER  COMMAND                  STARTED               STATE     VIEWERS",
			"jx5sd2cuqa  token ?[31mops  app   sh -c echo ?]0;x? ls     2026-01-02T03:04:05Z  OOM       2",
			"aaaaaaaaaa  token ?[31mops  app   sh -c echo ?]0;x? ls     2026-01-02T03:04:05Z  running   0", "exit 7"},
		"show": {"exit       killed by KILL, by the OOM killer: idle? for 15m0s\n", "terminal   80x24\n", "keyboard   uid 0\n",
			"output     42 bytes\n", "by         token ?[31mops at 192.0.2.7:4711\n"},
		"recordings": {"jx5sd2cuqa  token ?[31mops  -     sh?", "  1.2      7     4711\n", "  -        -     0\n"},
	} {
		for _, want := range lines {
			if !strings.Contains(strings.Join(strings.Fields(texts[name]), " "), strings.Join(strings.Fields(want), " ")) {
				t.Errorf("%s lacks %q:\n%s", name, want, texts[name])
			}
		}
	}
	none := sessionsText(api.SessionList{}, 0) + recordingsText(api.RecordingList{}, 0)
	if none != "There are no sessions.\nThere are no recordings.\n" {
		t.Errorf("%q", none)
	}
}

func TestReplay(t *testing.T) {
	dir := t.TempDir()
	good, bad := filepath.Join(dir, "good.cast"), filepath.Join(dir, "bad.cast")
	for path, text := range map[string]string{
		good: "{\"version\":2,\"width\":80,\"height\":24}\n[100,\"o\",\"one\\u001b[1m two\\r\\n\"]\n[200,\"o\",\"\\u001b]0;title\\u0007three\\n\"]\n[300,\"o\",\"torn",
		bad:  "{\"version\":3}\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for line, want := range map[string]string{
		good: "one two\nthree\n", good + " --dump": "one two\nthree\n", bad: "only 2 can be read", filepath.Join(dir, "none.cast"): "no such file",
		good + " --speed 0": "cannot replay with --speed 0", good + " --speed NaN": "--speed NaN", good + " --max-idle -1s": "--max-idle -1s",
	} {
		var out strings.Builder
		p := testProgram()
		p.App.Writer = &out
		text := ""
		if err := p.Run(t.Context(), append([]string{"stoker", "sessions", "replay"}, strings.Fields(line)...)); err != nil {
			text = err.Error()
		}
		if text += out.String(); !strings.Contains(text, want) || strings.Contains(text, "torn") {
			t.Errorf("%s: %q, want %q", line, text, want)
		}
	}
}
