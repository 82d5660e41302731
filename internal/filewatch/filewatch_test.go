package filewatch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fsnotify/fsnotify"
)

// watched is a running Watcher, with the content at each call of changed.
type watched struct {
	t     *testing.T
	file  string
	calls chan string
}

// startWatch watches file until the test ends.
func startWatch(t *testing.T, file string) *watched {
	t.Helper()
	w, err := New(configSet(file))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	out := &watched{t: t, file: file, calls: make(chan string, 1000)}
	done := make(chan error, 1)
	go func() { // ends with ctx
		done <- w.Run(ctx, func() { out.calls <- content(file) })
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run ended with %v", err)
		}
	})
	return out
}

// configSet has a file, and *.yaml in conf.d beside it.
func configSet(file string) FileSet {
	return FileSet{Files: []string{file}, Folders: []string{filepath.Join(filepath.Dir(file), "conf.d")},
		Match: func(name string) bool { return !strings.HasPrefix(name, ".") && strings.HasSuffix(name, ".yaml") }}
}

// content is the content of the files as comparable text.
func content(file string) string {
	var all []string
	more, _ := filepath.Glob(filepath.Join(filepath.Dir(file), "conf.d", "[^.]*.yaml"))
	for _, path := range append([]string{file}, more...) {
		if data, err := os.ReadFile(path); err == nil {
			all = append(all, filepath.Base(path)+":"+string(data))
		}
	}
	return strings.Join(all, " ")
}

// sees waits for a call with that content.
func (w *watched) sees(want string) {
	w.t.Helper()
	deadline := time.After(10 * time.Second)
	last := "no call"
	for {
		select {
		case last = <-w.calls:
			if last == want {
				return
			}
		case <-deadline:
			w.t.Fatalf("got %q, want %q", last, want)
		}
	}
}

// quiet fails if changed is called within three times settleTime.
func (w *watched) quiet(what string) {
	w.t.Helper()
	select {
	case got := <-w.calls:
		w.t.Errorf("%s: a change to %q is reported", what, got)
	case <-time.After(3 * settleTime):
	}
}

func put(t *testing.T, path, data string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(data), 0o644))
}

// place puts a file there that is whole from the beginning.
func place(t *testing.T, path, text string) {
	t.Helper()
	whole := filepath.Join(t.TempDir(), "whole")
	must(t, os.WriteFile(whole, []byte(text), 0o644), os.Rename(whole, path))
}

// again writes the text that the file has. It has no other one meanwhile, as it has where it is truncated first.
func again(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	must(t, err)
	_, err = f.WriteString(text)
	must(t, err, f.Close())
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func TestFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "stoker.yaml")
	put(t, file, "1")
	w := startWatch(t, file)

	put(t, file, "2")
	w.sees("stoker.yaml:2")

	put(t, filepath.Join(dir, "new"), "3") // as most tools save
	must(t, os.Rename(filepath.Join(dir, "new"), file))
	w.sees("stoker.yaml:3")

	must(t, os.Remove(file))
	put(t, file, "4")
	w.sees("stoker.yaml:4")

	// vim: a trial file, the old file is renamed, the new one written, the old one removed.
	put(t, filepath.Join(dir, "4913"), "")
	must(t, os.Remove(filepath.Join(dir, "4913")), os.Rename(file, file+"~"))
	put(t, file, "5")
	must(t, os.Remove(file+"~"))
	w.sees("stoker.yaml:5")

	must(t, os.Remove(file))
	w.sees("")
	put(t, file, "6")
	w.sees("stoker.yaml:6")
}

func TestUnrelatedChangesAreIgnored(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "stoker.yaml")
	put(t, file, "1")
	put(t, filepath.Join(dir, "conf.d", "a.yaml"), "a")
	w := startWatch(t, file)
	put(t, file+"~", "backup")
	put(t, filepath.Join(dir, ".stoker.yaml.swp"), "swap")
	put(t, filepath.Join(dir, "#stoker.yaml#"), "emacs")
	put(t, filepath.Join(dir, "conf.d", ".a.yaml.swp"), "swap")
	put(t, filepath.Join(dir, "conf.d", "a.yaml~"), "backup")
	put(t, filepath.Join(dir, "conf.d", "README"), "text")
	put(t, filepath.Join(dir, "other", "stoker.yaml"), "text")
	w.quiet("other files")
	again(t, file, "1")
	must(t, os.Chtimes(file, time.Now(), time.Now()), os.Chmod(file, 0o600))
	w.quiet("the same text again")
	put(t, file, "2")
	w.sees("stoker.yaml:2 a.yaml:a")
	w.quiet("already reported")
}

