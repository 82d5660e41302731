package jvm

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

func TestSplitScript(t *testing.T) {
	vars := map[string]string{"A": "1", "S": "x y", "E": "", "W": "-Da=1\r\n-Db=2\r"}
	for _, c := range []struct {
		in, want string // words joined by "|"; "!" is an error
	}{
		{"", ""}, {"  ", ""}, {"a  b\tc\nd", "a|b|c|d"}, {`"a b" 'c d'`, "a b|c d"}, {`a\ b`, "a b"}, {`""`, ""},
		{`-D=$A${A}x`, "-D=11x"}, {`$S`, "x|y"}, {`a$S"$S"`, "ax|yx y"}, {`$E`, ""}, {`"$E"`, ""}, {`'$A'`, "$A"}, {`\$A`, "$A"},
		{`"\$A \q"`, `$A \q`}, {`$`, "$"}, {`a$`, "a$"}, {`$1`, "!"}, {`$$`, "!"}, {`a#b`, "a#b"}, {`*.x`, "*.x"},
		{`#x`, "!"}, {`a;b`, "!"}, {`a|b`, "!"}, {`'a|b'`, "a|b"}, {"`id`", "!"}, {`$(id)`, "!"}, {`"$(id)"`, "!"}, {`"a`, "!"}, {`'a`, "!"},
		{`a\`, "!"}, {`${A:-b}`, "!"}, {`a>b`, "!"}, {`a&`, "!"}, {"é", "é"}, {"$W", "-Da=1|-Db=2"},
	} {
		words, err := SplitScript(c.in, func(n string) string { return vars[n] })
		got := strings.Join(words, "|")
		if err != nil {
			got = "!"
		}
		if got != c.want {
			t.Errorf("SplitScript(%q) = %q (%v), want %q", c.in, got, err, c.want)
		}
	}
}

// FuzzSplitScript compares with a real shell wherever SplitScript accepts.
func FuzzSplitScript(f *testing.F) {
	for _, s := range []string{`-Da="x y" 'b'`, `a\ b$A`, `"$A\$"`, `$A$A`, `a""b`, `${A}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		words, err := SplitScript(s, func(n string) string { return map[string]string{"A": "1 2"}[n] })
		if err != nil || strings.ContainsAny(s, "\x00\n\r*?[]~!{}") || len(s) > 200 {
			return
		}
		cmd := exec.Command("/bin/sh", "-c", `set -f; eval "set -- $1"; for w; do printf '%s\0' "$w"; done`, "sh", s)
		cmd.Env = []string{"A=1 2", "LC_ALL=C"}
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("sh refuses %q: %v", s, err)
		}
		want := strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
		if len(out) == 0 {
			want = nil
		}
		if !slices.Equal(words, want) {
			t.Errorf("%q: got %q, sh %q", s, words, want)
		}
	})
}
