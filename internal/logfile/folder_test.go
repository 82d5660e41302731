package logfile

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// appUser owns what a service's user can change.
const appUser = 4711

// place makes a folder of a user or, with text, a file.
func place(t *testing.T, path string, uid int, text ...string) string {
	t.Helper()
	err := os.MkdirAll(path, 0o755)
	if len(text) > 0 {
		_ = os.Remove(path)
		err = os.WriteFile(path, []byte(text[0]), 0o640)
	}
	if err == nil {
		err = os.Chown(path, uid, -1)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func placeLink(t *testing.T, target, path string, uid int) string {
	t.Helper()
	err := os.Symlink(target, path)
	if err == nil {
		err = os.Lchown(path, uid, -1)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func asRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
}

// contents are the files of a folder.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		data, _ := os.ReadFile(filepath.Join(dir, e.Name()))
		all[e.Name()] = string(data)
	}
	return all
}

// exchange swaps two names over and over until the test calls stop.
func exchange(a, b string) (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() { // ends with stop
		defer close(ended)
		for {
			select {
			case <-done:
				return
			default:
				_ = unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE)
			}
		}
	}()
	return func() { close(done); <-ended }
}

// The folder's owner swaps it with others while the file is written and rotated: folders of
// other users are not changed.
func TestSwappedLogFolder(t *testing.T) {
	asRoot(t)
	for _, kind := range []string{"link", "folder"} {
		t.Run(kind, func(t *testing.T) {
			dir := t.TempDir()
			app := place(t, dir+"/app", appUser)
			logs := place(t, app+"/logs", appUser)
			victim, other := place(t, dir+"/etc", 0), app+"/swap"
			if kind == "folder" { // root's folder below one of the user, who can rename it
				victim = place(t, app+"/swap", 0)
			} else {
				placeLink(t, victim, other, appUser)
			}
			for k := range 9 {
				place(t, fmt.Sprintf("%s/web.log.%d", victim, k), 0, fmt.Sprint("root's ", k))
			}
			place(t, victim+"/web.log", 0, "root's")
			before := contents(t, victim)
			var info unix.Stat_t
			if err := unix.Stat(victim, &info); err != nil {
				t.Fatal(err)
			}

			stop := exchange(logs, other)
			o := Options{Path: logs + "/web.log", Size: 100, Files: 3}
			r := File{Options: o}
			wrote := 0
			for k := range 3000 {
				if k%300 == 0 { // as another supervisor
					r.Close()
					r = File{Options: o}
				}
				if r.Open() != nil {
					continue
				}
				if n, err := r.Write([]byte("the service's text\n")); err == nil && n > 0 {
					wrote++
				}
				if k%3 == 0 {
					_ = r.Rotate()
				}
			}
			stop()
			r.Close()
			if kind == "folder" && unix.Stat(logs, &info) == nil && info.Uid == 0 {
				victim = logs
			} else if kind == "folder" {
				victim = other
			}
			if after := contents(t, victim); !maps.Equal(after, before) {
				t.Errorf("root's folder has %q", slices.Sorted(maps.Keys(after)))
			}
			t.Logf("written %d times", wrote)
		})
	}
}

