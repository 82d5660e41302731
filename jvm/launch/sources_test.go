package launch

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stoker-init/stoker/hooks"
	"github.com/stoker-init/stoker/internal/remote"
	"github.com/stoker-init/stoker/internal/service"
	"github.com/stoker-init/stoker/jvm"
)

// write creates files in a new folder.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// urlOf returns a URL that is asked until it answers.
func urlOf(url string) jvm.URL {
	return jvm.URL{URL: url, Timeout: time.Minute, Deadline: time.Minute}
}

func optionsAndSources(options []jvm.Option, dir string) string {
	var out []string
	for _, o := range options {
		out = append(out, fmt.Sprintf("%s < %s", o, strings.ReplaceAll(o.Source, dir, "")))
	}
	return strings.Join(out, "\n")
}

func TestLayerReadsAllSources(t *testing.T) {
	requests := make(chan string, 2)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests <- r.URL.String()
		if r.URL.Path == "/list" {
			fmt.Fprint(w, `["-Dlist=1", "--add-opens", "a/b=c"]`)
			return
		}
		fmt.Fprint(w, "# a comment\n-Durl=1\n")
	}))
	defer web.Close()
	dir := write(t, map[string]string{"opts/20.opts": "-Ddir=20", "opts/10.opts": "-Ddir=10", "opts/.hidden.opts": "-Dno=1",
		"opts/x.txt":         "-Dno=2",
		"opts/folder.opts/x": "", "jvm.options": "-Dfile=a b", "jvm.args": `-Darg="a b" -Dtwo=2`, "fat.opts": "-Dfat=1", "uat.opts": "-Duat=1"})
	if err := os.Symlink("../uat.opts", filepath.Join(dir, "opts/30.opts")); err != nil {
		t.Fatal(err)
	}
	when := func(value string) jvm.When {
		return jvm.When{Terms: jvm.Terms{Env: map[string]jvm.StringList{"ENV": {value}}}}
	}
	l := &sources{cfg: jvm.Config{User: jvm.LayerConfig{
		Options: []jvm.Inline{{Option: "--add-exports"}, {Option: "a/b=c"}, {Option: "-Dskipped=1", When: when("uat")}},
		Dirs:    []jvm.Dir{{Dir: dir + "/opts"}, {Dir: dir + "/none"}},
		Files: []jvm.File{{File: dir + "/jvm.options"}, {File: dir + "/fat.opts", When: when("fat")},
			{File: dir + "/uat.opts", When: when("uat")}},
		Argfiles: []jvm.File{{File: dir + "/jvm.args"}},
		URLs:     []jvm.URL{urlOf(web.URL + "/list"), urlOf(web.URL + "/${APPID}?tier=${TIER}&token=${TOKEN}")},
		Env:      []string{"APP_OPTS"}}},
		serviceEnv: service.Environment{Vars: map[string]string{"ENV": "fat", "APPID": "7", "TOKEN": "geheim"}},
		env:        service.Environment{Vars: map[string]string{"APP_OPTS": "-Denv=1"}},
		shared: &Shared{Labels: func() map[string]string { return map[string]string{"tier": "gold"} },
			fetch: &remote.Fetcher[remote.Answer]{Dir: t.TempDir(), Accept: acceptOptions}}}
	in, err := l.input(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var at []string // which time each document is of
	for _, state := range l.states[len(l.states)-2:] {
		at = append(at, ", as of "+state.Time.Format(time.RFC3339))
	}
	want := `--add-exports a/b=c < jvm.user.options
-Ddir=10 < /opts/10.opts:1
-Ddir=20 < /opts/20.opts:1
-Duat=1 < /opts/30.opts:1
-Dfile=a b < /jvm.options:1
-Dfat=1 < /fat.opts:1
-Darg=a b < /jvm.args:1
-Dtwo=2 < /jvm.args:1
-Dlist=1 < URL/list` + at[0] + `
--add-opens a/b=c < URL/list` + at[0] + `
-Durl=1 < URL/7?tier=gold&token=***:2` + at[1] + `
-Denv=1 < env APP_OPTS`
	if got := strings.ReplaceAll(optionsAndSources(in.User, dir), web.URL, "URL"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := <-requests + " " + <-requests; !strings.Contains(got, "/7?tier=gold&token=geheim") {
		t.Errorf("requested: %s", got)
	}
	var b strings.Builder
	(&Report{Sources: l.states}).explainSources(&b, l.states[len(l.states)-1].Time.Add(3*time.Minute), 0)
	for _, line := range []string{"jvm.user.options[2]  user   skipped: env ENV is not uat", "/uat.opts", "/none  ", "missing",
		"read, 3m ago"} {
		if !strings.Contains(strings.Join(strings.Fields(b.String()), " "), strings.Join(strings.Fields(line), " ")) {
			t.Errorf("explain lacks %q:\n%s", line, b.String())
		}
	}
	if strings.Contains(b.String(), "geheim") {
		t.Errorf("explain shows the token:\n%s", b.String())
	}
}

// Line ends and byte order marks of Windows are removed in every source.
func TestWindowsTextInEverySource(t *testing.T) {
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/list" {
			fmt.Fprint(w, "\ufeff[\"-Dlist=1\"]\r\n")
			return
		}
		fmt.Fprint(w, "\ufeff-Durl=1\r\n")
	}))
	defer web.Close()
	text := func(name string) string { return "\ufeff-D" + name + "=1\r\n-D" + name + ".2=2\r\n" }
	dir := write(t, map[string]string{"d/a.opts": text("dir"), "file": text("file"), "args": text("args"), "at": text("at"), "vm": text("vm"),
		"flags": "\ufeffMaxHeapSize=1g\r\n"})
	l := &sources{cfg: jvm.Config{User: jvm.LayerConfig{
		Options: []jvm.Inline{{Option: "-Dinline=1\r"}, {Option: "@" + dir + "/at\r"}, {Option: "-XX:VMOptionsFile=" + dir + "/vm"},
			{Option: "-XX:Flags=" + dir + "/flags"}},
		Dirs: []jvm.Dir{{Dir: dir + "/d"}}, Files: []jvm.File{{File: dir + "/file"}}, Argfiles: []jvm.File{{File: dir + "/args"}},
		URLs: []jvm.URL{urlOf(web.URL + "/list"), urlOf(web.URL + "/text")}, Env: []string{"APP_OPTS"}}},
		env: service.Environment{Vars: map[string]string{"APP_OPTS": text("app"), "JAVA_TOOL_OPTIONS": text("tool"),
			"JDK_JAVA_OPTIONS": text("jdk"), "_JAVA_OPTIONS": text("under"),
			"JAVA_OPTS": text("java"), "CATALINA_OPTS": text("catalina")}},
		hookOptions: []hooks.OutputOption{{Option: "-Dhook=1\r", Source: "hook"}},
		shared:      &Shared{Labels: noLabels, fetch: &remote.Fetcher[remote.Answer]{Dir: t.TempDir(), Accept: acceptOptions}}}
	l.kind.names = []string{"JAVA_OPTS", "CATALINA_OPTS"}
	in, err := l.input(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for _, o := range in.User {
		got[o.String()] = true
		if strings.ContainsAny(o.String(), "\r\n\ufeff") {
			t.Errorf("%q (%s)", o, o.Source)
		}
	}
	for _, name := range []string{"dir", "file", "args", "at", "vm", "list", "url", "app", "tool", "jdk", "under", "java", "catalina", "hook",
		"inline"} {
		if !got["-D"+name+"=1"] {
			t.Errorf("-D%s=1 is missing in %q", name, in.User)
		}
	}
	if !got["-XX:MaxHeapSize=1g"] || len(in.Errors) > 0 {
		t.Errorf("%q, %q", in.User, in.Errors)
	}
}

