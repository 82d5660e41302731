package tomcat

import (
	"errors"
	"io/fs"
	"strings"

	"github.com/stoker-init/stoker/internal/untrusted"
)

// maxScript bounds what is read of a catalina.sh, in bytes; real ones have 25 KiB.
const maxScript = 1 << 20

// script holds the differences among the catalina.sh of Tomcat's versions that reach the JVM. It is read from the script in CATALINA_HOME,
// never run; scriptByVersion is for homes without one.
type script struct {
	opens          []string // "java.base/java.lang=ALL-UNNAMED"
	canonCaches    bool     // -Dsun.io.useCanonCaches=false (CVE-2024-56337)
	loggingOld     bool     // LOGGING_CONFIG is honoured if it begins with -D
	loggingOldOnly bool     // only LOGGING_CONFIG exists, whatever it begins with
	endorsed       bool     // -D$ENDORSED_PROP=$JAVA_ENDORSED_DIRS (8.5, 9.0, 10.0)
	unread         error    // why an existing script could not be read
}

func readScript(path string, v Version) script {
	data, err := untrusted.ReadFile(path, maxScript)
	s := parseScript(string(data))
	if err != nil || len(s.opens) == 0 && !strings.Contains(string(data), "startup.Bootstrap") { // missing, or a custom wrapper
		s = scriptByVersion(v)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.unread = err
	}
	return s
}

// parseScript finds the assignments that matter. Each is on one line in every catalina.sh since 8.5.
func parseScript(text string) script {
	var s script
	newLogging := false
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "#") {
			continue
		}
		switch {
		case strings.Contains(line, "_OPTS --add-opens=") || strings.Contains(line, "_OPTIONS --add-opens="):
			_, open, _ := strings.Cut(line, "--add-opens=")
			s.opens = append(s.opens, strings.TrimRight(open, `"'`))
		case strings.Contains(line, "-Dsun.io.useCanonCaches=false"):
			s.canonCaches = true
		case strings.HasPrefix(line, "ENDORSED_PROP="):
			s.endorsed = true
		case strings.Contains(line, `CATALINA_LOGGING_CONFIG="$LOGGING_CONFIG"`):
			s.loggingOld = true
		case strings.Contains(line, "CATALINA_LOGGING_CONFIG"):
			newLogging = true
		}
	}
	s.loggingOldOnly = !newLogging && !s.loggingOld
	return s
}

// scriptByVersion is the script of a home without one. 10.1.60 was measured; the others follow the published scripts and were not run: a
// superfluous --add-opens does no harm, so each list is the longest that its branch has had.
func scriptByVersion(v Version) script {
	s := script{
		opens: []string{"java.base/java.lang=ALL-UNNAMED", "java.base/java.lang.reflect=ALL-UNNAMED", "java.base/java.io=ALL-UNNAMED",
			"java.base/java.util=ALL-UNNAMED", "java.base/java.util.concurrent=ALL-UNNAMED", "java.rmi/sun.rmi.transport=ALL-UNNAMED"},
		canonCaches: true,
	}
	if v.Known() && (v.Major < 10 || v.Major == 10 && v.Minor < 1) {
		s.opens = append([]string{s.opens[0], "java.base/java.lang.invoke=ALL-UNNAMED"}, s.opens[1:]...)
		s.loggingOld, s.endorsed = true, true
	}
	return s
}
