package tomcat

import (
	"cmp"
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
	err = cmp.Or(err, s.unread)
	if err != nil || len(s.additions) == 0 && !strings.Contains(string(data), "startup.Bootstrap") { // missing, or a custom wrapper
		s = scriptByVersion(v)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.unread = err
	}
	return s
}

// parseScript finds what appends to the variables: only commands that certainly run and that need no shell to be understood.
func parseScript(text string) script {
	var s script
	newLogging := false
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "ENDORSED_PROP="):
			s.endorsed = true
		case strings.Contains(line, `CATALINA_LOGGING_CONFIG="$LOGGING_CONFIG"`):
			s.loggingOld = true
		case strings.Contains(line, "CATALINA_LOGGING_CONFIG"):
			newLogging = true
		}
	}
	s.loggingOldOnly = !newLogging && !s.loggingOld
	var commands []shellCommand
	if commands, s.unread = readShell(text, changesOptions); s.unread != nil {
		return s
	}
	changed, left := changedVariables(text, commands), 0
	for _, c := range commands {
		a, ok := c.addition()
		names, _ := variablesOf(a.text)
		if ok && !slices.ContainsFunc(names, func(name string) bool { return changed[name] }) {
			s.additions = append(s.additions, a)
		} else if left++; left <= maxLeftOut {
			s.notes = append(s.notes, fmt.Sprintf("line %d of bin/catalina.sh is left out: %.120s; set such options in bin/setenv.sh",
				c.line, strings.Join(strings.Fields(strings.Join(c.words, " ")), " ")))
		}
	}
	if left > maxLeftOut {
		s.notes = append(s.notes, fmt.Sprintf("%d more lines of bin/catalina.sh are left out", left-maxLeftOut))
	}
	return s
}

// maxLeftOut bounds the notes about commands that are left out.
const maxLeftOut = 20

// changesOptions reports whether a command may change the JVM's options: it has a word such as JAVA_OPTS=..., or reads another file.
func changesOptions(words []string) bool {
	switch words[0] {
	case "echo", "printf":
		return false
	case ".", "source":
		file := strings.Trim(words[len(words)-1], `"`)
		return !strings.HasSuffix(file, "/bin/setenv.sh") && !strings.HasSuffix(file, "/bin/setclasspath.sh")
	case "export", "readonly":
		words = slices.DeleteFunc(slices.Clone(words), func(w string) bool { return !strings.Contains(w, "=") })
	}
	return slices.ContainsFunc(words, func(word string) bool {
		switch word { // of every catalina.sh; Launch has them
		case `CATALINA_OPTS="$JPDA_OPTS $CATALINA_OPTS"`, `JSSE_OPTS="-Djdk.tls.ephemeralDHKeySize=2048"`:
			return false
		}
		for _, name := range [...]string{"JAVA_OPTS", "JDK_JAVA_OPTIONS", "CATALINA_OPTS", "JSSE_OPTS"} {
			rest, found := strings.CutPrefix(strings.TrimLeft(word, `"'`), name)
			if found && (rest == "" || rest[0] == '=' || strings.HasPrefix(rest, "+=")) ||
				strings.Contains(word, "${"+name+"=") || strings.Contains(word, "${"+name+":=") {
				return true
			}
		}
		return false
	})
}

// addition returns what a command such as NAME="$NAME -Da=b" appends. ok is false if it does not always run, or does something else.
func (c shellCommand) addition() (a addition, ok bool) {
	words := c.words
	if words[0] == "export" {
		words = words[1:]
	}
	if !c.always || len(words) != 1 {
		return addition{}, false
	}
	name, value, _ := strings.Cut(words[0], "=")
	text, ok := appended(value, name)
	return addition{name, text}, ok && slices.Contains(optionVariables[:], name)
}