// The fingerprint depends on the options of the sources and on nothing else.
func TestDigestOfSources(t *testing.T) {
	answer := "-Durl=1"
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, answer) }))
	defer web.Close()
	source := urlOf(web.URL)
	dir := write(t, map[string]string{"a.opts": "-Da=1", "dir/b.opts": "-Db=1"})
	read := func() string {
		t.Helper()
		l := &sources{cfg: jvm.Config{User: jvm.LayerConfig{Dirs: []jvm.Dir{{Dir: dir + "/dir"}},
			Files: []jvm.File{{File: dir + "/a.opts"}, {File: dir + "/later"}},
			URLs:  []jvm.URL{source}}},
			shared: &Shared{Labels: noLabels, fetch: &remote.Fetcher[remote.Answer]{Dir: dir + "/state", Accept: acceptOptions}}}
		if _, err := l.readConfigured(t.Context()); err != nil {
			t.Fatal(err)
		}
		return l.digest
	}
	first := read()
	if again := read(); again != first {
		t.Error("two readings of the same differ")
	}
	change := func(name string, do, undo func() error) {
		t.Helper()
		if err := do(); err != nil {
			t.Fatal(err)
		}
		if read() == first {
			t.Errorf("%s does not change the fingerprint", name)
		}
		if err := undo(); err != nil {
			t.Fatal(err)
		}
		if read() != first {
			t.Errorf("%s changes the fingerprint after it was undone", name)
		}
	}
	put := func(name, text string) func() error {
		return func() error { return os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600) }
	}
	say := func(text string) func() error { return func() error { answer = text; return nil } }
	change("a file", put("a.opts", "-Da=2"), put("a.opts", "-Da=1"))
	change("a missing file that appears", put("later", "-Dl=1"), func() error { return os.Remove(dir + "/later") })
	change("a file in a folder", put("dir/c.opts", "-Dc=1"), func() error { return os.Remove(dir + "/dir/c.opts") })
	change("a document", say("-Durl=2"), say("-Durl=1"))
	web.Close()
	source.Deadline = time.Second
	if read() != first {
		t.Error("the last good answer has another fingerprint than the answer")
	}
}

