package tomcat

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// dump is what the stand-in for java has recorded.
type dump struct {
	Argv, Env []string
	Umask     int
	Dir       string
}

// TestMain lets the test binary stand in for java: called by that name it records its arguments and environment.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) != "java" {
		os.Exit(m.Run())
	}
	dir, _ := os.Getwd()
	data, err := json.Marshal(dump{os.Args, os.Environ(), syscall.Umask(0), dir})
	if err == nil {
		err = os.WriteFile(os.Getenv("TEST_DUMP"), data, 0o600)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// skip skips a test, or fails it in CI.
func skip(t *testing.T, reason string) {
	t.Helper()
	if os.Getenv("STOKER_CI") == "1" {
		t.Fatal(reason)
	}
	t.Skip(reason)
}

// realHome returns the home of an installed Tomcat.
func realHome(t *testing.T) string {
	t.Helper()
	for _, dir := range []string{os.Getenv("STOKER_TEST_TOMCAT_HOME"), "/usr/share/tomcat10"} {
		if dir != "" && isFile(filepath.Join(dir, "bin/catalina.sh")) && isFile(filepath.Join(dir, "lib/catalina.jar")) {
			return dir
		}
	}
	skip(t, "no Tomcat: set STOKER_TEST_TOMCAT_HOME or install tomcat10-common and libtomcat10-java")
	return ""
}

// homeCopy returns a copy of the installed Tomcat with a writable bin and all languages.
func homeCopy(t *testing.T) string {
	t.Helper()
	installed, home := realHome(t), t.TempDir()
	for _, sub := range []string{"bin", "lib"} {
		if err := os.Mkdir(filepath.Join(home, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	scripts, _ := filepath.Glob(installed + "/bin/*")
	for _, s := range scripts {
		if filepath.Base(s) != "setenv.sh" {
			data, err := os.ReadFile(s)
			if err != nil {
				t.Fatal(err)
			}
			put(t, filepath.Join(home, "bin", filepath.Base(s)), string(data), 0o755)
		}
	}
	jars, _ := filepath.Glob(installed + "/lib/*.jar")
	extra, _ := filepath.Glob("/usr/share/java/tomcat10-i18n-??.jar")
	more, _ := filepath.Glob("/usr/share/java/tomcat10-i18n-??-??.jar")
	for _, j := range append(append(jars, extra...), more...) {
		name := strings.Replace(filepath.Base(j), "tomcat10-", "tomcat-", 1)
		if err := os.Symlink(j, filepath.Join(home, "lib", name)); err != nil && !errors.Is(err, os.ErrExist) {
			t.Fatal(err)
		}
	}
	return home
}

func put(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

// newBase returns an instance with a small server.xml.
func newBase(t *testing.T) string {
	t.Helper()
	base := t.TempDir()
	put(t, base+"/conf/server.xml", `<Server port="-1">
  <Service name="Catalina">
    <Connector port="${http.port:-0}" address="127.0.0.1"/>
    <Engine name="Catalina" defaultHost="localhost">
      <Host name="localhost" appBase="webapps" autoDeploy="false"/>
    </Engine>
  </Service>
</Server>
`, 0o644)
	return base
}

// execRunner is a Runner for tests.
func execRunner(ctx context.Context, argv, env []string, dir string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env, cmd.Dir, cmd.WaitDelay = env, dir, time.Second
	return cmd.CombinedOutput()
}

// shellRunner runs the same under another shell.
func shellRunner(shell ...string) Runner {
	return func(ctx context.Context, argv, env []string, dir string) ([]byte, error) {
		return execRunner(ctx, append(append([]string(nil), shell...), argv[1:]...), env, dir)
	}
}