func TestConfD(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file, conf := filepath.Join(dir, "stoker.yaml"), filepath.Join(dir, "conf.d")
	put(t, file, "1")
	w := startWatch(t, file)
	put(t, filepath.Join(conf, "a.yaml"), "a")
	w.sees("stoker.yaml:1 a.yaml:a")
	put(t, filepath.Join(conf, "b.yaml"), "b")
	w.sees("stoker.yaml:1 a.yaml:a b.yaml:b")
	must(t, os.Remove(filepath.Join(conf, "a.yaml")))
	w.sees("stoker.yaml:1 b.yaml:b")
	must(t, os.RemoveAll(conf))
	w.sees("stoker.yaml:1")
	put(t, filepath.Join(conf, "c.yaml"), "c")
	w.sees("stoker.yaml:1 c.yaml:c")
	// A link to a file elsewhere, which then changes.
	put(t, filepath.Join(dir, "elsewhere", "d.yaml"), "d")
	must(t, os.Symlink("../elsewhere/d.yaml", filepath.Join(conf, "d.yaml")))
	w.sees("stoker.yaml:1 c.yaml:c d.yaml:d")
	put(t, filepath.Join(dir, "elsewhere", "d.yaml"), "D")
	w.sees("stoker.yaml:1 c.yaml:c d.yaml:D")
}

func TestRemovedFoldersAreWatchedAgain(t *testing.T) {
	t.Parallel()
	top := t.TempDir()
	dir := filepath.Join(top, "etc", "stoker")
	file := filepath.Join(dir, "stoker.yaml")
	w := startWatch(t, file)
	put(t, file, "1") // two folders are made, too
	w.sees("stoker.yaml:1")
	must(t, os.RemoveAll(dir))
	w.sees("")
	put(t, file, "2")
	w.sees("stoker.yaml:2")
	must(t, os.RemoveAll(dir)) // and at once again
	put(t, file, "3")
	w.sees("stoker.yaml:3")
	put(t, filepath.Join(top, "next", "stoker.yaml"), "4")
	must(t, os.Rename(dir, dir+".old"), os.Rename(filepath.Join(top, "next"), dir))
	w.sees("stoker.yaml:4")
	put(t, filepath.Join(dir+".old", "stoker.yaml"), "old")
	w.quiet("the old folder")
	put(t, file, "5")
	w.sees("stoker.yaml:5")
	must(t, os.RemoveAll(filepath.Join(top, "etc")))
	w.sees("")
	put(t, file, "6")
	w.sees("stoker.yaml:6")
}