// Files and folders that a service's user may have replaced are rejected with the reason;
// those of an operator are accepted.
func TestTrustOfPaths(t *testing.T) {
	asRoot(t)
	dir := t.TempDir()
	app := place(t, dir+"/app", appUser)
	own := place(t, dir+"/own", 0)
	place(t, dir+"/etc/conf", 0)
	place(t, dir+"/etc/passwd", 0, "root:x:0:0\n")
	place(t, app+"/logs", appUser)
	place(t, app+"/rootly", 0)
	placeLink(t, dir+"/etc/conf", app+"/tolink", appUser)
	placeLink(t, "logs", app+"/tologs", appUser)
	placeLink(t, app+"/logs", own+"/tologs", 0)
	placeLink(t, dir+"/etc/passwd", app+"/logs/link.log", appUser)
	if err := os.Link(dir+"/etc/passwd", app+"/logs/hard.log"); err != nil {
		t.Fatal(err)
	}
	place(t, own+"/first.log", 0, "")
	if err := os.Link(own+"/first.log", own+"/second.log"); err != nil { // such as a backup by hard links
		t.Fatal(err)
	}
	if err := unix.Mkfifo(app+"/logs/fifo.log", 0o600); err != nil {
		t.Fatal(err)
	}
	reader, err := os.OpenFile(app+"/logs/fifo.log", os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	open := place(t, dir+"/open", 0)
	if err := os.Chmod(open, 0o777); err != nil { // as in many images
		t.Fatal(err)
	}
	place(t, open+"/below", 0)
	sticky := place(t, dir+"/sticky", 0)
	if err := os.Chmod(sticky, 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	place(t, sticky+"/below", 0)
	mounted := place(t, app+"/volume", 0)
	if err := unix.Mount("none", mounted, "tmpfs", 0, "mode=0755"); err == nil {
		defer func() { _ = unix.Unmount(mounted, unix.MNT_DETACH) }()
	} else {
		mounted = own
	}
	for path, want := range map[string]string{
		own + "/web.log":          "",
		own + "/first.log":        "",
		own + "/tologs/web.log":   "",
		app + "/logs/web.log":     "",
		app + "/tologs/web.log":   "",
		open + "/web.log":         "",
		sticky + "/web.log":       "",
		sticky + "/below/web.log": "",
		mounted + "/web.log":      "",
		app + "/tolink/web.log":   "a symbolic link of another user",
		app + "/rootly/web.log":   app + " (mode 0755, uid 4711) can be changed by its owner",
		open + "/below/web.log":   open + " (mode 0777, uid 0) can be changed by others",
		app + "/logs/link.log":    "it is a symbolic link",
		app + "/logs/fifo.log":    "it is a FIFO",
		app + "/logs/hard.log":    "2 names",
		app + "/none/web.log":     "no such file or directory",
	} {
		r := File{Options: Options{Path: path, Size: 100, Files: 3}}
		err := r.Open()
		r.Close()
		switch {
		case want == "" && err != nil:
			t.Error(err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
	if got := contents(t, dir+"/etc/conf"); len(got) > 0 {
		t.Errorf("%q", got)
	}
}

// A folder that is replaced is used until the file is full; a removed one is opened again at
// once.
func TestReplacedLogFolder(t *testing.T) {
	dir := t.TempDir()
	logs := place(t, dir+"/logs", os.Geteuid())
	r := File{Options: Options{Path: logs + "/web.log", Size: 100, Files: 3}}
	defer r.Close()
	write := func(text string) {
		t.Helper()
		if err := r.Open(); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	write("one\n")
	if err := os.Rename(logs, dir+"/moved"); err != nil {
		t.Fatal(err)
	}
	place(t, logs, os.Geteuid())
	write("two\n")
	if err := r.Rotate(); err != nil {
		t.Fatal(err)
	}
	write("three\n")
	moved, now := contents(t, dir+"/moved"), contents(t, logs)
	if moved["web.log"] != "one\ntwo\n" || now["web.log"] != "three\n" || len(moved)+len(now) != 2 {
		t.Errorf("%q and %q", moved, now)
	}
	if err := os.RemoveAll(logs); err != nil {
		t.Fatal(err)
	}
	place(t, logs, os.Geteuid())
	write("four\n")
	if now := contents(t, logs); now["web.log"] != "four\n" {
		t.Errorf("%q", now)
	}
}

// A rotation that was killed between two renames continues and loses no file.
func TestRotateAfterKill(t *testing.T) {
	for _, c := range []struct{ have, want []string }{
		{[]string{"f"}, []string{"f", "f.1=f"}},
		{[]string{"f", "f.1", "f.2"}, []string{"f", "f.1=f", "f.2=f.1", "f.3=f.2"}},
		{[]string{"f", "f.1", "f.2", "f.3"}, []string{"f", "f.1=f", "f.2=f.1", "f.3=f.2"}},
		{[]string{"f", "f.2", "f.3"}, []string{"f", "f.1=f", "f.2=f.2", "f.3=f.3"}}, // killed before the last step
		{[]string{"f", "f.1", "f.3"}, []string{"f", "f.1=f", "f.2=f.1", "f.3=f.3"}},
		{[]string{"f.1", "f.2"}, []string{"f", "f.2=f.1", "f.3=f.2"}},
		{[]string{"f", "f.1", "f.2", "f.3", "f.4", "f.5"}, []string{"f", "f.1=f", "f.2=f.1", "f.3=f.2"}}, // fewer are wanted now
	} {
		dir := t.TempDir()
		for _, name := range c.have {
			os.WriteFile(filepath.Join(dir, name), []byte("="+name), 0o600)
		}
		r := File{Options: Options{Path: dir + "/f", Files: 3, Size: 100}}
		if err := r.Rotate(); err != nil {
			t.Errorf("%v: %v", c.have, err)
		}
		r.Close()
		var got []string
		for name, text := range contents(t, dir) {
			got = append(got, name+text)
		}
		slices.Sort(got)
		if !slices.Equal(got, c.want) {
			t.Errorf("%v became %v, want %v", c.have, got, c.want)
		}
	}
}
