package tomcat

import (
	"archive/zip"
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/stoker-init/stoker/jvm/hotspot"

	"github.com/stoker-init/stoker/internal/untrusted"
	"golang.org/x/sys/unix"
)

// ErrNotFound is returned by Find when there is no Tomcat.
var ErrNotFound = errors.New("no Tomcat found")

// Install is a Tomcat on disk: a home (the program) and a base (one instance).
type Install struct {
	Home, Base string
	// HomeFrom and BaseFrom say how each was found.
	HomeFrom, BaseFrom string
	Version            Version // of lib/catalina.jar
	script             script
}

// Version is a Tomcat's "server.number"; zero: unknown.
type Version struct{ Major, Minor, Patch int }

// Known reports whether the version could be read.
func (v Version) Known() bool { return v.Major > 0 }

// String is "10.1.60", or "unknown".
func (v Version) String() string {
	if !v.Known() {
		return "unknown"
	}
	return fmt.Sprintf("%d.%d.%d", v.Major, v.Minor, v.Patch)
}

// String describes the installation in one line.
func (in Install) String() string {
	return fmt.Sprintf("Tomcat %s, home %s (%s), base %s (%s)", in.Version, in.Home, in.HomeFrom, in.Base, in.BaseFrom)
}

// Find locates Tomcat: configuration, then CATALINA_HOME and CATALINA_BASE of env, then the places where images and distributions put it.
// An explicit setting is never replaced by another place. The error names each place.
func Find(cfg Config, env map[string]string) (Install, error) { return find(cfg, env, "/") }

func find(cfg Config, env map[string]string, root string) (Install, error) {
	home, from, err := findHome(cfg, env, root)
	if err != nil {
		return Install{}, err
	}
	// Debian has conf/ of the packaged instance beside, not in, home.
	debian := filepath.Join(root, "var/lib", filepath.Base(home))
	base, baseFrom := debian, "the packaged instance of this home"
	switch {
	case cfg.Base != "":
		base, baseFrom = cfg.Base, "tomcat.base in the configuration"
	case env["CATALINA_BASE"] != "":
		base, baseFrom = env["CATALINA_BASE"], "CATALINA_BASE"
	case hasServerXML(home):
		base, baseFrom = home, "same as home"
	case !hasServerXML(debian):
		return Install{}, fmt.Errorf("cannot use Tomcat at %s (%s): no conf/server.xml in it (nor in %s), and no base is set\n"+
			"hint: set tomcat.base or CATALINA_BASE to a directory with conf/server.xml", home, from, debian)
	}
	in, err := open(home, base)
	in.HomeFrom, in.BaseFrom = from, baseFrom
	return in, err
}

// open inspects the Tomcat at home and base. It fails if home is no Tomcat, if base has no conf/server.xml, and, as catalina.sh does, if a
// path has a colon, which separates the entries of a class path.
func open(home, base string) (Install, error) {
	home, errHome := filepath.Abs(home)
	base, errBase := filepath.Abs(base)
	if err := errors.Join(errHome, errBase); err != nil {
		return Install{}, fmt.Errorf("cannot resolve the paths of Tomcat: %w", err)
	}
	for name, dir := range map[string]string{"CATALINA_HOME": home, "CATALINA_BASE": base} {
		if strings.Contains(dir, ":") {
			return Install{}, fmt.Errorf("cannot use %s %q: a colon separates entries of the class path", name, dir)
		}
	}
	if !isHome(home) {
		return Install{}, fmt.Errorf("cannot use CATALINA_HOME %s: neither bin/bootstrap.jar nor lib/catalina.jar is in it", home)
	}
	if !hasServerXML(base) {
		return Install{}, fmt.Errorf("cannot use CATALINA_BASE %s: no conf/server.xml in it", base)
	}
	version := readVersion(filepath.Join(home, "lib/catalina.jar"))
	return Install{Home: home, Base: base, Version: version, script: readScript(filepath.Join(home, "bin/catalina.sh"), version)}, nil
}

func findHome(cfg Config, env map[string]string, root string) (home, from string, err error) {
	home, from = cfg.Home, "tomcat.home in the configuration"
	if home == "" {
		home, from = env["CATALINA_HOME"], "CATALINA_HOME"
	}
	switch {
	case home == "":
	case isHome(home):
		return home, from, nil
	default:
		return "", "", fmt.Errorf("%w: %s is %s, but neither bin/bootstrap.jar nor lib/catalina.jar is in it", ErrNotFound, from, home)
	}
	places := wellKnown(root)
	if k := slices.IndexFunc(places, isHome); k >= 0 {
		return places[k], "found there", nil
	}
	return "", "", fmt.Errorf("%w: tomcat.home and CATALINA_HOME are not set, and none of these has bin/bootstrap.jar or "+
		"lib/catalina.jar: %s\nhint: set tomcat.home", ErrNotFound, strings.Join(places, ", "))
}

// wellKnown lists candidates: the official image's place first, then the newest version.
func wellKnown(root string) []string {
	var out []string
	for _, pattern := range []string{"usr/local/tomcat", "usr/share/tomcat11", "usr/share/tomcat10", "usr/share/tomcat9", "usr/share/tomcat8",
		"usr/share/tomcat", "opt/tomcat", "opt/bitnami/tomcat", "opt/tomcat*", "opt/apache-tomcat*", "usr/local/apache-tomcat*",
		"usr/local/tomcat*"} {
		found := []string{filepath.Join(root, pattern)}
		if strings.HasSuffix(pattern, "*") {
			found, _ = filepath.Glob(found[0]) // only a bad pattern fails
		}
		slices.SortFunc(found, func(a, b string) int { // tomcat-10 before tomcat-9
			return cmp.Or(slices.Compare(hotspot.Numbers(b), hotspot.Numbers(a)), strings.Compare(b, a))
		})
		for _, f := range found {
			if !slices.Contains(out, f) {
				out = append(out, f)
			}
		}
	}
	return out
}

func isHome(dir string) bool {
	return isFile(filepath.Join(dir, "bin/bootstrap.jar")) || isFile(filepath.Join(dir, "lib/catalina.jar"))
}

func hasServerXML(dir string) bool { return isFile(Install{Base: dir}.ServerFile()) }

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// readable is the shell's [ -r ]: the file could be opened for reading.
func readable(path string) bool {
	return unix.Faccessat(unix.AT_FDCWD, path, unix.R_OK, unix.AT_EACCESS) == nil
}

// readVersion returns the version in the jar, or an unknown one: then options are not chosen by version.
func readVersion(jar string) (v Version) {
	_, _ = untrusted.ReadJar(jar, maxJar, func(f *zip.File) error {
		if f.Name != "org/apache/catalina/util/ServerInfo.properties" {
			return nil
		}
		data, err := readEntry(f)
		_, _ = fmt.Sscanf(Properties(data)["server.number"], "%d.%d.%d", &v.Major, &v.Minor, &v.Patch) // what is missing stays 0
		return err
	})
	return v
}

// Bounds in bytes: of a jar, whose directory is held in memory (catalina.jar has 1.9 MB), and of one file in it (Tomcat's largest
// LocalStrings has about 50 KiB).
const (
	maxJar   = 4 << 20
	maxEntry = 256 << 10
)

func readEntry(f *zip.File) ([]byte, error) {
	rc, err := f.Open()
	if err != nil {
		return nil, err
	}
	defer rc.Close()
	data, err := untrusted.ReadAll(rc, maxEntry)
	if err != nil {
		err = fmt.Errorf("%s: %w", f.Name, err)
	}
	return data, err
}
