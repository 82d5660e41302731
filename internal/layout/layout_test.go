package layout

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// sampleTable is like those that are printed.
func sampleTable() Table {
	return Table{{"NUMBER", "TIME", "SERVICE", "CAUSE", "REASON"},
		{"12", "2026-03-01T11:57:00Z", "web", "jvm-crash", "fatal error in the JVM: SIGSEGV (0xb) at pc=0x1, in C [libc.so.6+0x85f14]"},
		{"3", "2026-02-27T12:00:00Z", "a-service-with-a-long-name", "not-started",
			"cannot execute /opt/company/application/releases/2026/bin/start-it-all.sh: no such file"},
		{"1", "2026-02-27T12:00:00Z", "job", "exit", ""}}
}

// TestTablesFit: no line is longer than the terminal, no word is cut, nothing is lost.
func TestTablesFit(t *testing.T) {
	rows := sampleTable()
	for _, width := range []int{40, 50, 60, 80, 100, 132, 200, 0} {
		text := Rows(rows, width)
		for line := range strings.Lines(text) {
			if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); width > 0 && n > width {
				t.Errorf("width %d: a line has %d columns: %s", width, n, line)
			}
			if strings.HasSuffix(line, " \n") {
				t.Errorf("width %d: blanks at the end of %q", width, line)
			}
		}
		words := strings.Fields(text)
		for _, cells := range rows[1:] {
			for _, cell := range cells {
				for word := range strings.FieldsSeq(cell) {
					if len(word) <= longWord && !contains(words, word) {
						t.Errorf("width %d: %q is cut:\n%s", width, word, text)
					}
				}
			}
		}
		if width == 0 && strings.Count(text, "\n") != len(rows) {
			t.Errorf("without a terminal a row is not a line:\n%s", text)
		}
	}
	if !strings.Contains(Rows(rows, 40), "REASON   fatal error in the JVM:") {
		t.Errorf("what does not fit is not stacked:\n%s", Rows(rows, 40))
	}
}

// TestColumns keeps columns below each other whatever their characters are.
func TestColumns(t *testing.T) {
	for text, want := range map[string]int{"": 0, "abc": 3, "é": 1, "e\u0301": 1, "夜間": 4, "バッチ": 6, "ﾊﾞｯﾁ": 4, "한글": 4, "🚀": 2, "…–": 2, "（x）": 5} {
		if got := columns(text); got != want {
			t.Errorf("%q: %d columns, want %d", text, got, want)
		}
	}
	got := Rows([][]string{{"KEY", "STATE"}, {"夜間", "x"}, {"night", "y"}}, 0)
	if want := "KEY    STATE\n夜間   x\nnight  y\n"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	got = Rows([][]string{{"名前", "B"}, {strings.Repeat("x", 25), strings.Repeat("y", 25)}}, 30)
	if want := "名前  xxxxxxxxxxxxxxxxxxxxxxxxx\nB     yyyyyyyyyyyyyyyyyyyyyyyyy\n"; !strings.HasSuffix(got, want) {
		t.Errorf("got\n%s\nwant at the end\n%s", got, want)
	}
}

func contains(words []string, word string) bool {
	for _, w := range words {
		if w == word {
			return true
		}
	}
	return false
}

func TestTextsAreWrapped(t *testing.T) {
	for _, c := range []struct {
		in    string
		width int
		want  string
	}{
		{"short", 20, "short"},
		{"one two three four five six", 20, "one two three four\n  five six"},
		{"  note: one two three four", 20, "  note: one two three\n    four"},
		{"a\n\n  b c", 20, "a\n\n  b c"},
		{"/opt/company/application/releases/bin", 20, "/opt/company/\n  application/\n  releases/bin"},
		{"anevenlongerwordthathasnoplace", 20, "anevenlongerwordthathasnoplace"},
		{"", 20, ""},
		{strings.Repeat("x ", 100), 0, strings.Repeat("x ", 100)},
	} {
		if got := Wrap(c.in, c.width, "  "); got != c.want {
			t.Errorf("%q at %d: %q, want %q", c.in, c.width, got, c.want)
		}
	}
}

func FuzzWrapped(f *testing.F) {
	f.Add("note: a/b,c é", 20)
	f.Fuzz(func(t *testing.T, text string, width int) {
		if width < MinWidth || width > 300 || !utf8.ValidString(text) {
			return
		}
		got := Wrap(text, width, "  ")
		squeeze := func(s string) string {
			return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == ' ' || r == '\n' }), "")
		}
		if squeeze(got) != squeeze(text) {
			t.Errorf("%q at %d: %q", text, width, got)
		}
		_ = Rows([][]string{{"A", "B"}, {text, got}}, width)
	})
}

func TestDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second:                    "0s",
		0:                               "0s",
		40 * time.Millisecond:           "0s",
		1250 * time.Millisecond:         "1.3s",
		9940 * time.Millisecond:         "9.9s",
		9960 * time.Millisecond:         "10s",
		10400 * time.Millisecond:        "10s",
		time.Minute:                     "1m",
		61 * time.Second:                "1m1s",
		time.Hour:                       "1h0m",
		90 * time.Minute:                "1h30m",
		24*time.Hour - time.Second:      "23h59m59s",
		24 * time.Hour:                  "1d0h",
		49*time.Hour + 59*time.Minute:   "2d1h",
		1000*24*time.Hour + 3*time.Hour: "1000d3h",
	} {
		if got := Duration(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}
