package tomcat

import (
	"archive/zip"
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stoker-init/stoker/internal/untrusted"
)

// hostileBase returns a Tomcat whose home is its base.
func hostileBase(t *testing.T) string {
	t.Helper()
	base := t.TempDir()
	put(t, base+"/conf/server.xml", `<Server port="-1"><Service name="C"><Engine name="C"><Host name="localhost"/></Engine></Service></Server>`, 0o644)
	put(t, base+"/conf/catalina.properties", "a=b\n", 0o644)
	put(t, base+"/conf/logging.properties", "a=b\n", 0o644)
	put(t, base+"/bin/catalina.sh", "exec java startup.Bootstrap\n", 0o755)
	put(t, base+"/bin/bootstrap.jar", "", 0o644)
	put(t, base+"/logs/localhost.2026-01-01.log", "text\n", 0o644)
	for _, name := range []string{"catalina.jar", "tomcat-i18n-xx.jar"} {
		put(t, base+"/lib/"+name, jar(t, "org/apache/catalina/startup/LocalStrings.properties", "catalina.startup=started in {0} ms\n"), 0o644)
	}
	if err := os.Mkdir(base+"/webapps", 0o755); err != nil {
		t.Fatal(err)
	}
	return base
}

func jar(t *testing.T, name, text string) string {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	w, err := z.Create(name)
	if err == nil {
		_, err = w.Write([]byte(text))
	}
	if err == nil {
		err = z.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// readAll reads every file of a Tomcat that stoker reads, and returns the errors.
func readAll(base string) string {
	in, err := open(base, base)
	if err != nil {
		return err.Error()
	}
	var said []string
	note := func(err error) {
		if err != nil {
			said = append(said, err.Error())
		}
	}
	read := func(path string) ([]byte, error) { return untrusted.ReadFile(path, 1<<20) }
	x, err := in.ServerXML(Inputs{Read: read})
	note(err)
	said = append(said, x.Notes...)
	if _, all := in.Applications(x); !all {
		said = append(said, "not all applications")
	}
	launch, err := in.Launch(Options{Java: "/java"})
	note(err)
	said = append(said, launch.Notes...)
	in.SetenvFile()
	p, err := LoadPatterns(base)
	note(err)
	_, _, err = p.FindCause(base, Finding{Kind: ContextFailed, Context: "/a"}, time.Time{})
	note(err)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	FollowLogs(ctx, base, func([]byte) {})
	l := newLogFollower(base)
	clear(l.files)
	l.poll(func([]byte) {})
	if !in.Version.Known() {
		said = append(said, "unknown version")
	}
	return strings.ReplaceAll(strings.Join(said, "\n"), base, "BASE")
}

// A service's user may put anything into a Tomcat's folders. Reading it does not block, is bounded, and reports what was not read.
func TestHostileTomcat(t *testing.T) {
	clean := readAll(hostileBase(t))
	for _, file := range []string{"conf/server.xml", "conf/catalina.properties", "conf/logging.properties", "bin/catalina.sh", "bin/setenv.sh",
		"lib/catalina.jar", "lib/tomcat-i18n-xx.jar", "logs/localhost.2026-01-01.log", "webapps", "logs", "lib"} {
		for _, kind := range []string{"fifo", "zero", "huge", "line", "folder", "crowd"} {
			if kind == "crowd" && strings.Contains(file, "/") {
				continue
			}
			t.Run(strings.ReplaceAll(file, "/", "-")+"/"+kind, func(t *testing.T) {
				base := hostileBase(t)
				path := filepath.Join(base, file)
				if err := os.RemoveAll(path); err != nil {
					t.Fatal(err)
				}
				hostile(t, path, kind)
				said, took := "", uint64(0)
				done := make(chan bool)
				go func() { // ends by itself, or the test has failed
					defer close(done)
					var before, after runtime.MemStats
					runtime.ReadMemStats(&before)
					said = readAll(base)
					runtime.ReadMemStats(&after)
					took = after.TotalAlloc - before.TotalAlloc
				}()
				select {
				case <-done:
				case <-time.After(20 * time.Second):
					t.Fatal("reading blocks")
				}
				if took > 48<<20 {
					t.Errorf("reading took %d MiB", took>>20)
				}
				known := file == "conf/logging.properties" || file == "bin/setenv.sh" || file == "logs" || // only whether they are there
					file == "logs/localhost.2026-01-01.log" && kind != "fifo" && kind != "zero" && kind != "folder" ||
					kind == "folder" && (file == "webapps" || file == "lib")
				if !known && said == clean {
					t.Errorf("nothing is reported: %s", said)
				}
			})
		}
	}
}

func hostile(t *testing.T, path, kind string) {
	t.Helper()
	var err error
	switch kind {
	case "fifo":
		err = syscall.Mkfifo(path, 0o600)
	case "zero":
		err = os.Symlink("/dev/zero", path)
	case "huge":
		put(t, path, "", 0o644)
		err = os.Truncate(path, 20<<30)
	case "line":
		put(t, path, strings.Repeat("x", 6<<20), 0o644)
	case "folder":
		err = os.Mkdir(path, 0o755)
	case "crowd":
		if err = os.Mkdir(path, 0o755); err == nil {
			for k := range maxNames + 1 {
				put(t, fmt.Sprintf("%s/localhost.%d.log", path, k), "", 0o644)
			}
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A jar with a large compressed file, and one with many messages.
func TestHostileJar(t *testing.T) {
	dir := t.TempDir()
	many := func(text string) string {
		var b bytes.Buffer
		z := zip.NewWriter(&b)
		for k := range 3000 {
			w, err := z.Create(fmt.Sprintf("org/apache/catalina/startup/LocalStrings_%d.properties", k))
			if err == nil {
				_, err = fmt.Fprintf(w, text, k)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	for name, c := range map[string]struct{ content, want string }{
		"bomb":  {jar(t, "org/apache/catalina/startup/LocalStrings.properties", "catalina.startup="+strings.Repeat("x", 64<<20)), "too large"},
		"large": {many("catalina.startup={0} text %d" + strings.Repeat("x", 100_000)), "too large"},
		"many":  {many("catalina.startup=text %d"), ""},
	} {
		put(t, dir+"/"+name+"/lib/catalina.jar", c.content, 0o644)
		p, err := LoadPatterns(dir + "/" + name)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		if p.count() > maxMessages {
			t.Errorf("%s: %d messages", name, p.count())
		}
	}
}