// configMap writes a volume as kubelet does: files are links into ..data, which
// is a link to a folder with a time in its name and is swapped by a rename.
func configMap(t *testing.T, dir, version string, files map[string]string) {
	t.Helper()
	for name, data := range files {
		put(t, filepath.Join(dir, version, name), data)
	}
	old, err := os.Readlink(filepath.Join(dir, "..data"))
	must(t, os.Symlink(version, filepath.Join(dir, "..data_tmp")), os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")))
	for name := range files {
		if _, err := os.Lstat(filepath.Join(dir, name)); err != nil {
			must(t, os.Symlink(filepath.Join("..data", name), filepath.Join(dir, name)))
		}
	}
	if err == nil {
		must(t, os.RemoveAll(filepath.Join(dir, old)))
	}
}

func TestConfigMap(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file, conf := filepath.Join(dir, "stoker.yaml"), filepath.Join(dir, "conf.d")
	configMap(t, dir, "..2026_01", map[string]string{"stoker.yaml": "1"})
	configMap(t, conf, "..2026_01", map[string]string{"a.yaml": "a"})
	w := startWatch(t, file)
	for n := range 4 {
		want := fmt.Sprintf("stoker.yaml:%d a.yaml:%c", n+2, 'b'+n)
		configMap(t, dir, fmt.Sprintf("..2026_1%d", n), map[string]string{"stoker.yaml": fmt.Sprint(n + 2)})
		configMap(t, conf, fmt.Sprintf("..2026_1%d", n), map[string]string{"a.yaml": string(rune('b' + n))})
		w.sees(want)
	}
	w.quiet("already reported")
	configMap(t, dir, "..2026_20", map[string]string{"stoker.yaml": "5"}) // the same text
	w.quiet("the same text in a new version")
}

func TestLinkedFolder(t *testing.T) {
	t.Parallel()
	top := t.TempDir()
	for _, version := range []string{"1", "2"} {
		put(t, filepath.Join(top, "releases", version, "conf", "stoker.yaml"), version)
	}
	current := filepath.Join(top, "current")
	must(t, os.Symlink("releases/1", current), os.Symlink(current+"/../1/conf", filepath.Join(top, "conf")))
	w := startWatch(t, filepath.Join(top, "conf", "stoker.yaml"))
	put(t, filepath.Join(top, "releases", "1", "conf", "stoker.yaml"), "1.1")
	w.sees("stoker.yaml:1.1")
	must(t, os.Symlink(current+"/conf", filepath.Join(top, "conf.new")), os.Rename(filepath.Join(top, "conf.new"), filepath.Join(top, "conf")))
	w.quiet("another way to the same file")
	must(t, os.Symlink("releases/2", current+".new"), os.Rename(current+".new", current))
	w.sees("stoker.yaml:2")
	put(t, filepath.Join(top, "releases", "1", "conf", "stoker.yaml"), "1.2")
	w.quiet("the old release")
	put(t, filepath.Join(top, "releases", "2", "conf", "stoker.yaml"), "2.1")
	w.sees("stoker.yaml:2.1")
}

func TestDanglingLinks(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "stoker.yaml")
	must(t, os.Symlink("later/real.yaml", file), os.Symlink("conf.d", filepath.Join(dir, "conf.d")))
	w := startWatch(t, file)
	put(t, filepath.Join(dir, "later", "real.yaml"), "1")
	w.sees("stoker.yaml:1")
	must(t, os.Remove(filepath.Join(dir, "conf.d")))
	put(t, filepath.Join(dir, "conf.d", "a.yaml"), "a")
	w.sees("stoker.yaml:1 a.yaml:a")
}

func TestManyEvents(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "stoker.yaml")
	put(t, file, "0")
	w := startWatch(t, file)
	from := time.Now()
	for n := range 5000 { // an event for the file and one beside it, at least
		put(t, file, fmt.Sprint(n+1))
		put(t, filepath.Join(dir, fmt.Sprint("other", n%50)), "x")
	}
	took := time.Since(from)
	calls, last := 0, ""
	for deadline := time.After(10 * time.Second); last != "stoker.yaml:5000"; {
		select {
		case last = <-w.calls:
			calls++
		case <-deadline:
			t.Fatalf("the last content reported is %q", last)
		}
	}
	if most := int(took/settleTime) + 2; calls > most {
		t.Errorf("%d calls in %v, want at most %d", calls, took, most)
	}
	w.quiet("the storm is over")
}

// TestQueueOverflow blocks the Watcher until the kernel has dropped events, the relevant one
// among them.
func TestQueueOverflow(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("/proc/sys/fs/inotify/max_queued_events")
	if err != nil {
		t.Skip(err)
	}
	var most int
	if _, err := fmt.Sscan(string(text), &most); err != nil || most > 100_000 {
		t.Skipf("the queue holds %d events", most)
	}
	dir := filepath.Join(t.TempDir(), "etc")
	file := filepath.Join(dir, "stoker.yaml")
	put(t, file, "0")
	watcher, err := New(configSet(file))
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	entered, release, ended := make(chan string), make(chan bool), make(chan error, 1)
	go func() { // ends with ctx
		ended <- watcher.Run(ctx, func() { entered <- content(file); <-release })
	}()
	put(t, file, "1")
	await(t, entered)
	for n := range most/2 + 1000 { // two events each
		must(t, os.Mkdir(filepath.Join(dir, fmt.Sprint(n)), 0o755), os.Remove(filepath.Join(dir, fmt.Sprint(n))))
	}
	// Nor is the replacement of this folder reported.
	must(t, os.Rename(dir, dir+".old"))
	put(t, file, "2")
	release <- true
	for n := range 2 {
		if got, want := await(t, entered), fmt.Sprint("stoker.yaml:", n+2); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		put(t, file, fmt.Sprint(n+3))
		release <- true
	}
	await(t, entered)
	cancel()
	close(release)
	must(t, await(t, ended))
}

