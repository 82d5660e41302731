package jvm

import (
	"strings"
	"testing"
)

func TestParseArgfile(t *testing.T) {
	for _, tc := range []struct{ name, content, want string }{
		{"words", "-Xmx1g -Da=b\n\t-Dc=d\r\n", "x:1 -Xmx1g|x:1 -Da=b|x:2 -Dc=d"},
		{"comments", "# one\n-Da=b # two\n#-Dc=d", "x:2 -Da=b"},
		{"quotes", `"-Da=b c" '-Dd=e"f' -Dg="h i"j`, `x:1 -Da=b c|x:1 -Dd=e"f|x:1 -Dg=h ij`},
		{"escapes", `"-Da=C:\\x\ty\"" -Db=\n`, "x:1 -Da=C:\\x\ty\"|x:1 -Db=\\n"},
		{"continued", "\"-Da=b\\\n   c\"\n-Dd=e", "x:2 -Da=bc|x:3 -Dd=e"},
		{"open quote", "\"-Da=b c\n-Dd=e", "x:1 -Da=b c|x:2 -Dd=e"},
		{"two arguments", "--add-opens java.base/java.lang=ALL-UNNAMED", "x:1 --add-opens java.base/java.lang=ALL-UNNAMED"},
	} {
		var got []string
		for _, o := range ParseArgfile("x", tc.content) {
			got = append(got, o.Source+" "+o.String())
		}
		if text := strings.Join(got, "|"); text != tc.want {
			t.Errorf("%s: %q, want %q", tc.name, text, tc.want)
		}
	}
}

func FuzzParseArgfile(f *testing.F) {
	f.Add("-Xmx1g \"-Da=\\\n b\" # c\n'")
	f.Add("\"\\")
	f.Fuzz(func(t *testing.T, content string) {
		n := 0
		for _, o := range ParseArgfile("x", content) {
			n += len(o.String())
		}
		if n > 2*len(content)+1 {
			t.Errorf("%d bytes of options from %d", n, len(content))
		}
	})
}
