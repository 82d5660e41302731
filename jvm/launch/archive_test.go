package launch

import (
	"archive/zip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stoker-init/stoker/internal/config"
	"github.com/stoker-init/stoker/internal/service"
	"github.com/stoker-init/stoker/jvm"
	"github.com/stoker-init/stoker/jvm/archive"
	"github.com/stoker-init/stoker/jvm/hotspot"
	"github.com/stoker-init/stoker/jvm/tomcat"
)

// archivePlan returns the launcher and the plan of a service of kind java, whose archives are in the folder archives of dir.
func archivePlan(t *testing.T, dir string, options ...string) (*Launcher, *plan) {
	t.Helper()
	writeJar(t, dir+"/app.jar", "Main.class")
	l := New(&service.Launcher{Name: "web", Config: config.Service{Java: config.Java{Main: "Main"}}}, jvm.Config{},
		&Shared{ArchiveDir: dir + "/archives"}, nil)
	p := &plan{java: hotspot.JVM{Home: dir + "/jdk", Version: "17.0.15", Major: 17}, options: append(options, "-cp", dir+"/app.jar")}
	p.report = &Report{JVM: p.java, flags: hotspot.Flags{"UseCompressedOops": {Value: "true"}},
		argv: slices.Concat([]string{"java"}, p.options, []string{"Main", "-x"})}
	return l, p
}

func writeJar(t *testing.T, path, entry string) {
	t.Helper()
	err := os.MkdirAll(filepath.Dir(path), 0o755)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w := zip.NewWriter(f)
	if _, err = w.Create(entry); err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
}

