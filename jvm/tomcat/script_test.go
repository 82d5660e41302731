package tomcat

import (
	"cmp"
	"slices"
	"strings"
	"testing"
)

// TestScriptAdditions: what a script appends to its variables is read in its order; what depends on more than the text is left out, with a
// note.
func TestScriptAdditions(t *testing.T) {
	sh := scriptVariables{"JSSE_OPTS": "-Dj=1 -Dk='a b'", "TWO": "-Dt=1 -Dt=2", "umask:output": "0027"}
	for _, c := range []struct {
		name, script string
		java         int
		variable     string // "": JAVA_OPTS
		want         string // separated by commas
		notes        int
	}{
		{name: "in order", script: `JAVA_OPTS="$JAVA_OPTS -Db=1"
# JAVA_OPTS="$JAVA_OPTS -Dcomment=1"
export JAVA_OPTS="${JAVA_OPTS} --add-opens=a/b=c -Da=1"`, java: 17, want: "-Db=1,--add-opens=a/b=c,-Da=1"},
		{name: "variables and umask", script: "JAVA_OPTS=\"$JAVA_OPTS $JSSE_OPTS ${TWO} -Du=`umask` -Dv=$(umask)\"", java: 17,
			want: "-Dj=1,-Dk=a b,-Dt=1,-Dt=2,-Du=0027,-Dv=0027"},
		{name: "Java 8", script: `JAVA_OPTS="$JAVA_OPTS --add-opens=a/b=c -Da=1"`, java: 8, want: "-Da=1"},
		{name: "Java 11", script: `JAVA_OPTS="$JAVA_OPTS --add-opens=a/b=c --enable-native-access=ALL-UNNAMED"`, java: 11, want: "--add-opens=a/b=c"},
		{name: "Java 17", script: `JAVA_OPTS="$JAVA_OPTS --enable-native-access=ALL-UNNAMED"`, java: 17, want: "--enable-native-access=ALL-UNNAMED"},
		{name: "unknown Java", script: `JAVA_OPTS="$JAVA_OPTS --enable-native-access=ALL-UNNAMED"`, want: "--enable-native-access=ALL-UNNAMED"},
		{name: "an option that is newer than stoker", script: `JAVA_OPTS="$JAVA_OPTS --from-the-future=1"`, java: 40, want: "--from-the-future=1"},
		{name: "for the launcher", script: `JDK_JAVA_OPTIONS="$JDK_JAVA_OPTIONS --add-opens=a/b=c"`, java: 11, variable: "JDK_JAVA_OPTIONS",
			want: "--add-opens=a/b=c"},
		{name: "for the launcher of Java 8", script: `JDK_JAVA_OPTIONS="$JDK_JAVA_OPTIONS -Da=1"`, java: 8, variable: "JDK_JAVA_OPTIONS"},
		{name: "after a condition", script: "if $cygwin; then\n  X=1\nfi\ncase $Y in\n  *) Z=1;;\nesac\nJAVA_OPTS=\"$JAVA_OPTS -Da=1\"", want: "-Da=1"},
		{name: "on one line", script: "if [ -z \"$X\" ]; then X=1; fi\nJAVA_OPTS=\"$JAVA_OPTS -Da=1\"", want: "-Da=1"},
		{name: "in a condition", script: "if [ -n \"$X\" ]; then\n  JAVA_OPTS=\"$JAVA_OPTS -Da=1\"\nfi", notes: 1},
		{name: "behind a condition", script: "[ -n \"$X\" ] && JAVA_OPTS=\"$JAVA_OPTS -Da=1\"", notes: 1},
		{name: "in a function", script: "f() {\n  JAVA_OPTS=\"$JAVA_OPTS -Da=1\"\n}\nJAVA_OPTS=\"$JAVA_OPTS -Db=1\"", want: "-Db=1", notes: 1},
		{name: "a command", script: "JAVA_OPTS=\"$JAVA_OPTS -Dh=`hostname`\"", notes: 1},
		{name: "quotes", script: `JAVA_OPTS="$JAVA_OPTS -Da=\"b c\""`, notes: 1},
		{name: "not appended", script: `JAVA_OPTS="-Da=1 $JAVA_OPTS"` + "\n" + `JAVA_OPTS="-Da=1"`, notes: 2},
		{name: "what belongs into a layer", script: `JAVA_OPTS="$JAVA_OPTS -Xmx3g"`, notes: 1},
		{name: "other variables", script: `MY_JAVA_OPTS="$JAVA_OPTS -Da=1"` + "\n" + `X_JDK_JAVA_OPTIONS="$JDK_JAVA_OPTIONS -Da=1"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := parseScript(c.script)
			got, err := s.options(cmp.Or(c.variable, "JAVA_OPTS"), sh, c.java)
			if err != nil || strings.Join(got, ",") != c.want {
				t.Errorf("got %q, %v, want %s", got, err, c.want)
			}
			if len(s.notes) != c.notes || slices.ContainsFunc(s.notes, func(n string) bool { return !strings.Contains(n, "setenv.sh") }) {
				t.Errorf("notes %q, want %d", s.notes, c.notes)
			}
		})
	}
	if _, err := parseScript(`JAVA_OPTS="$JAVA_OPTS $X"`).options("JAVA_OPTS", scriptVariables{"X": "`id`"}, 17); err == nil ||
		!strings.Contains(err.Error(), "$X") {
		t.Errorf("a command in a variable: %v", err)
	}
}
