package tomcat

import (
	"errors"
	"os"
	"strings"
	"testing"
)

func TestFind(t *testing.T) {
	root := t.TempDir()
	put(t, root+"/usr/share/tomcat10/lib/catalina.jar", "not a zip", 0o644)
	_, err := find(Config{}, nil, t.TempDir())
	if !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "/usr/local/tomcat") || !strings.Contains(err.Error(), "/opt/tomcat") {
		t.Errorf("nothing there: %v", err)
	}
	if _, err := find(Config{}, nil, root); err == nil || !strings.Contains(err.Error(), "conf/server.xml") {
		t.Errorf("home without conf: %v", err)
	}
	put(t, root+"/var/lib/tomcat10/conf/server.xml", "<Server/>", 0o644)
	in, err := find(Config{}, nil, root)
	if err != nil || in.Base != root+"/var/lib/tomcat10" || in.Home != root+"/usr/share/tomcat10" || in.Version.Known() {
		t.Errorf("Debian: %v, %v", in, err)
	}
	put(t, root+"/opt/apache-tomcat-9.0.9/bin/bootstrap.jar", "", 0o644)
	put(t, root+"/opt/apache-tomcat-9.0.10/bin/bootstrap.jar", "", 0o644)
	if err := os.RemoveAll(root + "/usr"); err != nil {
		t.Fatal(err)
	}
	put(t, root+"/opt/apache-tomcat-9.0.10/conf/server.xml", "<Server/>", 0o644)
	if in, err := find(Config{}, nil, root); err != nil || !strings.HasSuffix(in.Home, "9.0.10") || in.BaseFrom != "same as home" {
		t.Errorf("newest: %v, %v", in, err)
	}
	env := map[string]string{"CATALINA_HOME": root + "/opt/apache-tomcat-9.0.9", "CATALINA_BASE": root + "/var/lib/tomcat10"}
	in, err = find(Config{}, env, root)
	if err != nil || in.HomeFrom != "CATALINA_HOME" || in.Base != env["CATALINA_BASE"] {
		t.Errorf("environment: %v, %v", in, err)
	}
	in, err = find(Config{Home: root + "/opt/apache-tomcat-9.0.10", Base: root + "/opt/apache-tomcat-9.0.10"}, env, root)
	if err != nil || !strings.HasSuffix(in.Home, "9.0.10") || !strings.HasSuffix(in.Base, "9.0.10") {
		t.Errorf("configuration: %v, %v", in, err)
	}
	if _, err := find(Config{Home: root}, nil, root); err == nil || !strings.Contains(err.Error(), root) {
		t.Errorf("wrong home: %v", err)
	}
	if _, err := find(Config{Base: "/nonexistent"}, env, root); err == nil || !strings.Contains(err.Error(), "/nonexistent") {
		t.Errorf("wrong base: %v", err)
	}
	colon := t.TempDir() + "/a:b"
	put(t, colon+"/bin/bootstrap.jar", "", 0o644)
	put(t, colon+"/conf/server.xml", "<Server/>", 0o644)
	if _, err := find(Config{Home: colon}, nil, root); err == nil || !strings.Contains(err.Error(), "colon") {
		t.Errorf("colon: %v", err)
	}
}

func TestRealVersion(t *testing.T) {
	if v := readVersion(realHome(t) + "/lib/catalina.jar"); v.Major < 8 {
		t.Errorf("version %v", v)
	}
}

func TestJavaSetting(t *testing.T) {
	env := map[string]string{"JAVA_HOME": "/jdk"}
	if p, from, ok := JavaSetting(env, nil); p != "/jdk" || from != "JAVA_HOME" || !ok {
		t.Error(p, from, ok)
	}
	if p, _, _ := JavaSetting(env, map[string]string{"JRE_HOME": "/jre"}); p != "/jre" {
		t.Error(p)
	}
	if _, _, ok := JavaSetting(nil, nil); ok {
		t.Error("a java without a setting")
	}
}

func TestProperties(t *testing.T) {
	got := Properties([]byte("# c\n! c\na=1\n b : 2\nc 3\nd=x\\\n   y\\\\\ne=\\u4e2d\\t\\\\\nf=é\ng\\=h=i\nj=\\uD83D\\uDE00\nk=\\uZZZZ\nl\n\nm=\r\nn=a=b"))
	for key, want := range map[string]string{"a": "1", "b": "2", "c": "3", "d": `xy\`, "e": "中\t\\", "f": "é", "g=h": "i", "j": "😀",
		"k": `\uZZZZ`, "l": "", "m": "", "n": "a=b"} {
		if v, ok := got[key]; !ok || v != want {
			t.Errorf("%q = %q, want %q", key, v, want)
		}
	}
	if got := Properties([]byte("a=\xe9")); got["a"] != "é" {
		t.Errorf("Latin-1: %q", got["a"])
	}
}

func FuzzProperties(f *testing.F) {
	f.Add([]byte("a=\\u4e2d\\\nb"))
	f.Fuzz(func(_ *testing.T, data []byte) { Properties(data) })
}
