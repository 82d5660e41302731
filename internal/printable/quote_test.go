package printable

import (
	"strings"
	"testing"
)

func TestLastLines(t *testing.T) {
	for _, c := range []struct {
		output string
		n      int
		want   string
	}{
		{"", 3, ""},
		{" \n\r\n\t\n", 3, ""},
		{"one", 3, "one"},
		{"a\nb\n\n  \nc\r\nd\n\n", 3, "b | c | d"},
		{"a\nb", 1, "b"},
		{"\x1b[31mred\x1b[0m\n\x07bell\x00nul\xff", 2, "?[31mred?[0m | ?bell?nul?"},
		{"x\n" + strings.Repeat("y", 300), 2, "x | " + strings.Repeat("y", 200) + "..."},
		{strings.Repeat("\n", 1<<20) + "end", 3, "end"},
	} {
		if got := LastLines(c.output, c.n); got != c.want {
			t.Errorf("LastLines(%.40q, %d) = %q, want %q", c.output, c.n, got, c.want)
		}
	}
}

func TestOneLine(t *testing.T) {
	for in, want := range map[string]string{
		"plain": "plain", "a\nb\tc\r": "a b c", "\x1b[2J\u202e\xff": "?[2J??", "é": "é",
		strings.Repeat("x", 201): strings.Repeat("x", 200) + "...",
	} {
		if got := OneLine(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}
