package incident

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestCoreFile(t *testing.T) {
	started := time.Now().Add(-time.Minute)
	for _, c := range []struct {
		pattern, usesPid string
		dir              string
		files            []string
		want             string // of the found file's path, or of the note
	}{
		{"core", "0", "/srv", []string{"srv/core"}, "/srv/core"},
		{"core", "1", "/srv", []string{"srv/core.42"}, "/srv/core.42"},
		{"/var/crash/core-%e-%p-%t", "0", "", []string{"var/crash/core-java-42-1700000000", "var/crash/core-java-43-1700000000"},
			"/var/crash/core-java-42-1700000000"},
		{"core.%p", "1", "/s[r]v*", []string{"s[r]v*/core.42"}, "/s[r]v*/core.42"},
		{"50%%/c?re%", "0", "/", []string{"50%/c?re%"}, "/50%/c?re%"},
		{"|/usr/lib/systemd/systemd-coredump %P", "0", "/srv", nil,
			"the core was given to a program of the host: /usr/lib/systemd/systemd-coredump %P"},
		{"core", "0", "/srv", []string{"srv/old/core"}, "a core was dumped, as core; it is not there"},
		{"core", "0", "", nil, "in the working directory of the process, as core"},
		{"", "", "/srv", nil, "where cannot be found out"},
	} {
		root := t.TempDir()
		put := func(name, text string) {
			path := filepath.Join(root, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		put("proc/sys/kernel/core_pattern", c.pattern+"\n")
		put("proc/sys/kernel/core_uses_pid", c.usesPid+"\n")
		for _, f := range c.files {
			put(f, "core")
		}
		file, note := coreFile(root, End{Pid: 42, Dir: c.dir, Started: started})
		got := note
		if file.Path != "" {
			got = strings.TrimPrefix(file.Path, root)
			if file.Size != 4 || file.Kind != FileCore {
				t.Errorf("%+v", file)
			}
		}
		if !strings.Contains(got, c.want) || file.Path != "" && got != c.want {
			t.Errorf("%q: %q, want %q", c.pattern, got, c.want)
		}
		if file, _ := coreFile(root, End{Pid: 42, Dir: c.dir, Started: time.Now().Add(time.Hour)}); file.Path != "" {
			t.Errorf("%q: %s is of an earlier start", c.pattern, file.Path)
		}
	}
}

func TestProcessEvidence(t *testing.T) {
	f := ProcessEvidence(context.Background(), End{Argv: []string{"app", "--token", "x"}, Exit: &Exit{Code: 1}})
	if !slices.Equal(f.Options, []string{"app", "--token", "***"}) || f.Cause != "" || len(f.Files)+len(f.Notes) > 0 {
		t.Errorf("%+v", f)
	}
}

// A link or a FIFO in the place of a file is no evidence.
func TestStatEvidence(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/x", []byte("12345"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("x", dir+"/link"); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"x": true, "link": false, "none": false, ".": false} {
		f, ok := statFile(FileCore, filepath.Join(dir, name), time.Now().Add(-time.Hour))
		if ok != want || ok && (f.Size != 5 || time.Since(f.ModTime) > time.Minute) {
			t.Errorf("%s: %v %+v", name, ok, f)
		}
	}
}