// TestDebounce has a fake clock.
func TestDebounce(t *testing.T) {
	for _, tc := range []struct {
		name   string
		events func(send func(name string), fail func(error))
		want   []time.Duration // times of the comparisons
	}{
		{"one", func(send func(string), _ func(error)) { send("ours") }, []time.Duration{200 * time.Millisecond}},
		{"others", func(send func(string), _ func(error)) { send("theirs") }, nil},
		{"lost", func(_ func(string), fail func(error)) { fail(fsnotify.ErrEventOverflow) }, []time.Duration{200 * time.Millisecond}},
		{"together", func(send func(string), _ func(error)) {
			for range 5 {
				send("ours")
				time.Sleep(199 * time.Millisecond)
			}
		}, []time.Duration{(4*199 + 200) * time.Millisecond}},
		{"others do not hold ours up", func(send func(string), _ func(error)) {
			send("ours")
			for range 20 {
				time.Sleep(99 * time.Millisecond)
				send("theirs")
			}
		}, []time.Duration{200 * time.Millisecond}},
		{"without an end", func(send func(string), _ func(error)) {
			for range 50 { // 0 to 4.9 s
				send("ours")
				time.Sleep(100 * time.Millisecond)
			}
		}, []time.Duration{2 * time.Second, 4 * time.Second, 5*time.Second + 100*time.Millisecond}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				events, errs, ended := make(chan fsnotify.Event), make(chan error), make(chan error, 1)
				ctx, cancel := context.WithCancel(t.Context())
				begin := time.Now()
				var compared []time.Duration
				go func() { // ends with ctx
					ended <- debounce(ctx, events, errs, func(path string) bool { return path == "ours" }, func() error {
						compared = append(compared, time.Since(begin))
						return nil
					})
				}()
				tc.events(func(name string) { events <- fsnotify.Event{Name: name} }, func(err error) { errs <- err })
				time.Sleep(time.Hour)
				cancel()
				must(t, <-ended)
				if len(compared) != len(tc.want) {
					t.Fatalf("compared at %v, want %v", compared, tc.want)
				}
				for i, at := range compared {
					if d := at - tc.want[i]; d < 0 || d > 101*time.Millisecond {
						t.Errorf("compared at %v, want %v", compared, tc.want)
					}
				}
			})
		})
	}
}

func TestDebounceFails(t *testing.T) {
	broken := errors.New("broken")
	errs := make(chan error, 1)
	errs <- broken
	if err := debounce(t.Context(), nil, errs, nil, nil); err != broken {
		t.Errorf("got %v", err)
	}
	events := make(chan fsnotify.Event)
	close(events)
	if err := debounce(t.Context(), events, nil, nil, nil); err != fsnotify.ErrClosed {
		t.Errorf("got %v", err)
	}
}

func await[T any](t *testing.T, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(20 * time.Second):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

func TestWatchEnds(t *testing.T) {
	before := runtime.NumGoroutine()
	for range 20 {
		w, err := New(configSet(filepath.Join(t.TempDir(), "stoker.yaml")))
		must(t, err)
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		must(t, w.Run(ctx, func() { t.Error("reported without a change") }))
	}
	for deadline := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
		}
	}
}

func TestWatchErrorHasHint(t *testing.T) {
	for err, want := range map[error]string{syscall.ENOSYS: "no inotify", syscall.EMFILE: "max_user_instances",
		syscall.ENOSPC: "max_user_watches",
		syscall.EACCES: "must be readable", fsnotify.ErrClosed: "system's log"} {
		got := watchError(fmt.Errorf("/etc: %w", err))
		if !strings.Contains(got.Error(), want) || !strings.Contains(got.Error(), "HUP") || !errors.Is(got, err) {
			t.Errorf("%v: %v", err, got)
		}
	}
}

