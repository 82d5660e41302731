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
	ending := []string{"--version", "--help-extra", "-version", "--dry-run", "--module=a/b", "--list-modules", "--", "-D", "--add-opens"}
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
		{name: "a case on lines of its own", script: "case \"$1\" in\ndebug)\n  echo x\n;;\n(if | b*)\n  JAVA_OPTS=\"$JAVA_OPTS -Da=1\"\n;;\nesac\n" +
			`JAVA_OPTS="$JAVA_OPTS -Db=1"`, want: "-Db=1", notes: 1},
		{name: "continued condition", script: "[ -n \"$X\" ] && \\\n  JAVA_OPTS=\"$JAVA_OPTS -Da=1\"", notes: 1},
		{name: "continued operator", script: "[ -n \"$X\" ] ||\n # a\n\n  JAVA_OPTS=\"$JAVA_OPTS -Da=1\"", notes: 1},
		{name: "behind a list", script: "[ -n \"$X\" ] && cd /\n[ -n \"$X\" ] ||\n  cd /; JAVA_OPTS=\"$JAVA_OPTS -Da=1\"", want: "-Da=1"},
		{name: "continued value", script: "JAVA_OPTS=\"$JAVA_OPTS \\\n  -Da=1 -D\\\nb=1\"\\\n\n", want: "-Da=1,-Db=1"},
		{name: "continued comment", script: "# a \\\nJAVA_OPTS=\"$JAVA_OPTS -Da=1\" # a \"", want: "-Da=1"},
		{name: "a pipe and the background", script: "JAVA_OPTS=\"$JAVA_OPTS -Da=1\" | cat\nJAVA_OPTS=\"$JAVA_OPTS -Da=1\" && true &\n" +
			"true | JAVA_OPTS=\"$JAVA_OPTS -Da=1\"", notes: 3},
		{name: "loops", script: "if a; then for p in x; do y; done\nfi\nwhile a; do b; done <x\nif c; then\n  JAVA_OPTS=\"$JAVA_OPTS -Da=1\"\nfi >x 2>&1\n" +
			`JAVA_OPTS="$JAVA_OPTS -Db=1"`, want: "-Db=1", notes: 1},
		{name: "here-documents", script: "cat <<EOF >x; cat <<-'E2'\nJAVA_OPTS=\"$JAVA_OPTS -Da=1\"\nif '\nEOF\n\tif\n\tE2\nJAVA_OPTS=\"$JAVA_OPTS -Db=1\"",
			want: "-Db=1"},
		{name: "subshells and functions", script: "( cd /\n  JAVA_OPTS=\"$JAVA_OPTS -Da=1\" )\nf() (\n  JAVA_OPTS=\"$JAVA_OPTS -Da=1\"\n)\n" +
			"g ( ) JAVA_OPTS=\"$JAVA_OPTS -Da=1\"\nfunction h {\n  JAVA_OPTS=\"$JAVA_OPTS -Da=1\"; }\nJAVA_OPTS=\"$JAVA_OPTS -Db=1\"", want: "-Db=1", notes: 4},
		{name: "strings of several lines", script: "X=\"a\nif b\ncase c\n\"\nY='a\nfor $( \\'\nZ=`echo \"\nwhile\"`$(if a; then \"b)\"; fi)${A:-\"}\"}\n" +
			"JAVA_OPTS=\"$JAVA_OPTS -Da=1\"", want: "-Da=1"},
		{name: "words within words", script: "echo if; echo fi done } { # if\nX=a#\"b\"\nJAVA_OPTS=\"$JAVA_OPTS -Da=1\"", want: "-Da=1"},
		{name: "behind the end", script: "exec >>log 2>&1\nJAVA_OPTS=\"$JAVA_OPTS -Da=1\"\nexec java\nJAVA_OPTS=\"$JAVA_OPTS -Da=1\"", want: "-Da=1", notes: 1},
		{name: "variables of the script", script: "APPDIR=/srv\nJAVA_OPTS=\"$JAVA_OPTS -Da=$APPDIR\"\nread B <x\nJAVA_OPTS=\"$JAVA_OPTS $B\"\n: ${C:=1}\n" +
			"JAVA_OPTS=\"$JAVA_OPTS $C\"\nJAVA_OPTS=\"$JAVA_OPTS $JAVA_OPTS\"\nJAVA_OPTS=\"$JAVA_OPTS $PWD $JRE_HOME\"", notes: 5},
		{name: "a variable that is only read", script: "# TWO: two\necho $TWO ${TWO:-x}\nJAVA_OPTS=\"$JAVA_OPTS $TWO\"", want: "-Dt=1,-Dt=2"},
		{name: "another file", script: ". /x/env.sh\nJAVA_OPTS=\"$JAVA_OPTS $TWO\"\nJAVA_OPTS=\"$JAVA_OPTS -Da=1 $JSSE_OPTS\"", want: "-Da=1,-Dj=1,-Dk=a b", notes: 2},
		{name: "expansions", script: "JAVA_OPTS=\"$JAVA_OPTS ${X:-d}\"\nJAVA_OPTS=\"$JAVA_OPTS -Da=$$\"\nJAVA_OPTS=\"$JAVA_OPTS $1\"\n" +
			"JAVA_OPTS=\"$JAVA_OPTS -Da=1;b\"\nJAVA_OPTS=\"$JAVA_OPTS\n-Da=1\"\nJAVA_OPTS=\"$JAVA_OPTS$X\"", notes: 6},
		{name: "other ways to set it", script: "JAVA_OPTS+=\" -Dx\"\nCATALINA_OPTS=\"$CATALINA_OPTS -Xmx1g\"\nJSSE_OPTS=-Da=1\nunset JAVA_OPTS\n" +
			"JAVA_OPTS=\"$JAVA_OPTS -Da=1\" x\n: ${JAVA_OPTS:=-Da=1}\nJAVA_OPTS=(a b)\neval 'JAVA_OPTS=1'\nexport JAVA_OPTS\necho JAVA_OPTS=1", notes: 8},
		{name: "tabs", script: "export\tJAVA_OPTS=\"$JAVA_OPTS\t-Da=1\"", want: "-Da=1"},
		{name: "what ends the JVM", script: `JAVA_OPTS="$JAVA_OPTS ` + strings.Join(ending, "\"\nJAVA_OPTS=\"$JAVA_OPTS ") + `"`, notes: len(ending)},
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

