package printable

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode"
)

func TestText(t *testing.T) {
	for in, want := range map[string]string{
		"plain, Grüße, 統合 👍":     "plain, Grüße, 統合 👍",
		"a\tb\nc":                "a\tb\nc",
		"\x1b[2J\x1b]0;title\a":  "?[2J?]0;title?",
		"a\rb\bc\x7f":            "a?b?c?",
		"\u009b31m":              "?31m", // the same as ESC [ in one character
		"\u202eevil\u2066\u200b": "?evil??",
		"bad \xff\xc3 UTF-8":     "bad \ufffd\ufffd UTF-8",
	} {
		if got := Text(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
		if got := Line(in); got != strings.NewReplacer("\n", "?", "\t", "?").Replace(want) {
			t.Errorf("line %q: %q", in, got)
		}
	}
}

func TestJSON(t *testing.T) {
	for _, s := range []string{"plain", "Grüße 👍", "\x1b[2J", "\x7f\u009b", "\u202eevil", "\U000e0041 tag", "\\u0041"} {
		data, err := json.Marshal(map[string]string{s: s})
		if err != nil {
			t.Fatal(err)
		}
		out := JSON(data)
		var back map[string]string
		if err := json.Unmarshal(out, &back); err != nil || back[s] != s {
			t.Errorf("%q: %s, %v", s, out, err)
		}
		if string(out) != Text(string(out)) {
			t.Errorf("%q: %q", s, out)
		}
	}
}

func FuzzWriter(f *testing.F) {
	f.Add([]byte("a\x1b[31mb"), 2)
	f.Add([]byte("\xf0\x9f\x91\x8d\xe2\x82"), 1)
	f.Fuzz(func(t *testing.T, data []byte, size int) {
		if size < 1 || len(data) > 1000 {
			return
		}
		var out bytes.Buffer
		w := NewWriter(&out)
		for rest := data; len(rest) > 0; rest = rest[min(size, len(rest)):] {
			if n, err := w.Write(rest[:min(size, len(rest))]); n != min(size, len(rest)) || err != nil {
				t.Fatal(n, err)
			}
		}
		if got, want := out.String(), Text(string(data)); !strings.HasPrefix(want, got) || len([]rune(want))-len([]rune(got)) > 3 {
			t.Errorf("%q in pieces of %d: %q, want %q", data, size, got, want)
		}
		if strings.ContainsFunc(out.String(), func(r rune) bool { return r != '\n' && r != '\t' && !unicode.IsGraphic(r) }) {
			t.Errorf("%q", out.String())
		}
	})
}
