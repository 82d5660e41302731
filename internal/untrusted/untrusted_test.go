package untrusted

import (
	"bytes"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

const app = 4711

func put(t *testing.T, path, text string, uid int) string {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(t, os.WriteFile(path, []byte(text), 0o600))
	chown(t, path, uid)
	return path
}

func link(t *testing.T, target, path string, uid int) string {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(t, os.Symlink(target, path))
	chown(t, path, uid)
	return path
}

func chown(t *testing.T, path string, uid int) {
	t.Helper()
	if uid != os.Geteuid() {
		must(t, os.Lchown(path, uid, -1))
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func rootOnly(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
}

// Other things in the place of a file do not block, and cost no memory.
func TestHostileFiles(t *testing.T) {
	dir := t.TempDir()
	must(t, unix.Mkfifo(dir+"/fifo", 0o600))
	listener, err := net.Listen("unix", dir+"/socket")
	must(t, err)
	defer listener.Close()
	must(t, os.Mkdir(dir+"/folder", 0o755))
	put(t, dir+"/sparse", "", os.Geteuid())
	must(t, os.Truncate(dir+"/sparse", 20<<30))
	put(t, dir+"/small", "12345678", os.Geteuid())
	put(t, dir+"/large", "123456789", os.Geteuid())
	link(t, "/dev/zero", dir+"/zero", os.Geteuid())
	link(t, "fifo", dir+"/tofifo", os.Geteuid())
	link(t, "loop", dir+"/loop", os.Geteuid())
	link(t, "nothing", dir+"/dangling", os.Geteuid())
	for path, want := range map[string]error{
		"fifo": ErrNotRegular, "socket": ErrNotRegular, "folder": ErrNotRegular, "zero": ErrNotRegular, "tofifo": ErrNotRegular,
		"sparse": ErrTooLarge, "large": ErrTooLarge, "small": nil,
		"loop": unix.ELOOP, "dangling": fs.ErrNotExist, "none": fs.ErrNotExist, "none/x": fs.ErrNotExist,
		"small/": unix.ENOTDIR, "small/x": unix.ENOTDIR, "small/..": unix.ENOTDIR, "folder/../small": nil, "./folder/.././/small": nil,
		strings.Repeat("x", 300): unix.ENAMETOOLONG,
	} {
		data, err := ReadFile(dir+"/"+path, 8)
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", path, err, want)
		}
		if err != nil && strings.Contains(err.Error(), dir) {
			t.Errorf("%s: %v names it", path, err)
		}
		if want == nil && string(data) != "12345678" {
			t.Errorf("%s: %q", path, data)
		}
	}
	if _, err := ReadFile("", 8); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the empty path: %v", err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, _ = ReadFile(dir+"/sparse", 1<<20)
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; took > 16<<20 {
		t.Errorf("20 GiB took %d bytes to refuse", took)
	}
}

func TestRelativePaths(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	put(t, dir+"/a/b", "text", os.Geteuid())
	for _, path := range []string{"a/b", "./a/b", "a/../a/b", dir + "/a/b"} {
		if data, err := ReadFile(path, 10); err != nil || string(data) != "text" {
			t.Errorf("%s: %q, %v", path, data, err)
		}
	}
	for _, path := range []string{".", "/", "a", "a/", "..", dir} {
		f, err := OpenDir(path)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		f.Close()
	}
}

// A link is followed if root owns it, or to a file of its owner.
func TestLinks(t *testing.T) {
	rootOnly(t)
	dir := t.TempDir()
	secret := put(t, dir+"/etc/shadow", "secret", 0)
	put(t, dir+"/etc/app", "ours", app)
	put(t, dir+"/etc/conf/server.xml", "<Server/>", 0)
	put(t, dir+"/etc/other", "other", app+1)
	for _, c := range []struct {
		name, target string
		owner        int
		rest         string
		want         error
	}{
		{"root to root", secret, 0, "", nil},
		{"root to the app's", dir + "/etc/app", 0, "", nil},
		{"the app to root", secret, app, "", ErrLink},
		{"the app to another user", dir + "/etc/other", app, "", ErrLink},
		{"the app to its own", dir + "/etc/app", app, "", nil},
		{"a folder's link, root", dir + "/etc/conf", 0, "/server.xml", nil}, // Debian's /var/lib/tomcat10/conf
		{"a folder's link, the app", dir + "/etc/conf", app, "/server.xml", ErrLink},
		{"relative", "etc/app", app, "", nil},
		{"through /proc", "/proc/self/root" + dir + "/etc/shadow", app, "", ErrLink},
		{"an environment", "/proc/self/environ", app, "", ErrLink},
	} {
		path := link(t, c.target, filepath.Join(dir, c.name), c.owner)
		if _, err := ReadFile(path+c.rest, 1<<20); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
		again := link(t, path, filepath.Join(dir, c.name+" again"), 0) // root's link to it changes nothing
		if _, err := ReadFile(again+c.rest, 1<<20); !errors.Is(err, c.want) {
			t.Errorf("%s, by another link: %v, want %v", c.name, err, c.want)
		}
	}
	// As the kubelet lays it out.
	put(t, dir+"/map/..2026_01_01/server.xml", "text", 0)
	link(t, "..2026_01_01", dir+"/map/..data", 0)
	link(t, "..data/server.xml", dir+"/map/server.xml", 0)
	if _, err := ReadFile(dir+"/map/server.xml", 10); err != nil {
		t.Error(err)
	}
	if _, err := OpenDir(link(t, dir+"/etc", dir+"/logs", app)); !errors.Is(err, ErrLink) {
		t.Errorf("a folder by the app's link: %v", err)
	}
}

// A process that acts as a user follows links of that user.
func TestLinksOfOwnUser(t *testing.T) {
	rootOnly(t)
	dir := t.TempDir()
	must(t, os.Chmod(dir, 0o755))
	for place := dir; place != "/tmp" && place != "/"; place = filepath.Dir(place) {
		must(t, os.Chmod(place, 0o755))
	}
	shared := put(t, dir+"/shared", "text", 0)
	must(t, os.Chmod(shared, 0o644))
	path := link(t, shared, dir+"/link", app)
	secret := link(t, put(t, dir+"/shadow", "secret", 0), dir+"/secret", app)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	root, err := unix.SetfsuidRetUid(app)
	must(t, err)
	data, err := ReadFile(path, 10)
	_, secretErr := ReadFile(secret, 10)
	_, _ = unix.SetfsuidRetUid(root)
	if err != nil || string(data) != "text" {
		t.Errorf("%q, %v", data, err)
	}
	if !errors.Is(secretErr, fs.ErrPermission) {
		t.Errorf("the secret: %v", secretErr)
	}
}

// A folder that is replaced by a link again and again never leads to a file of root.
func TestSwappedFolder(t *testing.T) {
	rootOnly(t)
	dir := t.TempDir()
	put(t, dir+"/real/conf/server.xml", "app", app)
	put(t, dir+"/etc/conf/server.xml", "secret", 0)
	link(t, dir+"/etc", dir+"/swap", app)
	stop, done := make(chan bool), make(chan bool)
	go func() { // ends when stop is closed
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
				_ = unix.Renameat2(unix.AT_FDCWD, dir+"/swap", unix.AT_FDCWD, dir+"/real", unix.RENAME_EXCHANGE)
			}
		}
	}()
	read, refused := 0, 0
	for range 5000 {
		switch data, err := ReadFile(dir+"/real/conf/server.xml", 100); {
		case bytes.Equal(data, []byte("secret")):
			t.Fatal("the link was followed")
		case err != nil:
			refused++
		default:
			read++
		}
	}
	close(stop)
	<-done
	t.Logf("%d times read, %d times refused", read, refused)
	if read == 0 || refused == 0 {
		t.Skip("nothing was swapped meanwhile")
	}
}

