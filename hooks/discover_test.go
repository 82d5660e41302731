package hooks

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stoker-init/stoker/internal/lifecycle"
)

func TestDiscover(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"1-a", "2-c", "09-d", "10-b", "50-e.sh", "100-z", "0100-y", "50-e.sh~", "60-x.dpkg-old", ".60-x", "60x",
		"x-60", "60-", "12345-a", "60-a b", "..data",
		"20-x.bak", "20-x.rpmsave", "20-x.rpmnew", "20-x.ucf-old", "20-x.swp", "20-x.disabled", "20-x.sh.orig", "20-x.1", "20-.sh", "20-x.",
		"21-x.py"} {
		script(t, filepath.Join(dir, "ready.d", name), "#!/bin/sh\n", 0o755)
	}
	script(t, filepath.Join(dir, "pre-start.d", "10-a"), "", 0o755)
	script(t, filepath.Join(dir, "redy.d", "10-a"), "", 0o755)
	script(t, filepath.Join(dir, "pre_stop.d", "10-a"), "", 0o755)
	script(t, filepath.Join(dir, "README"), "", 0o644)
	hooks := byEvent(map[lifecycle.Event][]Hook{lifecycle.Ready: {{File: "10-b", Name: "b", Timeout: time.Second}, {File: "11-b"},
		{Name: "other", Command: []string{"x"}}}, lifecycle.Exit: {{File: "10-x"}}})
	lists := &hooks
	source := func(e lifecycle.Event, k int) string { return fmt.Sprintf("%s#%d", e, k) }
	found, problems := Discover(dir, lists, source)
	var got []string
	listed := 0
	for _, b := range found {
		if b.Unmet != "" {
			listed++
			continue
		}
		got = append(got, fmt.Sprintf("%s/%s %v", b.Event, b.Name, b.Timeout))
		if b.Path != filepath.Join(dir, string(b.Event)+".d", b.File) || b.Source != b.Path {
			t.Errorf("%+v", b)
		}
	}
	wantEqual(t, "hooks", got, []string{"pre-start/10-a 30s", "ready/1-a 30s", "ready/2-c 30s", "ready/09-d 30s", "ready/b 1s",
		"ready/21-x.py 30s", "ready/50-e.sh 30s", "ready/0100-y 30s", "ready/100-z 30s"})
	if listed != 18 {
		t.Errorf("%d files are listed as ignored", listed)
	}
	reported := map[string]string{}
	for _, p := range problems {
		reported[strings.TrimPrefix(p.Path, dir+"/")] = fmt.Sprint(p.Fatal, " ", p.Message, " ", p.Hint)
	}
	for path, want := range map[string]string{
		"redy.d": `did you mean "ready.d"?`, "pre_stop.d": `did you mean "pre-stop.d"?`, "README": "not the folder of an event",
		"ready.d/50-e.sh~": "backup file", "ready.d/60-x.dpkg-old": "a name with a dot must end with .sh,", "ready.d/20-x.bak": "with a dot",
		"ready.d/20-x.rpmsave": "with a dot", "ready.d/20-x.rpmnew": "with a dot", "ready.d/20-x.ucf-old": "with a dot",
		"ready.d/20-x.swp":      "with a dot",
		"ready.d/20-x.disabled": "with a dot", "ready.d/20-x.sh.orig": "with a dot", "ready.d/20-x.1": "with a dot",
		"ready.d/20-.sh": "with a dot", "ready.d/20-x.": "with a dot", "ready.d/.60-x": "begins with a dot", "ready.d/60x": "no - with a name",
		"ready.d/x-60": "one to four digits", "ready.d/60-": "no - with a name", "ready.d/12345-a": "one to four digits",
		"ready.d/60-a b": "other characters",
		"ready#1":        "true there is no hook file " + filepath.Join(dir, "ready.d/11-b"), "exit#0": "true there is no hook file",
	} {
		if !strings.Contains(reported[path], want) || strings.HasPrefix(reported[path], "true") != strings.Contains(path, "#") {
			t.Errorf("%s: %q, want %q", path, reported[path], want)
		}
		delete(reported, path)
	}
	if len(reported) > 0 {
		t.Errorf("also reported: %q", reported)
	}
	if found, problems := Discover(filepath.Join(dir, "none"), &ByEvent{}, source); len(found)+len(problems) > 0 {
		t.Errorf("%v %v", found, problems)
	}
	if os.Geteuid() != 0 {
		return
	}
	if _, problems := Discover(filepath.Join(dir, "README"), &ByEvent{}, source); len(problems) == 0 || !problems[0].Fatal {
		t.Errorf("%v", problems)
	}
}

func FuzzFileNames(f *testing.F) {
	for _, seed := range []string{"10-a", "1-", "00000-a", "10-a~", ".x", "10-a.dpkg-new", "10-a\n", "٣-a"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if badFileName(name) != "" {
			return
		}
		if strings.ContainsAny(name, "/\x00\n ~") || name[0] < '0' || name[0] > '9' || number(name) > 9999 || CheckFileName(name) != nil {
			t.Errorf("%q is a hook", name)
		}
	})
}

func TestParsePolicy(t *testing.T) {
	for text, want := range map[string]Policy{"": {}, "ignore": {}, "fail": {Fail: true}, "retry 3": {Retries: 3},
		"retry 3, fail": {3, true}, "retry 3,fail": {3, true}, "retry 3, ignore": {Retries: 3}} {
		if got, err := ParsePolicy(text); err != nil || got != want {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"retry", "retry x", "retry 0", "retry -1", "retry 101", "fail, retry 3", "ignore, fail", "retry 3, x",
		"Fail", "retry3"} {
		if got, err := ParsePolicy(text); err == nil || got != (Policy{}) {
			t.Errorf("%q: %+v", text, got)
		}
	}
}