// appended returns the text that an assignment such as "$NAME -Da=b" appends to the variable, if it is a list of properties, long options
// and variables, without quotes, commands other than umask, or anything else that means something to a shell.
func appended(value, name string) (text string, ok bool) {
	value, quoted := strings.CutPrefix(value, `"`)
	value, closed := strings.CutSuffix(value, `"`)
	plain, found := strings.CutPrefix(value, "$"+name)
	if !found {
		plain, found = strings.CutPrefix(value, "${"+name+"}")
	}
	if !quoted || !closed || !found || strings.TrimLeft(plain, " \t") == plain {
		return "", false
	}
	plain = strings.NewReplacer("`umask`", "$"+umaskOutput, "$(umask)", "$"+umaskOutput).Replace(strings.Trim(plain, " \t"))
	_, literal := variablesOf(plain)
	literal = strings.ReplaceAll(literal, "$"+umaskOutput, "")
	if strings.ContainsAny(literal, "\"'`\\(){}$;|&<>\n\r") {
		return "", false
	}
	for word := range strings.FieldsSeq(plain) {
		_, rest := variablesOf(word)
		option := strings.HasPrefix(word, "-D") || strings.HasPrefix(word, "--")
		if rest != "" && (!option || jvm.Option{Args: []string{word}}.Rejected()) {
			return "", false
		}
	}
	return plain, true
}

// variablesOf returns the names in a text such as "$A ${B}", and the text without them. umaskOutput is none.
func variablesOf(text string) (names []string, rest string) {
	parts := strings.Split(text, "$")
	var b strings.Builder
	b.WriteString(parts[0])
	for _, part := range parts[1:] {
		inner, braced := strings.CutPrefix(part, "{")
		name := inner[:identifier(inner)]
		after, closed := inner[len(name):], true
		if braced {
			after, closed = strings.CutPrefix(after, "}")
		}
		if name == "" || name[0] <= '9' || !closed {
			after = "$" + part
		} else {
			names = append(names, name)
		}
		b.WriteString(after)
	}
	return names, b.String()
}

// identifier is the length of the letters, digits and underscores at the beginning of a text.
func identifier(text string) int {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789"
	return len(text) - len(strings.TrimLeft(text, letters))
}

// changedVariables returns the variables that the commands use and whose value may be another than that of the environment or setenv.sh:
// the script does more than read it, or reads another file, or a shell or setclasspath.sh sets it.
func changedVariables(text string, commands []shellCommand) map[string]bool {
	changed, sourced := map[string]bool{}, false
	for _, c := range commands {
		sourced = sourced || c.words[0] == "." || c.words[0] == "source"
		a, _ := c.addition()
		names, _ := variablesOf(a.text)
		for _, name := range names {
			changed[name] = false
		}
	}
	for name := range changed {
		changed[name] = sourced || slices.Contains([]string{"JAVA_OPTS", "JDK_JAVA_OPTIONS", "JAVA_HOME", "JRE_HOME", "_RUNJAVA", "_RUNJDB",
			"JAVA_ENDORSED_DIRS", "PWD", "OLDPWD", "PPID", "IFS", "OPTIND", "LINENO", "RANDOM", "SECONDS", "UID", "EUID"}, name)
	}
	for line := range strings.Lines(text) {
		if strings.HasPrefix(strings.TrimSpace(line), "#") || len(changed) == 0 {
			continue
		}
		for at := 0; at < len(line); {
			n := identifier(line[at:])
			name, rest := line[at:at+n], strings.TrimPrefix(line[at+n:], ":")
			read := strings.HasSuffix(line[:at], "$") || strings.HasSuffix(line[:at], "${") && !strings.HasPrefix(rest, "=")
			if _, used := changed[name]; used && !read {
				changed[name] = true
			}
			at += max(n, 1)
		}
	}
	for _, name := range []string{"CATALINA_HOME", "CATALINA_BASE", "CATALINA_TMPDIR", "JSSE_OPTS"} { // as Launch has them
		delete(changed, name)
	}
	return changed
}

// umaskOutput is the variable that stands for the output of the umask command; no other can have such a name.
const umaskOutput = "{umask:output}"

// options returns what the script appends to one of optionVariables, without what the version of Java does not have (0: unknown).
func (s script) options(variable string, sh scriptVariables, javaMajor int) ([]string, error) {
	if variable == "JDK_JAVA_OPTIONS" && javaMajor > 0 && javaMajor < 9 {
		return nil, nil
	}
	var out []string
	length := 0 // of all values
	for _, a := range s.additions {
		if a.variable != variable {
			continue
		}
		lookup := func(name string) string {
			length += len(sh[name])
			if length > maxScript {
				return ""
			}
			return sh[name]
		}
		words, err := jvm.SplitScript(os.Expand(a.text, lookup), lookup) // expanded by the assignment and by the eval
		if length > maxScript {
			err = fmt.Errorf("its variables have more than %d bytes", maxScript)
		}
		if err != nil {
			return nil, fmt.Errorf("cannot take options from %.120q of bin/catalina.sh: %w", a.text, err)
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