// keepFor keeps an archive for the command line of a plan, as a training does.
func keepFor(t *testing.T, l *Launcher, p *plan, dir string) (id archive.Identity) {
	t.Helper()
	before := p.report.argv
	l.shared.Training = func(string) *Training {
		return &Training{Step: TrainRecord, File: "/made", Identified: func(i archive.Identity, _ error) { id = i }}
	}
	if err := l.applyArchive(p); err != nil {
		t.Fatal(err)
	}
	l.shared.Training, p.report.argv = nil, before
	file := filepath.Join(t.TempDir(), "made")
	if err := os.WriteFile(file, []byte("classes"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := archive.Keep(dir, l.Name, id, file, os.Geteuid(), archive.Times{Without: 3 * time.Second, With: 2 * time.Second}); err != nil {
		t.Fatal(err)
	}
	return id
}

func TestApplyArchive(t *testing.T) {
	for _, c := range []struct {
		name, mode string
		options    []string
		kept       bool
		change     func(dir string, l *Launcher, p *plan)
		argv       string // with ARCHIVE for its path
		why, err   string // parts
		warns      bool
		final      bool // another archive would not help
	}{
		{name: "none", argv: "-Xmx1m", why: "stoker jvm archive web makes one"},
		{name: "none, and one is wanted", mode: jvm.ArchiveRequire, err: "cannot use a class archive of web: there is no archive\nhint: stoker jvm archive web"},
		{name: "off", mode: jvm.ArchiveOff, kept: true, argv: "-Xmx1m", why: "jvm.archive is off"},
		{name: "it fits", kept: true, argv: "-Xlog:cds*=off -XX:SharedArchiveFile=ARCHIVE -Xmx1m"},
		{name: "it fits, and is wanted", mode: jvm.ArchiveRequire, kept: true, argv: "-Xlog:cds*=off -XX:SharedArchiveFile=ARCHIVE -Xmx1m"},
		{name: "another heap", kept: true, change: func(_ string, _ *Launcher, p *plan) { p.options[0], p.report.argv[1] = "-Xmx2m", "-Xmx2m" },
			argv: "-Xlog:cds*=off -XX:SharedArchiveFile=ARCHIVE -Xmx2m"},
		{name: "a changed jar", kept: true, change: func(dir string, _ *Launcher, _ *plan) { os.Truncate(dir+"/app.jar", 5) },
			argv: "-Xmx1m", why: "/app.jar has changed since it was made", warns: true},
		{name: "a changed jar, and one is wanted", mode: jvm.ArchiveRequire, kept: true,
			change: func(dir string, _ *Launcher, _ *plan) { os.Truncate(dir+"/app.jar", 5) }, err: "/app.jar has changed since it was made"},
		{name: "another JVM", kept: true, change: func(_ string, _ *Launcher, p *plan) { p.java.Version = "17.0.16" },
			argv: "-Xmx1m", why: "Java is 17.0.16, and was 17.0.15 since", warns: true},
		{name: "Java 11", kept: true, change: func(_ string, _ *Launcher, p *plan) { p.java.Major = 11 }, argv: "-Xmx1m",
			why: "Java 11 makes no class archives", warns: true, final: true},
		{name: "Java 11 without one", change: func(_ string, _ *Launcher, p *plan) { p.java.Major = 11 }, argv: "-Xmx1m"},
		{name: "the operator's own", kept: true, options: []string{"-Xshare:off"}, change: func(_ string, _ *Launcher, p *plan) {},
			argv: "-Xmx1m -Xshare:off", why: "-Xshare:off is set", warns: true, final: true},
		{name: "the operator's own, and one is wanted", mode: jvm.ArchiveRequire, kept: true, options: []string{"-Xshare:off"},
			err: "-Xshare:off is set\nhint: jvm.archive: auto starts without"},
		{name: "no check", kept: true, change: func(_ string, _ *Launcher, p *plan) { p.report.flags = nil }, argv: "-Xmx1m", why: "(jvm.check)",
			warns: true, final: true},
		{name: "truncated", kept: true, change: func(dir string, _ *Launcher, _ *plan) {
			all, _ := filepath.Glob(dir + "/archives/*.jsa")
			os.Truncate(all[0], 3)
		}, argv: "-Xmx1m", why: "has 3 bytes instead of 7", warns: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			l, p := archivePlan(t, dir, "-Xmx1m")
			path := ""
			if c.kept {
				path = dir + "/archives/web-" + keepFor(t, l, p, dir+"/archives").Key() + ".jsa"
			}
			if c.options != nil {
				_, p = archivePlan(t, dir, append([]string{"-Xmx1m"}, c.options...)...)
			}
			if c.change != nil {
				c.change(dir, l, p)
			}
			l.JVM.Archive = c.mode
			err := l.applyArchive(p)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("%v, want %s", err, c.err)
				}
				return
			}
			want := "java " + strings.ReplaceAll(c.argv, "ARCHIVE", path) + " -cp " + dir + "/app.jar Main -x"
			plain := slices.Concat([]string{"java"}, p.options, []string{"Main", "-x"})
			if d := jvm.Diff(withoutArchive(p.report.argv, plain), plain); d != nil {
				t.Errorf("the comparison with a running JVM finds %q", d)
			}
			if got := strings.Join(p.report.argv, " "); got != want || err != nil || (len(p.warnings) > 0) != c.warns {
				t.Errorf("%s, want %s; %q, %v", got, want, p.warnings, err)
			}
			if text := strings.Join(p.warnings, ""); c.warns && strings.Contains(text, "stoker jvm archive web makes a new one") == c.final {
				t.Errorf("the remedy of %q", text)
			}
			if use := p.report.Archive; (c.why == "" && use != nil && use.Path != path) || (c.why != "" && (use == nil || !strings.Contains(use.Why, c.why))) {
				t.Errorf("explained as %+v, want %s", use, c.why)
			}
		})
	}
}

