package archive

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func put(t *testing.T, path, text string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(t, os.WriteFile(path, []byte(text), 0o600))
}

func TestLibraries(t *testing.T) {
	const standard = `common.loader="${catalina.base}/lib","${catalina.base}/lib/*.jar","${catalina.home}/lib","${catalina.home}/lib/*.jar"` +
		"\nserver.loader=\nshared.loader=\n"
	for _, c := range []struct {
		name, properties string
		files            []string
		want             string // names, or the error
	}{
		{"the base's first, by name", standard, []string{"home/lib/b.jar", "home/lib/a.JAR", "base/lib/z.jar"}, "base/lib/z.jar home/lib/a.JAR home/lib/b.jar"},
		{"a base without libraries", standard, []string{"home/lib/a.jar"}, "home/lib/a.jar"},
		{"a class", standard, []string{"home/lib/a.jar", "base/lib/log4j2.xml"}, "base/lib has log4j2.xml, which is no jar"},
		{"a package", standard, []string{"home/lib/org/A.class"}, "home/lib has org, which is no jar"},
		{"another folder", strings.Replace(standard, "lib/*.jar", "ext/*.jar", 1), nil, "configures other class loaders"},
		{"a shared loader", strings.Replace(standard, "shared.loader=", "shared.loader=/x", 1), nil, "configures other class loaders"},
		{"no properties", "", nil, "cannot read catalina.properties"},
	} {
		root := t.TempDir()
		for _, f := range c.files {
			put(t, root+"/"+f, "")
		}
		if c.properties != "" {
			put(t, root+"/base/conf/catalina.properties", c.properties)
		}
		got, err := Libraries(root+"/home", root+"/base")
		text := strings.ReplaceAll(strings.Join(got, " "), root+"/", "")
		if err != nil {
			text = err.Error()
		}
		if err == nil && text != c.want || err != nil && !strings.Contains(text, c.want) {
			t.Errorf("%s: %s, want %s", c.name, text, c.want)
		}
	}
	root := t.TempDir()
	put(t, root+"/conf/catalina.properties", standard)
	put(t, root+"/java/real.jar", "")
	put(t, root+"/lib/own.jar", "")
	if err := os.Symlink("../java/real.jar", root+"/lib/a.jar"); err != nil {
		t.Fatal(err)
	}
	got, err := Libraries(root, root)
	if want := []string{root + "/java/real.jar", root + "/lib/own.jar"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("links are resolved, and one folder is read once: %q, %v", got, err)
	}
}
