package hotspot

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/stoker-init/stoker/internal/untrusted"
)

// Setting is what names a JVM: a home folder or a java binary. An empty one does not.
type Setting struct {
	Name, Value string
	From        string // where it was set, for an error; empty: not known
}

// Find returns the JVM to use and why this one: the name of a setting, "PATH" or the
// folder pattern that it was found under. root is put before the well-known folders
// only; "" or "/" is the live system.
//
// The order is that of catalina.sh: the first of the settings, java in PATH; then
// well-known folders, the newest version first. A setting that is wrong is an error
// and not passed over, as in catalina.sh: another java than the one asked for would
// be a surprise.
func Find(root, path string, settings ...Setting) (jvm JVM, found string, err error) {
	for _, s := range settings {
		if s.Value == "" {
			continue
		}
		j, err := fromExplicit(s.Value)
		if err != nil {
			from := ""
			if s.From != "" {
				from = " (set in " + s.From + ")"
			}
			return JVM{}, "", fmt.Errorf("cannot use %s %q%s: %w; set it to the folder that holds bin/java", s.Name, s.Value, from, err)
		}
		return j, s.Name, nil
	}
	for _, dir := range filepath.SplitList(path) {
		// An empty or relative entry means the working folder, which is no place
		// to take a JVM from.
		if !filepath.IsAbs(dir) {
			continue
		}
		if java := filepath.Join(dir, "java"); executable(java) == nil {
			return fromBinary(java), "PATH", nil
		}
	}
	for _, p := range wellKnown {
		if j, ok := newest(filepath.Join(root, p)); ok {
			return j, p, nil
		}
	}
	return JVM{}, "", fmt.Errorf("cannot find a JVM: JRE_HOME and JAVA_HOME are not set, no java in PATH (%s), and none in %s; "+
		"install a JRE in the image or set JAVA_HOME", path, strings.Join(wellKnown, ", "))
}

// wellKnown are the places where Debian, Red Hat, Temurin, OpenJDK, Bitnami and
// Oracle put a JVM.
var wellKnown = []string{
	"/opt/java/openjdk", "/usr/local/openjdk-*", "/usr/lib/jvm/*", "/usr/lib64/jvm/*", "/opt/java/*",
	"/opt/bitnami/java", "/usr/java/*", "/usr/local/jdk*", "/usr/local/jre*", "/opt/jdk*", "/opt/jre*", "/opt/graalvm*",
}

// newest returns the JVM of the highest version below a pattern.
func newest(pattern string) (JVM, bool) {
	homes, _ := filepath.Glob(pattern) // only a malformed pattern fails
	var all []JVM
	for _, home := range homes {
		if java, err := javaOf(home); err == nil {
			all = append(all, fromBinary(java))
		}
	}
	if len(all) == 0 {
		return JVM{}, false
	}
	return slices.MaxFunc(all, func(a, b JVM) int {
		return cmp.Or(cmp.Compare(a.Major, b.Major), slices.Compare(Numbers(a.Version), Numbers(b.Version)), cmp.Compare(b.Home, a.Home))
	}), true
}

// Numbers returns the numbers in a version or a file name, to order them by.
func Numbers(version string) []int {
	var all []int
	for _, f := range strings.FieldsFunc(version, func(r rune) bool { return r < '0' || r > '9' }) {
		if n, err := strconv.Atoi(f); err == nil {
			all = append(all, n)
		}
	}
	return all
}

// fromExplicit takes a home folder or a java binary.
func fromExplicit(value string) (JVM, error) {
	value, err := filepath.Abs(value)
	if err != nil {
		return JVM{}, err
	}
	info, err := os.Stat(value)
	if err != nil {
		return JVM{}, untrusted.Cause(err)
	}
	if !info.IsDir() {
		if err := executable(value); err != nil {
			return JVM{}, err
		}
		j := fromBinary(value)
		j.Java = value
		return j, nil
	}
	java, err := javaOf(value)
	if err != nil {
		return JVM{}, err
	}
	return inspect(filepath.Dir(filepath.Dir(java)), java), nil
}

// javaOf finds java in a home folder, or in the JRE of a JDK 8.
func javaOf(home string) (java string, err error) {
	java = filepath.Join(home, "bin/java")
	if err = executable(java); err == nil {
		return java, nil
	}
	if jre := filepath.Join(home, "jre/bin/java"); executable(jre) == nil {
		return jre, nil
	}
	return "", fmt.Errorf("cannot run %s: %w", java, err)
}

// fromBinary resolves links, /usr/bin/java to /usr/lib/jvm/.../bin/java, to find
// the home.
func fromBinary(java string) JVM {
	target, err := filepath.EvalSymlinks(java)
	if err != nil {
		target = java
	}
	return inspect(filepath.Dir(filepath.Dir(target)), target)
}

// executable says why a path cannot be started as a program.
func executable(path string) error {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return untrusted.Cause(err)
	case !info.Mode().IsRegular():
		return errors.New("not a regular file")
	case info.Mode().Perm()&0o111 == 0:
		return errors.New("not executable")
	}
	return nil
}