func TestArchiveText(t *testing.T) {
	now := time.Unix(1000, 0)
	made := now.Add(-time.Minute)
	for want, a := range map[string]ArchiveUse{
		"class archive: none is used: there is none": {Why: "there is none"},
		"class archive: /a.jsa (14.7 MiB, made 1m ago); ready after 1s instead of 1.5s when it was made": {Path: "/a.jsa", Size: 15400960, Made: &made,
			Times: archive.Times{With: time.Second, Without: 1500 * time.Millisecond}},
		"class archive: /a.jsa (14.7 MiB, made 1m ago)": {Path: "/a.jsa", Size: 15400960, Made: &made},
	} {
		if got := a.text(now); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// Agents, logs in files and the port of remote management are left out while an archive is made.
func TestTraining(t *testing.T) {
	for step, want := range map[TrainingStep]string{
		TrainPlain:  "java -Xmx1m -cp CP -Xmx9m Main -x",
		TrainRecord: "java -Xmx1m -cp CP -Xmx9m -Xlog:cds*=off -XX:ArchiveClassesAtExit=/made Main -x",
		TrainUse:    "java -Xmx1m -cp CP -Xmx9m -Xlog:cds*=off -XX:SharedArchiveFile=/made Main -x",
	} {
		dir := t.TempDir()
		l, p := archivePlan(t, dir, "-Xmx1m", "-javaagent:/a.jar", "-Dcom.sun.management.jmxremote.port=1")
		var ids []archive.Identity
		l.shared.Training = func(service string) *Training {
			if service != "web" {
				t.Errorf("asked about %s", service)
			}
			return &Training{Step: step, File: "/made", Options: []string{"-Xmx9m"}, Identified: func(id archive.Identity, _ error) {
				ids = append(ids, id)
			}}
		}
		err := l.applyArchive(p)
		if got := strings.Join(p.report.argv, " "); got != strings.ReplaceAll(want, "CP", dir+"/app.jar") || err != nil {
			t.Errorf("%d: %s, %v", step, got, err)
		}
		if last := ids[len(ids)-1]; !slices.Contains(last.Options, "-javaagent:/a.jar") {
			t.Errorf("the identity is that of ordinary starts: %+v", last)
		}
	}
	l, p := archivePlan(t, t.TempDir(), "-Xshare:off")
	var refused error
	l.shared.Training = func(string) *Training {
		return &Training{Identified: func(_ archive.Identity, err error) { refused = err }}
	}
	if err := l.applyArchive(p); err == nil || refused == nil || refused.Error() != "-Xshare:off is set" ||
		!strings.Contains(err.Error(), "cannot make a class archive of web: -Xshare:off is set") {
		t.Error(err)
	}
}

// Tomcat's libraries are on the class path with an archive, and without one alone in Tomcat's class loader.
func TestArchiveOfTomcat(t *testing.T) {
	root := t.TempDir()
	for path, class := range map[string]string{"/home/bin/bootstrap.jar": "B.class", "/home/lib/a.jar": "A.class", "/base/lib/driver.jar": "D.class"} {
		writeJar(t, root+path, class)
	}
	conf := `common.loader=${catalina.base}/lib,${catalina.base}/lib/*.jar,${catalina.home}/lib,${catalina.home}/lib/*.jar`
	if err := os.MkdirAll(root+"/base/conf", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(root+"/base/conf/catalina.properties", []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, option, class string // the class of a second driver
		want, note          string // the class path with an archive
	}{
		{"usual", "-Xmx1m", "E.class", "/home/bin/bootstrap.jar:/base/lib/driver.jar:/base/lib/driver2.jar:/home/lib/a.jar", ""},
		{"an agent", "-javaagent:/a.jar", "E.class", "/home/bin/bootstrap.jar", "an agent would load classes"},
		{"two drivers", "-Xmx1m", "D.class", "/home/bin/bootstrap.jar", "two of them have D.class"},
	} {
		writeJar(t, root+"/base/lib/driver2.jar", c.class)
		l, p := archivePlan(t, t.TempDir())
		own := root + "/home/bin/bootstrap.jar"
		p.options = []string{c.option, "-classpath", own}
		p.report.argv, p.tomcat = []string{"java", c.option, "-classpath", own, "Main", "start"}, &tomcatStart{install: tomcat.Install{Home: root + "/home", Base: root + "/base"}}
		l.kind = &tomcatKind{Launcher: l}
		keepFor(t, l, p, l.shared.ArchiveDir)
		p.notes = nil
		err := l.applyArchive(p)
		at := slices.Index(p.report.argv, "-classpath") + 1
		got := strings.ReplaceAll(p.report.argv[at], root, "")
		if got != c.want || err != nil || p.report.Archive.Path == "" || !strings.Contains(strings.Join(p.notes, ""), c.note) {
			t.Errorf("%s: %s, want %s; %q %v %+v", c.name, got, c.want, p.notes, err, p.report.Archive)
		}
		plain := []string{"java", c.option, "-classpath", own, "Main", "start"}
		if d := jvm.Diff(withoutArchive(p.report.argv, plain), plain); d != nil {
			t.Errorf("%s: the comparison with a running JVM finds %q", c.name, d)
		}
		l.JVM.Archive, p.report.argv = jvm.ArchiveOff, []string{"java", c.option, "-classpath", own, "Main", "start"}
		if err := l.applyArchive(p); err != nil || p.report.argv[3] != own {
			t.Errorf("%s: without an archive %q, %v", c.name, p.report.argv, err)
		}
	}
}
