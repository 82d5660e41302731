package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

func TestDetachKeys(t *testing.T) {
	for text, want := range map[string]string{"ctrl-p,ctrl-q": "\x10\x11", "ctrl-]": "\x1d", "a,ctrl-@,b": "a\x00b", "none": "", "": "", "~,.": "~."} {
		keys, err := parseDetachKeys(text)
		if err != nil || string(keys) != want {
			t.Errorf("%q: %q, %v; want %q", text, keys, err, want)
		}
	}
	for _, text := range []string{"ctrl-P", "ctrl-", "ab", "a,,b", "ctrl-1", "é", " "} {
		if keys, err := parseDetachKeys(text); err == nil || exitCode(err) != 2 {
			t.Errorf("%q: %q, %v", text, keys, err)
		}
	}
}

func TestDetachKeysAreFound(t *testing.T) {
	for _, tc := range []struct {
		keys, typed, sent string
		found             bool
	}{
		{"\x10\x11", "ls\r", "ls\r", false},
		{"\x10\x11", "ls\x10|\x11rest", "ls", true},
		{"\x10\x11", "a\x10|b", "a\x10b", false},
		{"\x10\x11", "\x10\x10\x11", "\x10", true},
		{"\x10\x11", "\x11\x10", "\x11", false}, // the last one is held back
		{"~.", "~~.", "~", true},
		{"aab", "aa|ab", "a", true},
		{"abac", "ababac", "ab", true},
		{"", "\x10\x11", "\x10\x11", false},
		{"x", "abx", "ab", true},
	} {
		d := detachKeys{keys: []byte(tc.keys)}
		var sent []byte
		found := false
		for part := range strings.SplitSeq(tc.typed, "|") {
			var send []byte
			send, found = d.filter([]byte(part))
			if sent = append(sent, send...); found {
				break
			}
		}
		if string(sent) != tc.sent || found != tc.found {
			t.Errorf("%q typed: %q, %v; want %q, %v", tc.typed, sent, found, tc.sent, tc.found)
		}
	}
}

// TestExecQuery: the flags as they stand on a command line, and the request.
func TestExecQuery(t *testing.T) {
	for line, want := range map[string]string{
		"exec -- ls -la":                       "command=ls&command=-la&keep=1m&stdin=false&tty=false",
		"exec -it -- sh":                       "command=sh&env=TERM%3Dxterm&keep=10m&stdin=true&tty=true",
		"exec -it":                             "env=TERM%3Dxterm&keep=10m&stdin=true&tty=true",
		"exec -t -e TERM=vt100 --keep 0 ls -t": "command=ls&command=-t&env=TERM%3Dvt100&keep=0&stdin=false&tty=true",
		"exec -i -u app -w /tmp --context web -e A=b=c,d -e B= x": "command=x&context=web&dir=%2Ftmp&env=A%3Db%3Dc%2Cd&env=B%3D&keep=1m&stdin=true&tty=false&user=app",
		"exec": "cannot run a command", "exec -i": "cannot run a command", "exec -t": "cannot run a command",
		"exec -e A x": `cannot use "A" for --env`, "exec -e =b x": `cannot use "=b" for --env`,
	} {
		p := testProgram()
		got := ""
		p.App.Command("exec").Action = func(c *cli.Context) error {
			q, err := execQuery(c, func(name string) string { return map[string]string{"TERM": "xterm"}[name] })
			got = q.Encode()
			return err
		}
		if err := p.Run(t.Context(), append([]string{"stoker"}, strings.Fields(line)...)); err != nil {
			got = err.Error()
		}
		if got != want && (want == "" || strings.Contains(want, "=") || !strings.HasPrefix(got, want)) {
			t.Errorf("%s: %s, want %s", line, got, want)
		}
	}
}

// TestWithoutQueries: what a terminal answers is taken out, and nothing else.
func TestWithoutQueries(t *testing.T) {
	for _, query := range []string{"\x1b[c", "\x1b[>c", "\x1b[=0c", "\x1b[6n", "\x1b[?6n", "\x1b[5n", "\x1b[?2026$p", "\x1b[18t", "\x1b[>q", "\x1b[?u",
		"\x1b]11;?\x07", "\x1b]10;?\x1b\\", "\x1b]4;1;?\x07", "\x1b]52;c;?\x07", "\x1bP+q544e\x1b\\", "\x1bP$qm\x1b\\", "\x1bZ", "\x05"} {
		if got := withoutQueries([]byte("a" + query + "b\xff")); string(got) != "ab\xff" {
			t.Errorf("%q: %q", query, got)
		}
	}
	for _, text := range []string{"\x1b[1;31mred\x1b[0m", "\x1b[?1049h\x1b[H\x1b[2J", "\x1b[?1h\x1b=", "\x1b[2 q", "\x1b[u", "\x1b]0;title?\x1b[K\r\n", "日本\xe6"} {
		if got := withoutQueries([]byte(text)); string(got) != text {
			t.Errorf("%q: %q", text, got)
		}
	}
}

// TestSessionScreen: only what was written before is changed, wherever it is cut, and the other screen is left.
func TestSessionScreen(t *testing.T) {
	old, now := "prompt\x1b[6n$ \x1b[?1049hvim\x1b[c", "\x1b[6nlive"
	for step := 1; step <= len(old)+len(now); step++ {
		var out bytes.Buffer
		s := sessionScreen{out: &out, at: 1000, until: 1000 + int64(len(old))}
		for text := []byte(old + now); len(text) > 0; {
			n := min(step, len(text))
			if m, err := s.Write(text[:n]); m != n || err != nil {
				t.Fatal(m, err)
			}
			text = text[n:]
		}
		if want := "prompt$ \x1b[?1049hvim\x1b[6nlive"; out.String() != want {
			t.Fatalf("in steps of %d: %q, want %q", step, out.String(), want)
		}
		out.Reset()
		if s.finish(true); !strings.HasPrefix(out.String(), "\x1b[?1049l") || !strings.Contains(out.String(), "\x1b[?25h") {
			t.Fatalf("in steps of %d: at the end %q", step, out.String())
		}
	}
	var out bytes.Buffer
	s := sessionScreen{out: &out, until: 100}
	_, _ = s.Write([]byte("the end\x1b[c"))
	if s.finish(false); out.String() != "the end" {
		t.Errorf("%q", out.String())
	}
}