// TestWatchWithoutInotify runs itself in a user namespace with its own limits.
func TestWatchWithoutInotify(t *testing.T) {
	if want := os.Getenv("STOKER_CI_NO_INOTIFY"); want != "" {
		_, err := New(configSet("/etc/stoker/stoker.yaml"))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Fatalf("got %v, want %s", err, want)
		}
		return
	}
	if err := exec.Command("unshare", "-U", "-r", "true").Run(); err != nil {
		t.Skipf("no user namespace can be made: %v", err)
	}
	for _, limit := range []string{"instances", "watches"} {
		cmd := exec.Command("unshare", "-U", "-r", "sh", "-c",
			"echo 0 > /proc/sys/user/max_inotify_"+limit+` && exec "$0" -test.run='^TestWatchWithoutInotify$'`, os.Args[0])
		cmd.Env = append(os.Environ(), "STOKER_CI_NO_INOTIFY=max_user_"+limit)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", limit, err, out)
		}
	}
}

// NewPath reports what is at the path, not its content.
func TestPath(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run", "stoker")
	path := filepath.Join(dir, "api.sock")
	put(t, path, "a")
	w, err := NewPath(path)
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	reported := make(chan string, 100)
	go w.Run(ctx, func() { // ends with ctx
		info, err := os.Lstat(path)
		if err != nil {
			reported <- "nothing"
			return
		}
		reported <- info.Mode().Type().String()
	})
	for _, step := range []struct {
		do   func() error
		want string
	}{
		{func() error { return os.Remove(path) }, "nothing"},
		{func() error { return os.WriteFile(path, []byte("a"), 0o644) }, "----------"},
		{func() error { return os.RemoveAll(filepath.Dir(dir)) }, "nothing"},
		{func() error { return errors.Join(os.MkdirAll(dir, 0o755), os.Symlink("/", path)) }, "L---------"},
		{func() error { return os.Rename(dir, dir+".old") }, "nothing"},
	} {
		must(t, step.do())
		for got := ""; got != step.want; {
			got = await(t, reported)
		}
	}
	must(t, os.Mkdir(dir, 0o755), os.WriteFile(path, nil, 0o644))
	for got := ""; got != "----------"; {
		got = await(t, reported)
	}
}

// A path that is created again and removed before the next comparison is reported again.
func TestPathIsRemovedAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "api.sock")
	put(t, path, "a")
	w, err := NewPath(path)
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	reported := make(chan bool, 100)
	go w.Run(ctx, func() { // ends with ctx
		_, err := os.Lstat(path)
		if err != nil {
			_, _ = os.WriteFile(path, nil, 0o644), os.Remove(path)
		}
		reported <- err != nil
	})
	must(t, os.Remove(path))
	for gone := 0; gone < 3; {
		if await(t, reported) {
			gone++
		}
	}
}

// Files in several folders are watched with their folders and links.
func TestSeveralFolders(t *testing.T) {
	dir := t.TempDir()
	file, folder := filepath.Join(dir, "later", "jvm.options"), filepath.Join(dir, "opts")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	w, err := New(FileSet{Files: []string{file}, Folders: []string{folder}, Match: func(name string) bool {
		return strings.HasSuffix(name,
			".opts")
	}})
	if err != nil {
		t.Fatal(err)
	}
	calls, done := make(chan struct{}, 100), make(chan error, 1)
	go func() { done <- w.Run(t.Context(), func() { calls <- struct{}{} }) }() // ends with the test
	reported := func(what string, want bool) {
		t.Helper()
		limit := 10 * time.Second
		if !want {
			limit = 3 * settleTime
		}
		select {
		case <-calls:
			if !want {
				t.Errorf("%s: it was reported", what)
			}
		case <-time.After(limit):
			if want {
				t.Fatalf("%s: nothing was reported", what)
			}
		}
	}
	place(t, filepath.Join(folder, "a.opts"), "-Da=b")
	reported("a new file", true)
	put(t, filepath.Join(folder, "a.txt"), "-Da=b")
	reported("a file that does not match", false)
	if err := os.Mkdir(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	place(t, file, "-Xmx1g")
	reported("a file in a new folder", true)
	again(t, file, "-Xmx1g")
	reported("the same text", false)
	if err := os.Remove(filepath.Join(folder, "a.opts")); err != nil {
		t.Fatal(err)
	}
	reported("a file is gone", true)
}
