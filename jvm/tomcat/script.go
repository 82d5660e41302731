package tomcat

import (
	"bufio"
	"bytes"
	"errors"
	"io/fs"
	"strings"

	"github.com/stoker-init/stoker/internal/untrusted"
)

// maxScript bounds what is read of a catalina.sh, in bytes; real ones have 25 KiB.
const maxScript = 1 << 20

// script holds the differences among the catalina.sh of Tomcat's versions that reach the JVM.
// It is read from the script in CATALINA_HOME, never run; scriptByVersion is for homes
// without one.
type script struct {
	opens          []string // "java.base/java.lang=ALL-UNNAMED"
	opensInEnv     bool     // by JDK_JAVA_OPTIONS (8.5, 9.0, early 10.1) instead of JAVA_OPTS
	canonCaches    bool     // -Dsun.io.useCanonCaches=false (CVE-2024-56337)
	loggingOld     bool     // LOGGING_CONFIG is honoured if it begins with -D
	loggingOldOnly bool     // only LOGGING_CONFIG exists, whatever it begins with
	endorsed       bool     // -D$ENDORSED_PROP=$JAVA_ENDORSED_DIRS (8.5, 9.0, 10.0)
	from           string
	unread         error // why an existing script could not be read
}

func readScript(path string, v Version) script {
	data, err := untrusted.ReadFile(path, maxScript)
	if err != nil {
		s := scriptByVersion(v)
		if !errors.Is(err, fs.ErrNotExist) {
			s.unread = err
		}
		return s
	}
	s := parseScript(data)
	if len(s.opens) == 0 && !bytes.Contains(data, []byte("startup.Bootstrap")) {
		// A custom wrapper has none of it.
		return scriptByVersion(v)
	}
	s.from = path
	return s
}

// parseScript finds the assignments that matter. Each is on one line in every catalina.sh
// since 8.5.
func parseScript(data []byte) script {
	var s script
	newLogging := false
	sc := bufio.NewScanner(bytes.NewReader(data))
	for sc.Scan() {
		line := strings.TrimSpace(sc.Text())
		if strings.HasPrefix(line, "#") {
			continue
		}
		switch {
		case strings.Contains(line, "_OPTS --add-opens=") || strings.Contains(line, "_OPTIONS --add-opens="):
			_, open, _ := strings.Cut(line, "--add-opens=")
			s.opens = append(s.opens, strings.TrimRight(open, `"'`))
			s.opensInEnv = strings.HasPrefix(line, "JDK_JAVA_OPTIONS=")
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

// scriptByVersion is the script of a home without one. 10.1.60 was measured; the others
// follow the published scripts and were not run: a superfluous --add-opens does no harm, so
// each list is the longest that its branch has had.
func scriptByVersion(v Version) script {
	s := script{
		opens: []string{
			"java.base/java.lang=ALL-UNNAMED",
			"java.base/java.lang.reflect=ALL-UNNAMED",
			"java.base/java.io=ALL-UNNAMED",
			"java.base/java.util=ALL-UNNAMED",
			"java.base/java.util.concurrent=ALL-UNNAMED",
			"java.rmi/sun.rmi.transport=ALL-UNNAMED",
		},
		canonCaches: true,
		from:        "the table for Tomcat " + v.String(),
	}
	if v.Known() && (v.Major < 10 || v.Major == 10 && v.Minor < 1) {
		s.opens = append([]string{s.opens[0], "java.base/java.lang.invoke=ALL-UNNAMED"}, s.opens[1:]...)
		s.opensInEnv = true
		s.loggingOld = true
		s.endorsed = true
	}
	return s
}
