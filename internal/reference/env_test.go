package reference

import (
	"maps"
	"strings"
	"testing"
)

func TestEnv(t *testing.T) {
	below := map[string]string{"PATH": "/usr/bin:/bin", "EMPTY": "", "HOME": "/root", "ODD": "${HOME} $${x}", "LINES": "a\nb\n"}
	for _, c := range []struct {
		env, want map[string]string
		bad       map[string]string // parts of the errors, by key
	}{
		{env: nil, want: map[string]string{}},
		{env: map[string]string{"PATH": "/opt/bin:${PATH}"}, want: map[string]string{"PATH": "/opt/bin:/usr/bin:/bin"}},
		{env: map[string]string{"A": "${HOME}/a", "B": "${A}/b", "C": "${B}${C:-!}"}, want: map[string]string{"A": "/root/a", "B": "/root/a/b",
			"C": "/root/a/b!"}},
		{env: map[string]string{"A": "${EMPTY}|${EMPTY:-x}|${NONE:-}|${NONE:-a b:-c}"}, want: map[string]string{"A": "|x||a b:-c"}},
		{env: map[string]string{"A": "$HOME $${HOME} $$ ${user.home} ${a-b} ${} %{x} $(x)"},
			want: map[string]string{"A": "$HOME ${HOME} $$ ${user.home} ${a-b} ${} %{x} $(x)"}},
		{env: map[string]string{"A": "${ODD}${LINES}"}, want: map[string]string{"A": "${HOME} $${x}a\nb\n"}}, // values are data
		{env: map[string]string{"A": "${NONE}", "B": "1"}, bad: map[string]string{"A": "NONE is not set"}},
		{env: map[string]string{"A": "${A}"}, bad: map[string]string{"A": "A is not set"}},
		{env: map[string]string{"A": "x${HOME", "B": "${"}, bad: map[string]string{"A": "not closed", "B": "not closed"}},
		{env: map[string]string{"A": "${B}", "B": "${A}"}, bad: map[string]string{"": "refer to each other"}},
		{env: map[string]string{"A": "${B}", "B": "${C}", "C": "${A}"}, bad: map[string]string{"": "refer to each other"}},
		{env: map[string]string{"PATH": "${B}:${PATH}", "B": "${PATH}"}, bad: map[string]string{"": "refer to each other"}},
	} {
		got, errs := Env(c.env, func(_, name string) (string, bool) { value, ok := below[name]; return value, ok })
		if c.bad == nil && (errs != nil || !maps.Equal(got, c.want)) {
			t.Errorf("%q: %q, %v, want %q", c.env, got, errs, c.want)
		}
		for key, part := range c.bad {
			text := ""
			for at, err := range errs {
				if key == "" || key == at {
					text += err.Error()
				}
			}
			if !strings.Contains(text, part) || key != "" && len(errs) != len(c.bad) {
				t.Errorf("%q: errors %v, want %q", c.env, errs, c.bad)
			}
		}
	}
}
