package hotspot

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// install makes a folder that looks like a JVM; an empty version leaves the
// release file out.
func install(t *testing.T, home, version string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(home, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	java := filepath.Join(home, "bin/java")
	if err := os.WriteFile(java, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if version != "" {
		text := "IMPLEMENTOR=\"Somebody\"\nJAVA_VERSION=\"" + version + "\"\nOS_ARCH=\"x86_64\"\n"
		if err := os.WriteFile(filepath.Join(home, "release"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return home
}

func environment(pairs ...string) func(string) string {
	return func(name string) string {
		for i := 0; i+1 < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1]
			}
		}
		return ""
	}
}

func TestFindOrder(t *testing.T) {
	dir := t.TempDir()
	a := install(t, dir+"/a", "17.0.15")
	b := install(t, dir+"/b", "21.0.1")
	old := install(t, dir+"/jdk8/jre", "")
	if err := os.WriteFile(dir+"/jdk8/release", []byte("JAVA_VERSION=\"1.8.0_412\"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(dir+"/bin", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../a/bin/java", dir+"/bin/java"); err != nil {
		t.Fatal(err)
	}
	install(t, dir+"/root/usr/lib/jvm/java-9", "9.0.4")
	newer := install(t, dir+"/root/usr/lib/jvm/java-11", "11.0.20")
	install(t, dir+"/root/usr/lib/jvm/java-11-old", "11.0.3")
	bare := install(t, dir+"/bare", "")
	jre8, jdk8 := install(t, dir+"/debian8/jre", ""), install(t, dir+"/bare8", "")
	for _, lib := range []string{jre8 + "/lib", jdk8 + "/jre/lib"} {
		if err := errors.Join(os.MkdirAll(lib, 0o755), os.WriteFile(lib+"/rt.jar", nil, 0o600)); err != nil {
			t.Fatal(err)
		}
	}

	for _, tc := range []struct {
		name, root, configured string
		env                    func(string) string
		home, found            string
		major                  int
	}{
		{"configured home", "", a, environment("JAVA_HOME", b), a, "configured", 17},
		{"configured binary", "", a + "/bin/java", environment(), a, "configured", 17},
		{"JRE_HOME wins as in catalina.sh", "", "", environment("JRE_HOME", a, "JAVA_HOME", b), a, "JRE_HOME", 17},
		{"JAVA_HOME", "", "", environment("JAVA_HOME", b, "PATH", dir+"/bin"), b, "JAVA_HOME", 21},
		{"JRE below a JDK 8", "", "", environment("JAVA_HOME", dir+"/jdk8"), old, "JAVA_HOME", 8},
		{"PATH through a link", "", "", environment("PATH", "::relative:"+dir+"/bin"), a, "PATH", 17},
		{"newest of a folder", dir + "/root", "", environment("PATH", "/nowhere"), newer, "/usr/lib/jvm/*", 11},
		{"no release file", "", bare, environment(), bare, "configured", 0},
		{"Java 8 of Debian, without release file", "", dir + "/debian8", environment(), jre8, "configured", 8},
		{"JDK 8 without release file", "", jdk8, environment(), jdk8, "configured", 8},
	} {
		j, found, err := find(tc.root, tc.configured, tc.env)
		if err != nil || j.Home != tc.home || found != tc.found || j.Major != tc.major || !strings.HasSuffix(j.Java, "/bin/java") {
			t.Errorf("%s: %+v, %q, %v", tc.name, j, found, err)
		}
		if (j.Major == 0) != (j.Note != "") {
			t.Errorf("%s: note %q", tc.name, j.Note)
		}
	}
}

// find looks with the settings of a service of kind java.
func find(root, configured string, env func(string) string) (JVM, string, error) {
	return Find(root, env("PATH"), Setting{"configured", configured, "app.yaml:3"}, Setting{Name: "JRE_HOME", Value: env("JRE_HOME")},
		Setting{Name: "JAVA_HOME", Value: env("JAVA_HOME")})
}

func TestFindErrors(t *testing.T) {
	dir := t.TempDir()
	home := install(t, dir+"/a", "17")
	if err := os.Chmod(home+"/bin/java", 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, configured string
		env              func(string) string
		want             []string
	}{
		{"missing", dir + "/x", environment(), []string{"cannot use configured", dir + "/x\" (set in app.yaml:3): no such file"}},
		{"not executable", "", environment("JAVA_HOME", home), []string{"JAVA_HOME", "bin/java", "not executable"}},
		{"wrong JRE_HOME is not passed over", "", environment("JRE_HOME", dir+"/y", "JAVA_HOME", home), []string{"JRE_HOME", dir + "/y"}},
		{"nothing", "", environment("PATH", dir), []string{"JAVA_HOME", "PATH", dir, "/usr/lib/jvm/*", "install"}},
	} {
		_, _, err := find(dir, tc.configured, tc.env)
		if err == nil {
			t.Errorf("%s: no error", tc.name)
			continue
		}
		for _, w := range tc.want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %q is not in %q", tc.name, w, err)
			}
		}
	}
}

func TestParseMajor(t *testing.T) {
	for text, want := range map[string]int{"17.0.15": 17, "1.8.0_412": 8, "25-ea": 25, "9": 9, "21.0.1+12": 21, "": 0, "x": 0, "1.": 0,
		"999999": 0} {
		if got := ParseMajor(text); got != want {
			t.Errorf("ParseMajor(%q) = %d, want %d", text, got, want)
		}
	}
}

// The real JVM of this machine, where there is one in the usual folder.
func TestFindReal(t *testing.T) {
	j, found, err := Find("/", os.Getenv("PATH"))
	if err != nil {
		if os.Getenv("STOKER_CI") == "1" {
			t.Fatal(err)
		}
		t.Skipf("no JVM here: %v", err)
	}
	if j.Major < 8 || j.Version == "" && j.Major != 8 || found == "" { // Debian's Java 8 has no release file
		t.Errorf("%+v found by %s", j, found)
	}
}

func FuzzParseRelease(f *testing.F) {
	f.Add("JAVA_VERSION=\"17.0.15\"\nOS_ARCH=\"x86_64\"\n")
	f.Add("JAVA_VERSION=\"\nJAVA_VERSION=1.8.0_412\r\n=\n")
	f.Fuzz(func(t *testing.T, text string) {
		for k, v := range parseRelease(text) {
			if k == "" && v == "" {
				continue
			}
			if n := ParseMajor(v); n < 0 || n > 9999 {
				t.Errorf("major %d of %q", n, v)
			}
		}
	})
}