// A script that no shell accepts, or that is not understood, leaves what Tomcat's version adds.
func TestScriptNotUnderstood(t *testing.T) {
	for _, text := range []string{"fi", ";;", "}", ")", "if a", "case a in b) ;; c", "X='", `X="$(a"`, "X=`", "X=${a", "cat <<EOF\na", "cat <<EOF", "f() {",
		"case a in", "esac", "if a; done", strings.Repeat("$(", 1<<19), strings.Repeat("\"$(", 1<<18), strings.Repeat("(", 1<<20), strings.Repeat("${", 1<<19)} {
		dir := t.TempDir()
		put(t, dir+"/catalina.sh", text+"\nJAVA_OPTS=\"$JAVA_OPTS -Da=1\"", 0o755)
		s := readScript(dir+"/catalina.sh", Version{Major: 11})
		if s.unread == nil || !slices.Equal(s.additions, scriptByVersion(Version{Major: 11}).additions) {
			t.Errorf("%.20q: %v, %q", text, s.unread, s.additions)
		}
	}
}

// What a script says is bounded: its notes, and what its variables amount to.
func TestScriptIsBounded(t *testing.T) {
	s := parseScript(strings.Repeat("JAVA_OPTS=\n", 50_000))
	if len(s.notes) != maxLeftOut+1 {
		t.Errorf("%d notes", len(s.notes))
	}
	s = parseScript(`JAVA_OPTS="$JAVA_OPTS` + strings.Repeat(" $X", 300_000) + `"`)
	_, err := s.options("JAVA_OPTS", scriptVariables{"X": strings.Repeat("-Da=1 ", 20_000)}, 17)
	if err == nil || len(err.Error()) > 1000 {
		t.Errorf("%v", err)
	}
}

// No text makes reading it panic, and what is taken from it are options.
func FuzzScript(f *testing.F) {
	for _, text := range []string{"case a in\nb)\n;;\nesac", "; ;;\n", "JAVA_OPTS=\"$JAVA_OPTS -Da=${B} $C `umask`\"", "export JDK_JAVA_OPTIONS=\"${JDK_JAVA_OPTIONS} --a=b\"",
		"cat <<-E\n\tE\nX=$(a \"b\")", "f() { a; } && b || c &", ". x\nCATALINA_OPTS+=1", "for((;;)) do a; done", "JAVA_OPTS=\"$JAVA_OPTS $\""} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s := parseScript(text)
		for _, variable := range optionVariables {
			words, err := s.options(variable, scriptVariables{"C": "-Dc=\"d e\"", "umask:output": "0027"}, 17)
			if err != nil {
				t.Errorf("%q: %v", s.additions, err)
			}
			for _, w := range words {
				if !strings.HasPrefix(w, "-") {
					t.Errorf("%q of %q", w, s.additions)
				}
			}
		}
	})
}