// Without a JVM nothing is watched, and of sources that cannot change only the limits: no inotify, no request.
func TestNothingToWatch(t *testing.T) {
	never := time.Duration(0)
	l := &Launcher{Launcher: &service.Launcher{}, shared: &Shared{Labels: noLabels}, JVM: jvm.Config{User: jvm.LayerConfig{
		Options: []jvm.Inline{{Option: "-Xmx1g"}}, Env: []string{"APP_OPTS"}, URLs: []jvm.URL{{URL: "http://config/x", Every: &never},
			{URL: "http://config/y", Every: new(time.Minute), When: jvm.When{
				Terms: jvm.Terms{Env: map[string]jvm.StringList{"STOKER_NO_SUCH": {"x"}}}}}}}}}
	none := NewDrift(nil, func() map[string]*Launcher { return nil }, nil, hclog.NewNullLogger())
	none.Follow(t.Context())
	if none.LimitsChanged(); none.stop != nil || none.recheck != nil {
		t.Errorf("watched without a JVM: %+v", none.watched)
	}
	one := func() map[string]*Launcher { return map[string]*Launcher{"app": l} }
	if got := NewDrift(nil, one, nil, hclog.NewNullLogger()).watchSet(); len(got.Dirs)+len(got.Files)+len(got.Polled)+len(got.Named) > 0 {
		t.Errorf("watch set without sources: %+v", got)
	}
	l.JVM.User.Dirs = []jvm.Dir{{Dir: "/app/opts"}}
	l.JVM.Enforced.URLs = []jvm.URL{{URL: "http://config/z", Every: new(time.Minute)}}
	if got := NewDrift(nil, one, nil, hclog.NewNullLogger()).watchSet(); len(got.Dirs) != 1 || len(got.Files) != 0 || len(got.Polled) != 1 ||
		len(got.Named) > 0 {
		t.Errorf("watch set: %+v", got)
	}
	l.JVM = jvm.Config{User: jvm.LayerConfig{Options: []jvm.Inline{{Option: "@/b/../x"}, {Option: "-XX:Flags=/a"}, {Option: "-Dx=@/c"},
		{Option: "@@d"}}}}
	if got := NewDrift(nil, one, nil, hclog.NewNullLogger()).watchSet(); !slices.Equal(got.Named["app"], []string{"/a", "/b/../x"}) {
		t.Errorf("named: %v", got.Named)
	}
}

// The page of a proxy and an empty text are rejected; an empty list is accepted.
func TestAcceptOptions(t *testing.T) {
	for _, c := range []struct {
		answer remote.Answer
		ok     bool
	}{
		{remote.Answer{Text: "-Da=1\n"}, true}, {remote.Answer{Text: "# none\n"}, true}, {remote.Answer{List: []string{}}, true},
		{remote.Answer{List: []string{"-Da=1"}}, true},
		{remote.Answer{Text: " \n"}, false}, {remote.Answer{}, false}, {remote.Answer{Text: "<html>"}, false},
		{remote.Answer{List: []string{"evil.Main"}}, false},
	} {
		if err := onlyOptions(c.answer); (err == nil) != c.ok {
			t.Errorf("%+v: %v", c.answer, err)
		}
	}
}
