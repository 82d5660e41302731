package tomcat

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/stoker-init/stoker/internal/untrusted"
	"github.com/stoker-init/stoker/jvm"
)

// maxScript bounds what is read of a catalina.sh, in bytes; real ones have 25 KiB.
const maxScript = 1 << 20

// script holds what a catalina.sh passes to the JVM, which differs among Tomcat's versions. It is read from the script in CATALINA_HOME,
// never run; scriptByVersion is for homes without one.
type script struct {
	additions      []addition
	loggingOld     bool     // LOGGING_CONFIG is honoured if it begins with -D
	loggingOldOnly bool     // only LOGGING_CONFIG exists, whatever it begins with
	endorsed       bool     // -D$ENDORSED_PROP=$JAVA_ENDORSED_DIRS (8.5, 9.0, 10.0)
	notes          []string // of assignments that are left out
	unread         error    // why an existing script could not be read
}

// addition is the text that a line of the script appends to one of optionVariables.
type addition struct{ variable, text string }

// optionVariables are those to which the script appends options of its own. The launcher of Java 9 and later puts JDK_JAVA_OPTIONS before
// the command line; that of Java 8 ignores it.
var optionVariables = [...]string{"JAVA_OPTS", "JDK_JAVA_OPTIONS"}

func readScript(path string, v Version) script {
	data, err := untrusted.ReadFile(path, maxScript)
	s := parseScript(string(data))
	if err != nil || len(s.additions) == 0 && !strings.Contains(string(data), "startup.Bootstrap") { // missing, or a custom wrapper
		s = scriptByVersion(v)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.unread = err
	}
	return s
}

// parseScript finds the assignments that matter. Each is on one line in every catalina.sh since 8.5, and outside of conditions.
func parseScript(text string) script {
	var s script
	newLogging, number, depth := false, 0, 0
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		switch {
		case strings.HasPrefix(line, "ENDORSED_PROP="):
			s.endorsed = true
		case strings.Contains(line, `CATALINA_LOGGING_CONFIG="$LOGGING_CONFIG"`):
			s.loggingOld = true
		case strings.Contains(line, "CATALINA_LOGGING_CONFIG"):
			newLogging = true
		}
		depth += nesting(line)
		s.assignment(line, number, depth > 0)
	}
	s.loggingOldOnly = !newLogging && !s.loggingOld
	return s
}

// nesting is the change of depth by a line of a shell script: of conditions, loops and functions.
func nesting(line string) int {
	words := strings.Fields(strings.TrimRight(line, "; "))
	first, last := words[0], words[len(words)-1]
	opens := slices.Contains([]string{"if", "case", "for", "while", "until"}, first) || last == "{"
	closes := slices.Contains([]string{"fi", "esac", "done", "}"}, last) || slices.Contains([]string{"fi", "esac", "done", "}"}, first)
	switch {
	case opens && !closes:
		return 1
	case closes && !opens:
		return -1
	}
	return 0
}

// assignment adds what a line appends to one of optionVariables. What cannot be read without running the script gets a note.
func (s *script) assignment(line string, number int, conditional bool) {
	for _, name := range optionVariables {
		before, value, found := strings.Cut(line, name+"=")
		if !found || before != "" && before[len(before)-1] != ' ' {
			continue
		}
		if before == "export " {
			before = ""
		}
		added, simple := appended(value, name)
		if simple && before == "" && !conditional {
			s.additions = append(s.additions, addition{name, added})
		} else {
			s.notes = append(s.notes, fmt.Sprintf("line %d of bin/catalina.sh is left out: %.120s; set such options in bin/setenv.sh", number, line))
		}
	}
}

// appended returns the text that an assignment such as "$NAME -Da=b" appends to the variable, if it is a list of properties, long options
// and variables, without quotes or commands other than umask.
func appended(value, name string) (text string, ok bool) {
	value, quoted := strings.CutPrefix(value, `"`)
	value, closed := strings.CutSuffix(value, `"`)
	plain, found := strings.CutPrefix(value, "$"+name+" ")
	if !found {
		plain, found = strings.CutPrefix(value, "${"+name+"} ")
	}
	plain = strings.NewReplacer("`umask`", "$"+umaskOutput, "$(umask)", "$"+umaskOutput).Replace(plain)
	if !quoted || !closed || !found || strings.ContainsAny(plain, "\"'`\\()") {
		return "", false
	}
	for word := range strings.FieldsSeq(plain) {
		if !strings.HasPrefix(word, "-D") && !strings.HasPrefix(word, "--") && word[0] != '$' {
			return "", false
		}
	}
	return plain, true
}

// umaskOutput is the variable that stands for the output of the umask command; no other can have such a name.
const umaskOutput = "{umask:output}"

// options returns what the script appends to one of optionVariables, without what the version of Java does not have (0: unknown).
func (s script) options(variable string, sh scriptVariables, javaMajor int) ([]string, error) {
	if variable == "JDK_JAVA_OPTIONS" && javaMajor > 0 && javaMajor < 9 {
		return nil, nil
	}
	var out []string
	for _, a := range s.additions {
		if a.variable != variable {
			continue
		}
		lookup := func(name string) string { return sh[name] }
		words, err := jvm.SplitScript(os.Expand(a.text, lookup), lookup) // expanded by the assignment and by the eval
		if err != nil {
			return nil, fmt.Errorf("cannot take options from %q of bin/catalina.sh: %w", a.text, err)
		}
		for _, o := range jvm.ParseArgs("bin/catalina.sh", words) {
			if o.AcceptedBy(javaMajor) {
				out = append(out, o.Args...)
			}
		}
	}
	return out, nil
}

// scriptByVersion is the script of a home without one. 9.0.43, 10.1.60 and 11.0.24 were compared; the others follow the published scripts:
// a superfluous --add-opens does no harm, so each list is the longest that its branch has had.
func scriptByVersion(v Version) script {
	s, opens := script{}, "JAVA_OPTS"
	packages := []string{"java.base/java.lang", "java.base/java.lang.reflect", "java.base/java.io", "java.base/java.util",
		"java.base/java.util.concurrent", "java.rmi/sun.rmi.transport"}
	if v.Known() && (v.Major < 10 || v.Major == 10 && v.Minor < 1) {
		opens, packages = "JDK_JAVA_OPTIONS", slices.Insert(packages, 1, "java.base/java.lang.invoke")
		s.loggingOld, s.endorsed = true, true
	}
	add := func(variable, text string) { s.additions = append(s.additions, addition{variable, text}) }
	add("JAVA_OPTS", "$JSSE_OPTS")
	if v.Major < 11 {
		add("JAVA_OPTS", "-Djava.protocol.handler.pkgs=org.apache.catalina.webresources")
		add("JAVA_OPTS", "-Dsun.io.useCanonCaches=false") // CVE-2024-56337
	}
	add("JAVA_OPTS", "-Dorg.apache.catalina.security.SecurityListener.UMASK=$"+umaskOutput)
	for _, p := range packages {
		add(opens, "--add-opens="+p+"=ALL-UNNAMED")
	}
	if v.Major >= 11 {
		add("JAVA_OPTS", "--enable-native-access=ALL-UNNAMED")
	}
	return s
}
