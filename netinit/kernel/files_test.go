package kernel

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stoker-init/stoker/internal/untrusted"
	"github.com/stoker-init/stoker/netinit/inplace"
	"golang.org/x/sys/unix"
)

func readFile(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	must(t, err)
	return string(data)
}

// replace writes a content in place.
func replace(path, content string) error {
	return inplace.Edit(path, func(string) string { return content })
}

// resolv.conf and hosts of a container are bind mounts.
func TestWriteInPlace(t *testing.T) {
	isolated(t)
	if err := os.Rename(filepath.Join(t.TempDir(), "x"), "/etc/resolv.conf"); err == nil {
		t.Fatal("/etc/resolv.conf can be replaced: this tests nothing")
	}
	for _, path := range []string{"/etc/resolv.conf", "/etc/hosts"} {
		old := readFile(t, path)
		t.Cleanup(func() { must(t, os.WriteFile(path, []byte(old), 0o644)) })
		was, err := os.Stat(path)
		must(t, err)
		for _, content := range []string{strings.Repeat("a longer line\n", 1000), "short\n", "", "nameserver 192.0.2.53\n"} {
			must(t, replace(path, content))
			if now := readFile(t, path); now != content {
				t.Errorf("%s: %q, want %q", path, now, content)
			}
		}
		if is, err := os.Stat(path); err != nil || !os.SameFile(was, is) || is.Mode() != was.Mode() {
			t.Errorf("%s is another file: %v", path, err)
		}
	}
}

func TestWriteInPlaceFollowsLinks(t *testing.T) {
	dir := t.TempDir()
	must(t, os.Symlink("target", dir+"/link"))
	must(t, replace(dir+"/link", "one\n")) // the target does not exist yet
	if now := readFile(t, dir+"/target"); now != "one\n" {
		t.Errorf("now %q", now)
	}
	info, err := os.Lstat(dir + "/target")
	must(t, err)
	if info.Mode() != 0o644 {
		t.Errorf("mode %s", info.Mode())
	}
	must(t, os.Chmod(dir+"/target", 0o600))
	must(t, replace(dir+"/link", "two\n"))
	if info, _ = os.Lstat(dir + "/target"); readFile(t, dir+"/target") != "two\n" || info.Mode() != 0o600 {
		t.Errorf("now %q, mode %s", readFile(t, dir+"/target"), info.Mode())
	}
	if info, err := os.Lstat(dir + "/link"); err != nil || info.Mode().Type() != fs.ModeSymlink {
		t.Errorf("the link is gone: %v", err)
	}
}

func TestTextFilesAreRegularAndBounded(t *testing.T) {
	dir := t.TempDir()
	must(t, unix.Mkfifo(dir+"/fifo", 0o600))
	must(t, os.WriteFile(dir+"/large", nil, 0o600))
	must(t, os.Truncate(dir+"/large", inplace.Max+1))
	for path, want := range map[string]error{
		dir + "/fifo":    untrusted.ErrNotRegular,
		"/dev/null":      untrusted.ErrNotRegular,
		dir + "/large":   untrusted.ErrTooLarge,
		dir + "/no/file": fs.ErrNotExist,
		dir:              unix.EISDIR,
	} {
		if err := replace(path, "x"); !errors.Is(err, want) || !strings.Contains(err.Error(), path) {
			t.Errorf("write %s: %v, want %v", path, err, want)
		}
		if want == fs.ErrNotExist {
			want = nil
		} else if path == dir {
			want = untrusted.ErrNotRegular
		}
		if _, err := inplace.Read(path); !errors.Is(err, want) {
			t.Errorf("read %s: %v, want %v", path, err, want)
		}
	}
	if info, _ := os.Stat(dir + "/large"); info.Size() != inplace.Max+1 {
		t.Errorf("the large file has %d bytes", info.Size())
	}
}

// A full file system leaves the old content.
func TestWriteInPlaceWithoutSpace(t *testing.T) {
	isolated(t)
	dir := t.TempDir()
	must(t, unix.Mount("tmpfs", dir, "tmpfs", 0, "size=8k"))
	t.Cleanup(func() { must(t, unix.Unmount(dir, 0)) })
	const old = "127.0.0.1\tlocalhost\n"
	must(t, os.WriteFile(dir+"/hosts", []byte(old), 0o644))
	must(t, os.WriteFile(dir+"/other", []byte("x"), 0o644))
	if err := replace(dir+"/hosts", strings.Repeat("x", 8192)); !errors.Is(err, unix.ENOSPC) {
		t.Error(err)
	}
	if now := readFile(t, dir+"/hosts"); now != old {
		t.Errorf("the file has %d bytes and begins with %.30q, want %q", len(now), now, old)
	}
}

func TestHostname(t *testing.T) {
	isolated(t)
	old, err := os.Hostname()
	must(t, err)
	t.Cleanup(func() { must(t, newHostname(old).run(nil)) })
	must(t, newHostname("app1.example.org").run(nil))
	if got, err := os.Hostname(); got != "app1.example.org" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	withoutCapability(t, unix.CAP_SYS_ADMIN, func() {
		var warns warning
		if err := newHostname("other").run(nil); !errors.As(err, &warns) {
			t.Errorf("without CAP_SYS_ADMIN: %v, want a warning", err)
		}
	})
	var warns warning
	if err := newHostname(strings.Repeat("x", 65)).run(nil); err == nil || errors.As(err, &warns) {
		t.Errorf("a name that is too long: %v, want an error", err)
	}
}

func TestSysctl(t *testing.T) {
	isolated(t)
	own := machine{}
	own.ip(t, "link add with.dot type veth peer name other")
	t.Cleanup(func() { own.ip(t, "link del with.dot") })
	must(t, writeSysctl("with.dot", "ipv6", "accept_ra", "0"))
	now, err := readSysctl("with.dot", "ipv6", "accept_ra")
	if now != "0" || err != nil {
		t.Errorf("%q, %v", now, err)
	}
	if _, err := readSysctl("absent", "ipv6", "accept_ra"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an absent link: %v", err)
	}
	var warns warning
	if err := writeSysctl("with.dot", "ipv6", "accept_ra", "many"); !errors.Is(err, unix.EINVAL) || errors.As(err, &warns) {
		t.Errorf("a bad value: %v, want an error", err)
	}
}

// Docker mounts /proc/sys read-only, whatever the capabilities.
func TestReadOnlySysctl(t *testing.T) {
	isolated(t)
	must(t, unix.Mount("/proc/sys", "/proc/sys", "", unix.MS_BIND, ""))
	t.Cleanup(func() { must(t, unix.Unmount("/proc/sys", unix.MNT_DETACH)) })
	must(t, unix.Mount("", "/proc/sys", "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	value, err := readSysctl("lo", "ipv4", "promote_secondaries")
	must(t, err)
	if err := writeSysctl("lo", "ipv4", "promote_secondaries", value); err != nil {
		t.Errorf("the value that is there: %v", err)
	}
	other := map[string]string{"0": "1", "1": "0"}[value]
	var warns warning
	err = writeSysctl("lo", "ipv4", "promote_secondaries", other)
	if !errors.As(err, &warns) || !errors.Is(err, unix.EROFS) || !strings.Contains(err.Error(), "promote_secondaries of lo") {
		t.Errorf("%v, want a warning that names the setting and the link", err)
	}
}
