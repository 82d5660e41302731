package remote

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stoker-init/stoker/internal/statefile"
)

func TestParseAnswer(t *testing.T) {
	for _, tc := range []struct{ name, kind, body, want, err string }{
		{"text", "text/plain; charset=utf-8", "-Xmx1g\r\n# x\n-Da=b\n", "-Xmx1g\r\n# x\n-Da=b\n", ""},
		{"no type", "", "-Xmx1g", "-Xmx1g", ""},
		{"empty text", "text/plain", "", "", ""},
		{"array", "application/json", ` ["-Xmx1g", "-Da=b c"]`, "-Xmx1g|-Da=b c", ""},
		{"object", "application/vnd.x+json", `{"version": 3, "options": ["-Xmx1g"]}`, "-Xmx1g", ""},
		{"no options", "application/json", `{"options": []}`, "", ""},
		{"by its first byte", "text/plain", "\ufeff\n[\"-Xmx1g\"]", "-Xmx1g", ""},
		{"an error as JSON", "application/json", `{"error": "no such application"}`, "", "it has no options"},
		{"half", "application/json", `{"options": ["-Xmx1g"`, "", "cannot be used"},
		{"two", "application/json", `["-Xmx1g"] ["-Xmx2g"]`, "", "after top-level value"},
		{"null", "application/json", "null", "", "no array"},
		{"null option", "application/json", `["-Xmx1g", null]`, "", "option 2"},
		{"number", "application/json", `[1]`, "", "cannot be used"},
		{"line break", "application/json", `["-Da=b\n-Xmx9g"]`, "", "option 1"},
		{"empty JSON", "application/json", "", "", "unexpected end"},
		{"page", "text/html", "<html>", "", "content type"},
		{"odd type", "a/b/c", "x", "", "content type"},
		{"binary", "application/octet-stream", "\x1f\x00", "", "line 1"},
		{"control", "text/plain", "-Xmx1g\n-Da=\x1b[31m", "", "line 2"},
	} {
		a, err := ParseAnswer(tc.kind, []byte(tc.body))
		got := a.Text
		if a.List != nil {
			got = strings.Join(a.List, "|")
		}
		if got != tc.want || (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
			t.Errorf("%s: %q, %v", tc.name, got, err)
		}
	}
}

func FuzzParseAnswer(f *testing.F) {
	for _, seed := range []string{"-Xmx1g\n", `["-Xmx1g"]`, `{"options": ["-Da=b"]}`, "{", "\ufeff[", "\x00"} {
		f.Add("application/json", []byte(seed))
		f.Add("", []byte(seed))
	}
	f.Fuzz(func(t *testing.T, kind string, body []byte) {
		if !utf8.Valid(body) {
			return // the fetcher refuses it
		}
		a, err := ParseAnswer(kind, body)
		if err != nil && (a.Text != "" || a.List != nil) {
			t.Errorf("a refused answer gives %+v", a)
		}
		if err == nil && !utf8.ValidString(a.Text+strings.Join(a.List, "")) {
			t.Errorf("%q is no text", body)
		}
		for _, option := range a.List {
			if option == "" || strings.ContainsAny(option, "\n\r\x00") {
				t.Errorf("option %q", option)
			}
		}
	})
}

func FuzzSavedAnswer(f *testing.F) {
	file := (&Fetcher[Answer]{}).file(strings.Repeat("k", 64))
	whole, err := statefile.Encode(file.Kind, savedAnswer{URL: "http://c/x", Key: "key", Time: time.Unix(1e9, 0), ContentType: "text/plain",
		Body: "-Xmx1g\n"})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add(whole[:len(whole)/2])
	f.Add([]byte(`{"key":"key"}`))
	f.Add([]byte(strings.Replace(string(whole), "1g", "2g", 1)))
	f.Fuzz(func(t *testing.T, data []byte) {
		now := time.Unix(2e9, 0)
		var got savedAnswer
		err := statefile.Decode(file.Kind, data, &got)
		if err == nil {
			err = got.check("key", now)
		}
		if err == nil && (got.Key != "key" || got.Time.After(now)) {
			t.Errorf("%q is believed: %+v", data, got)
		}
		if err == nil && got.Body == "-Xmx2g\n" {
			t.Error("an edited copy is believed")
		}
	})
}