func TestReadDir(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"c", "a", "b"} {
		put(t, filepath.Join(dir, name), "", os.Geteuid())
	}
	all, err := ReadDir(dir, 3)
	if err != nil || len(all) != 3 || all[0].Name() != "a" || all[2].Name() != "c" {
		t.Errorf("%v, %v", all, err)
	}
	if _, err := ReadDir(dir, 2); !errors.Is(err, ErrTooLarge) {
		t.Errorf("more than the limit: %v", err)
	}
	if _, err := ReadDir(dir+"/a", 2); !errors.Is(err, unix.ENOTDIR) {
		t.Errorf("a file: %v", err)
	}
	if all, err := ReadDir(t.TempDir(), 2); err != nil || len(all) != 0 {
		t.Errorf("an empty one: %v, %v", all, err)
	}
}

// The descriptor stays with the folder when it is renamed.
func TestOpenDir(t *testing.T) {
	dir := t.TempDir()
	put(t, dir+"/logs/text", "ours", os.Geteuid())
	f, err := OpenDir(dir + "/logs")
	must(t, err)
	defer f.Close()
	must(t, os.Rename(dir+"/logs", dir+"/old"))
	put(t, dir+"/logs/text", "theirs", os.Geteuid())
	fd, err := unix.Openat(int(f.Fd()), "text", unix.O_RDONLY, 0)
	must(t, err)
	text := os.NewFile(uintptr(fd), "text")
	defer text.Close()
	data := make([]byte, 4)
	if _, err := text.Read(data); err != nil || string(data) != "ours" {
		t.Errorf("%q, %v", data, err)
	}
	if _, err := OpenDir(dir + "/logs/text"); !errors.Is(err, unix.ENOTDIR) {
		t.Errorf("a file: %v", err)
	}
}

// No descriptor is left open, whatever is found.
func TestDescriptors(t *testing.T) {
	dir := t.TempDir()
	put(t, dir+"/a/b/c", "text", os.Geteuid())
	link(t, dir+"/a", dir+"/link", os.Geteuid())
	count := func() int {
		all, err := os.ReadDir("/proc/self/fd")
		must(t, err)
		return len(all)
	}
	before := count()
	for _, path := range []string{"/a/b/c", "/link/b/c", "/link/b/none", "/a/b/c/d", "/none/x", "/a", "/loop"} {
		_, _ = ReadFile(dir+path, 100)
		_, _ = ReadDir(dir+path, 100)
	}
	if after := count(); after != before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}
