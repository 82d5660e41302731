package archive

import (
	"archive/zip"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stoker-init/stoker/jvm/hotspot"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// jar writes a jar with files of name and text.
func jar(t *testing.T, path string, files ...string) string {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	f, err := os.Create(path)
	must(t, err)
	w := zip.NewWriter(f)
	for k := 0; k < len(files); k += 2 {
		entry, err := w.Create(files[k])
		must(t, err)
		_, err = entry.Write([]byte(files[k+1]))
		must(t, err)
	}
	must(t, w.Close())
	must(t, f.Close())
	return path
}

func TestOptions(t *testing.T) {
	for _, c := range []struct {
		major   int
		options string
		want    string // why none is used; empty: one is
	}{
		{17, "-Xmx1g -Xlog:cds --add-opens=java.base/java.io=ALL-UNNAMED -Xshare:auto", ""},
		{17, "-Xshare:off", "-Xshare:off is set"},
		{17, "-XX:SharedArchiveFile=/a/secret.jsa", "-XX:SharedArchiveFile is set"},
		{17, "-XX:-UseSharedSpaces", "-XX:-UseSharedSpaces is set"},
		{25, "-XX:AOTCache=a", "-XX:AOTCache is set"},
		{17, "--module-path /m", "no archive with --module-path"},
		{17, "-p /m", "no archive with -p"},
		{17, "-Xbootclasspath/a:/x.jar", "no archive with -Xbootclasspath"},
		{17, "-javaagent:/a.jar=secret", ""},
		{17, "-agentlib:jdwp=transport=dt_socket", ""},
		{25, "-javaagent:/a.jar=secret", "-javaagent:/a.jar is set: Java 25"},
		{28, "-agentpath:/a.so", "-agentpath:/a.so is set"},
	} {
		if got := Unsuitable(c.major, strings.Fields(c.options)); (got == "") != (c.want == "") || !strings.Contains(got, c.want) ||
			strings.Contains(got, "secret") {
			t.Errorf("Java %d %s: %q, want %q", c.major, c.options, got, c.want)
		}
	}
	for major, want := range map[int]string{8: "", 11: "", 13: "[-Xlog:cds*=off -XX:SharedArchiveFile=/f][-Xlog:cds*=off -XX:ArchiveClassesAtExit=/f]",
		24: "[-Xlog:cds*=off -XX:SharedArchiveFile=/f][-Xlog:cds*=off -XX:ArchiveClassesAtExit=/f]",
		25: "[-Xlog:aot*=off -XX:AOTCache=/f][-Xlog:aot*=off -XX:AOTCacheOutput=/f]"} {
		got := ""
		if Supported(major) == nil {
			got = fmt.Sprint(UseOptions(major, "/f"), RecordOptions(major, "/f"))
			got = strings.ReplaceAll(got, "] [", "][")
		}
		if got != want {
			t.Errorf("Java %d: %s, want %s", major, got, want)
		}
	}
	for _, c := range []struct {
		major         int
		options, coop string
		want          []string
	}{
		{17, "-Dcom.sun.management.jmxremote.port=1", "true", nil},
		{25, "-Dcom.sun.management.jmxremote.port=1", "true", []string{"--add-modules=jdk.management.agent"}},
		{21, "-Xmx40g", "false", []string{"-XX:-UseCompressedOops"}},
	} {
		got := TrainingOptions(c.major, strings.Fields(c.options), hotspot.Flags{"UseCompressedOops": {Value: c.coop}})
		if !slices.Equal(got, c.want) {
			t.Errorf("training of Java %d with %s: %q", c.major, c.options, got)
		}
	}
}

func TestIdentity(t *testing.T) {
	dir := t.TempDir()
	const manifest = "Manifest-Version: 1.0\r\nClass-Path: lib/a.jar lib/gon\r\n e.jar classes/\r\n\r\nName: x\r\nClass-Path: no.jar\r\n"
	app := jar(t, dir+"/app.jar", "META-INF/MANIFEST.MF", manifest)
	jar(t, dir+"/lib/a.jar", "A.class", "1")
	must(t, os.MkdirAll(dir+"/jdk/lib/server", 0o755))
	must(t, os.WriteFile(dir+"/jdk/lib/server/classes.jsa", []byte("base"), 0o600))
	java := hotspot.JVM{Home: dir + "/jdk", Version: "17.0.15", Major: 17}
	options := strings.Fields("-Xmx1g -javaagent:/a.jar=secret --add-modules java.sql -Dcom.sun.management.jmxremote.port=1 -Dcom.sun.management.x")
	flags := hotspot.Flags{"UseZGC": {Value: "false"}, "UseCompressedOops": {Value: "true"}, "UseAVX": {Value: "2"}, "UseG1GC": {Value: "true"}}
	var c Checker
	id, err := c.Identify(java, options, []string{app}, flags)
	must(t, err)
	var paths []string
	for _, f := range id.ClassPath {
		paths = append(paths, fmt.Sprint(strings.TrimPrefix(f.Path, dir), f.Size > 0))
	}
	if got := fmt.Sprint(id.Flags, id.Options, paths); got !=
		"[UseCompressedOops=true UseZGC=false] [-javaagent:/a.jar --add-modules java.sql -Dcom.sun.management] [/app.jartrue /lib/a.jartrue /lib/gone.jarfalse]" {
		t.Error(got)
	}
	change := func(what, want string, f func(java *hotspot.JVM, options *[]string, path *[]string, flags hotspot.Flags)) {
		t.Helper()
		j, o, p, fl := java, slices.Clone(options), []string{app}, hotspot.Flags{}
		for k, v := range flags {
			fl[k] = v
		}
		f(&j, &o, &p, fl)
		got, err := c.Identify(j, o, p, fl)
		must(t, err)
		if d := got.difference(id); !strings.Contains(d, want) || (want == "") != (d == "") || (got.Key() == id.Key()) != (want == "") {
			t.Errorf("%s: %q, want %q; keys %s %s", what, d, want, got.Key(), id.Key())
		}
	}
	type optionsOf = *[]string
	change("nothing", "", func(*hotspot.JVM, optionsOf, optionsOf, hotspot.Flags) {})
	change("another heap", "", func(_ *hotspot.JVM, o, _ optionsOf, _ hotspot.Flags) { (*o)[0] = "-Xmx2g" })
	change("another collector that lays out objects likewise", "", func(_ *hotspot.JVM, _, _ optionsOf, f hotspot.Flags) { f["UseG1GC"] = hotspot.Flag{Value: "false"} })
	change("another processor, of which a dynamic archive has no code", "", func(_ *hotspot.JVM, _, _ optionsOf, f hotspot.Flags) { f["UseAVX"] = hotspot.Flag{Value: "3"} })
	change("version", "Java is 17.0.16, and was 17.0.15", func(j *hotspot.JVM, _, _ optionsOf, _ hotspot.Flags) { j.Version = "17.0.16" })
	change("ZGC", "UseZGC=true is new", func(_ *hotspot.JVM, _, _ optionsOf, f hotspot.Flags) { f["UseZGC"] = hotspot.Flag{Value: "true"} })
	change("agent", "-javaagent:/a.jar is gone", func(_ *hotspot.JVM, o, _ optionsOf, _ hotspot.Flags) { *o = slices.Delete(*o, 1, 2) })
	change("class path", "the order of the class path is another one", func(_ *hotspot.JVM, _, p optionsOf, _ hotspot.Flags) { *p = []string{dir + "/lib/*", app} })
	must(t, os.Chtimes(dir+"/jdk/lib/server/classes.jsa", time.Time{}, time.Unix(9, 0)))
	change("JVM", "classes.jsa has changed", func(*hotspot.JVM, optionsOf, optionsOf, hotspot.Flags) {})
	id, err = c.Identify(java, options, []string{app}, flags)
	must(t, err)
	jar(t, dir+"/lib/a.jar", "A.class", "longer")
	change("jar of a manifest", "/lib/a.jar has changed", func(*hotspot.JVM, optionsOf, optionsOf, hotspot.Flags) {})
	for _, j := range []string{"/app.jar", "/lib/a.jar"} { // all files of a reproducible image have one time
		info, err := os.Stat(dir + j)
		must(t, err)
		id, err = c.Identify(java, options, []string{app}, flags)
		must(t, err)
		data, err := os.ReadFile(dir + j)
		must(t, err)
		if j == "/app.jar" {
			jar(t, dir+j, "META-INF/MANIFEST.MF", strings.Replace(manifest, "Name: x", "Name: y", 1))
		} else {
			jar(t, dir+j, "A.class", "Longer")
		}
		must(t, os.Chtimes(dir+j, time.Time{}, info.ModTime()))
		if now, err := os.Stat(dir + j); err != nil || now.Size() != info.Size() {
			t.Fatalf("%s has %d bytes, and had %d", j, now.Size(), info.Size())
		}
		change("same size and time", j+" has changed", func(*hotspot.JVM, optionsOf, optionsOf, hotspot.Flags) {})
		must(t, os.WriteFile(dir+j, data, 0o600))
		must(t, os.Chtimes(dir+j, time.Time{}, info.ModTime()))
		change("as before", "", func(*hotspot.JVM, optionsOf, optionsOf, hotspot.Flags) {})
	}
	must(t, os.MkdirAll(dir+"/jdk/lib", 0o755))
	modules := func(names, text string) {
		must(t, os.WriteFile(dir+"/jdk/release", []byte(`MODULES="`+names+`"`), 0o600))
		must(t, os.WriteFile(dir+"/jdk/lib/modules", []byte(text), 0o600))
		must(t, os.Chtimes(dir+"/jdk/lib/modules", time.Time{}, time.Unix(1, 0)))
	}
	for names, want := range map[string]string{"java.base jdk.attach": "", "java.base my.app": "lib/modules has changed"} {
		modules(names, "version 1")
		id, err = c.Identify(java, options, []string{app}, flags)
		must(t, err)
		modules(names, "version 2")
		change("runtime of jlink", want, func(*hotspot.JVM, optionsOf, optionsOf, hotspot.Flags) {})
	}
	if _, err := c.Identify(java, nil, []string{dir + "/lib"}, flags); err == nil || !strings.Contains(err.Error(), "has the folder") {
		t.Errorf("a folder of classes: %v", err)
	}
	java.Major, java.Version = 25, "25.0.5"
	if id, err := c.Identify(java, nil, nil, flags); err != nil || !slices.Contains(id.Flags, "AVX") || id.suffix() != ".aot" {
		t.Errorf("an AOT cache has code: %v, %v", id, err)
	}
}

func TestOverlap(t *testing.T) {
	dir := t.TempDir()
	a := jar(t, dir+"/a.jar", "x/A.class", "", "module-info.class", "", "META-INF/versions/9/x/B.class", "", "x/same.properties", "")
	b := jar(t, dir+"/b.jar", "x/B.class", "", "module-info.class", "", "META-INF/versions/9/x/B.class", "", "x/same.properties", "")
	c := jar(t, dir+"/c.jar", "x/A.class", "")
	for want, jars := range map[string][]string{"": {a, b}, "x/A.class": {a, b, c}} {
		if got, err := Overlap(jars); got != want || err != nil {
			t.Errorf("%q: %q, %v", jars, got, err)
		}
	}
	if _, err := Overlap([]string{dir + "/none.jar"}); err == nil {
		t.Error("a missing jar has no overlap")
	}
}

// kept keeps an archive in a new folder.
func kept(t *testing.T, id Identity) (dir, file string) {
	t.Helper()
	work := t.TempDir()
	dir = filepath.Join(work, "archives")
	must(t, os.WriteFile(work+"/made", []byte(strings.Repeat("classes", 1000)), 0o400))
	must(t, Keep(dir, "web", id, work+"/made", os.Geteuid(), Times{Without: 2 * time.Second, With: time.Second}))
	return dir, filepath.Join(dir, "web-"+id.Key()+id.suffix())
}

func TestFind(t *testing.T) {
	id := Identity{Java: "17.0.15", Flags: []string{"UseZGC=false"}, ClassPath: []File{{Path: "/app.jar", Size: 5, ModTime: 7}}}
	var c Checker
	if _, err := c.Find(t.TempDir()+"/none", "web", id); !errors.Is(err, ErrNone) {
		t.Errorf("no folder: %v", err)
	}
	dir, file := kept(t, id)
	for range 2 {
		a, err := c.Find(dir, "web", id)
		if err != nil || a.Path != file || a.Size != 7000 || a.Times.With != time.Second || time.Since(a.Made) > time.Minute {
			t.Fatalf("%+v, %v", a, err)
		}
	}
	if _, err := c.Find(dir, "web-2", id); !errors.Is(err, ErrNone) || !Any(dir, "web") || Any(dir, "we") {
		t.Errorf("another service: %v", err)
	}
	other := id
	other.ClassPath = []File{{Path: "/app.jar", Size: 5, ModTime: 8}}
	if _, err := c.Find(dir, "web", other); err == nil || !strings.HasPrefix(err.Error(), "/app.jar has changed since it was made on 2") {
		t.Errorf("a changed jar: %v", err)
	}
	for _, damage := range []struct {
		what, want string
		do         func(t *testing.T, dir, file string)
	}{
		{"truncated", "has 3500 bytes instead of 7000", func(t *testing.T, _, file string) { must(t, os.Truncate(file, 3500)) }},
		{"one bit", "the checksum of ", func(t *testing.T, _, file string) {
			f, err := os.OpenFile(file, os.O_WRONLY, 0)
			must(t, err)
			_, err = f.WriteAt([]byte{'x'}, 5000)
			must(t, errors.Join(err, f.Close()))
			must(t, os.Chtimes(file, time.Time{}, time.Now().Add(-time.Hour)))
		}},
		{"gone", "no such file", func(t *testing.T, _, file string) { must(t, os.Remove(file)) }},
		{"a link", "cannot read", func(t *testing.T, _, file string) {
			must(t, os.Remove(file))
			must(t, os.Symlink("/dev/zero", file))
		}},
		{"writable by others", "can be changed by others", func(t *testing.T, _, file string) { must(t, os.Chmod(file, 0o666)) }},
		{"a damaged description", "is damaged", func(t *testing.T, dir, _ string) {
			must(t, os.WriteFile(dir+"/web-"+id.Key()+".json", []byte("{}"), 0o600))
		}},
		{"a folder of others", "can be changed by others", func(t *testing.T, dir, _ string) {
			if os.Geteuid() != 0 {
				t.Skip("others matter to root alone")
			}
			must(t, os.Chmod(dir, 0o777))
		}},
		{"a file of another user", "can be changed by its owner", func(t *testing.T, _, file string) {
			if os.Geteuid() != 0 {
				t.Skip("only root changes owners")
			}
			must(t, os.Chown(file, 1000, 1000))
		}},
	} {
		t.Run(damage.what, func(t *testing.T) {
			dir, file := kept(t, id)
			var c Checker
			if _, err := c.Find(dir, "web", id); err != nil { // it remembers the checksum
				t.Fatal(err)
			}
			damage.do(t, dir, file)
			if _, err := c.Find(dir, "web", id); err == nil || errors.Is(err, ErrNone) || !strings.Contains(err.Error(), damage.want) {
				t.Errorf("%v, want %q", err, damage.want)
			}
		})
	}
}

func TestKeep(t *testing.T) {
	id := Identity{Java: "25.0.5"}
	dir, file := kept(t, id)
	made := filepath.Join(filepath.Dir(dir), "made")
	foreign := dir + "/web-" + id.Key() + ".aot.keep"
	for n := range 4 {
		id.Java = fmt.Sprintf("25.0.%d", 6+n)
		must(t, Keep(dir, "web", id, made, os.Geteuid(), Times{}))
	}
	must(t, Keep(dir, "web-2", Identity{Java: "17"}, made, os.Geteuid(), Times{}))
	old := time.Now().Add(-2 * time.Hour)
	must(t, os.WriteFile(foreign, nil, 0o600))
	must(t, os.Chtimes(file, old, old)) // it has lost its description
	must(t, Keep(dir, "web", id, made, os.Geteuid(), Times{}))
	entries, err := os.ReadDir(dir)
	must(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	descriptions := len(keys(dir, "web"))
	if slices.Contains(names, filepath.Base(file)) || descriptions != keepNewest || len(keys(dir, "web-2")) != 1 {
		t.Errorf("%d are left of web: %q", descriptions, names)
	}
	for _, name := range names {
		if info, err := os.Stat(filepath.Join(dir, name)); err == nil && filepath.Join(dir, name) != foreign && info.Mode() != readable {
			t.Errorf("%s has mode %v", name, info.Mode())
		}
	}
	must(t, os.Truncate(made, 0))
	if err := Keep(dir, "web", id, made, os.Geteuid(), Times{}); err == nil || !strings.Contains(err.Error(), "written nothing") {
		t.Errorf("an empty file: %v", err)
	}
	must(t, os.WriteFile(made, []byte("classes"), 0o600))
	must(t, os.Link(made, made+"2"))
	if err := Keep(dir, "web", id, made, os.Geteuid(), Times{}); err == nil || !strings.Contains(err.Error(), "has 2 names") {
		t.Errorf("a hard link: %v", err)
	}
	must(t, os.Remove(made+"2"))
	if err := Keep(dir, "web", id, made, os.Geteuid()+1, Times{}); err == nil || !strings.Contains(err.Error(), "is of user") {
		t.Errorf("a file of another user: %v", err)
	}
	if err := Keep("/dev/null/x", "web", id, made, os.Geteuid(), Times{}); err == nil {
		t.Error("a folder that cannot be made")
	}
}

func FuzzManifest(f *testing.F) {
	f.Add("Class-Path: a.jar file:///b.jar http://x/c.jar\n d/\n\nx: y")
	f.Fuzz(func(t *testing.T, text string) {
		for _, path := range manifestEntries("/dir/app.jar", []byte(text)) {
			if !filepath.IsAbs(path) {
				t.Errorf("%q gives %q", text, path)
			}
		}
	})
}

// TestWildcard: a folder may be empty or missing, and one with more files than are read is not taken for what was read of it.
func TestWildcard(t *testing.T) {
	dir := t.TempDir()
	var c Checker
	for _, empty := range []string{dir + "/*", dir + "/none/*"} {
		if files, err := c.classPath([]string{empty}); len(files) > 0 || err != nil {
			t.Errorf("%s: %v, %v", empty, files, err)
		}
	}
	for k := range maxClassPath + 1 {
		must(t, os.WriteFile(fmt.Sprintf("%s/%d", dir, k), nil, 0o600))
	}
	if _, err := c.classPath([]string{dir + "/*"}); err == nil || !strings.Contains(err.Error(), "more than 4096") {
		t.Errorf("a large folder: %v", err)
	}
}
