// Package hotspot examines a JVM from outside: where it is installed, its version, whether
// it accepts its options, the flags of a running one, and what its output and files say when
// it cannot start, degrades or crashes. It starts no process.
package hotspot

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/stoker-init/stoker/internal/untrusted"
)

// JVM is an installed Java runtime.
type JVM struct {
	Home    string // JAVA_HOME
	Java    string // the binary to start
	Version string // as the release file writes it, such as 17.0.15 or 1.8.0_412; empty: unknown
	Major   int    // 8, 17, ...; 0: unknown, see Note
	Vendor  string
	Arch    string // such as x86_64
	Libc    string // gnu or musl
	Note    string // why something is unknown; usually empty
}

// maxRelease bounds what is read of a release file; real ones have 2 KiB.
const maxRelease = 64 << 10

// inspect fills in what the release file of a home says. Without one, as with Debian's Java 8 and stripped images, the
// class library names Java 8, which is the last with an rt.jar.
func inspect(home, java string) JVM {
	j := JVM{Home: home, Java: java}
	places := []string{home}
	if filepath.Base(home) == "jre" {
		places = append(places, filepath.Dir(home)) // a JRE in a JDK 8
	}
	for _, dir := range places {
		file := filepath.Join(dir, "release")
		text, err := untrusted.ReadFile(file, maxRelease)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			j.Note = fmt.Sprintf("cannot read %s: %v", file, err)
			return j
		}
		values := parseRelease(string(text))
		j.Version, j.Vendor, j.Arch, j.Libc = values["JAVA_VERSION"], values["IMPLEMENTOR"], values["OS_ARCH"], values["LIBC"]
		if j.Major = ParseMajor(j.Version); j.Major == 0 {
			j.Note = fmt.Sprintf("%s names no JAVA_VERSION that makes sense", file)
		}
		return j
	}
	for _, lib := range []string{"lib/rt.jar", "jre/lib/rt.jar"} {
		if _, err := os.Stat(filepath.Join(home, lib)); err == nil {
			j.Major = 8
			return j
		}
	}
	j.Note = fmt.Sprintf("version unknown: there is no %s", filepath.Join(home, "release"))
	return j
}

// HasOtherModules reports whether the runtime of a home has modules that are not Java's, as one that jlink makes for an application.
func HasOtherModules(home string) bool {
	text, _ := untrusted.ReadFile(filepath.Join(home, "release"), maxRelease) // jlink writes one
	return slices.ContainsFunc(strings.Fields(parseRelease(string(text))["MODULES"]), func(name string) bool {
		return !strings.HasPrefix(name, "java.") && !strings.HasPrefix(name, "jdk.")
	})
}

// With returns the JVM with the version that it printed itself, where no file has it.
func (j JVM) With(version string) JVM {
	if major := ParseMajor(version); j.Version == "" && major > 0 {
		j.Version, j.Major, j.Note = version, major, ""
	}
	return j
}

// parseRelease reads KEY="value" lines; whatever else there is, is skipped.
func parseRelease(text string) map[string]string {
	values := map[string]string{}
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(line, "=")
		values[strings.TrimSpace(key)] = strings.Trim(strings.TrimSpace(value), `"`)
	}
	return values
}

// ParseMajor returns the feature release of a version: 17 for 17.0.15, 25 for
// 25-ea, 8 for 1.8.0_412; 0 for what is no version.
func ParseMajor(version string) int {
	version = strings.TrimPrefix(version, "1.")
	n, err := strconv.Atoi(version[:len(version)-len(strings.TrimLeft(version, "0123456789"))])
	if err != nil || n > 9999 {
		return 0
	}
	return n
}
