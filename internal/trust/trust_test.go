package trust

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// inMountNamespace runs f in its own mount namespace.
func inMountNamespace(t *testing.T, f func(dir string)) {
	t.Helper()
	if os.Geteuid() != 0 {
		if os.Getenv("STOKER_CI") == "1" {
			t.Fatal("needs root")
		}
		t.Skip("only root can mount")
	}
	dir := t.TempDir()
	done := make(chan error)
	go func() { // ends with f; its thread is locked and so ends too
		runtime.LockOSThread()
		var err error
		defer func() { done <- err }()
		err = unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_FS)
		if err == nil {
			err = unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
		}
		if err == nil { // a file system that is mounted nowhere else
			err = unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=0755")
		}
		if err == nil {
			f(dir)
		}
	}()
	if err := <-done; err != nil {
		if errors.Is(err, unix.EPERM) && os.Getenv("STOKER_CI") != "1" {
			t.Skip("cannot make a mount namespace here")
		}
		t.Fatal(err)
	}
}

// must ends a test outside its own goroutine, where Fatal is not allowed.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
		runtime.Goexit()
	}
}

func mountTmpfs(t *testing.T, at, options string) {
	t.Helper()
	must(t, os.MkdirAll(at, 0o755))
	must(t, unix.Mount("tmpfs", at, "tmpfs", 0, options))
}

func readOnly(t *testing.T, at string) {
	t.Helper()
	must(t, unix.Mount("", at, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""))
}

func put(t *testing.T, path string, mode os.FileMode, uid int) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(t, os.WriteFile(path, []byte("#!/bin/sh\n"), 0o600))
	must(t, os.Chmod(path, mode))
	must(t, os.Chown(path, uid, -1))
}

func folder(t *testing.T, path string, mode os.FileMode, uid int) string {
	t.Helper()
	must(t, os.MkdirAll(path, 0o755))
	must(t, os.Chmod(path, mode))
	must(t, os.Chown(path, uid, -1))
	return path
}

func link(t *testing.T, target, path string) string {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(t, os.Symlink(target, path))
	return path
}

// wants checks an error, which has all of the texts; without texts there is none.
func wants(t *testing.T, what string, err error, texts ...string) {
	t.Helper()
	if (err == nil) != (len(texts) == 0) {
		t.Errorf("%s: %v, want %q", what, err, texts)
		return
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v\nhas no %q", what, err, text)
		}
	}
}

const app = 4711

// configMap lays out a mount as the kubelet does.
func configMap(t *testing.T, at, options string) {
	mountTmpfs(t, at, options)
	put(t, at+"/..2026_01_01/50-hook", 0o755, 0)
	link(t, "..2026_01_01", at+"/..data")
	link(t, "..data/50-hook", at+"/50-hook")
}

func TestMountsAndModes(t *testing.T) {
	inMountNamespace(t, func(dir string) {
		for _, mode := range []string{"1777", "0777", "0775"} {
			at := filepath.Join(dir, "map"+mode, "ready.d")
			configMap(t, at, "mode="+mode)
			hook := at + "/50-hook"
			wants(t, mode+" writable", Path(hook, 0), at+" (mode "+mode+", uid 0) can be changed by others",
				"chmod go-w "+at+", or mount it read-only")
			wants(t, mode+" writable folder", Entry(at, 0), "mode "+mode)
			put(t, at+"/..2026_01_01/app", 0o777, app)
			link(t, "..data/app", at+"/60-app")
			readOnly(t, at)
			wants(t, mode+" read-only", Path(hook, 0))
			wants(t, mode+" read-only, of another user", Path(at+"/60-app", 0))
			wants(t, mode+" read-only folder", Entry(at, 0))
			wants(t, mode+" read-only link", Entry(hook, 0))

			// The same files, mounted a second time for writing: in whole, a part, around.
			again := folder(t, filepath.Join(dir, "again"+mode), 0o755, 0)
			must(t, unix.Mount(at, again, "", unix.MS_BIND, ""))
			must(t, unix.Mount("", again, "", unix.MS_REMOUNT|unix.MS_BIND, ""))
			wants(t, mode+" elsewhere", Path(hook, 0), "can be changed by others at "+again+", where the same is mounted for writing")
			readOnly(t, again)
			wants(t, mode+" elsewhere, read-only", Path(hook, 0))
		}
		// A file by itself (docker -v FILE:FILE:ro), and a file system that is read-only as a whole.
		file, source := filepath.Join(dir, "one"), filepath.Join(dir, "source")
		mountTmpfs(t, source, "mode=0755")
		put(t, source+"/one", 0o777, app)
		put(t, file, 0o755, 0)
		must(t, unix.Mount(source+"/one", file, "", unix.MS_BIND, ""))
		wants(t, "a mounted file", Entry(file, 0), "(mode 0777, uid 4711) can be changed by its owner", "chown root")
		readOnly(t, file)
		wants(t, "a mounted file, read-only", Entry(file, 0), "at "+source+"/one, where the same is mounted for writing")
		must(t, unix.Unmount(source, unix.MNT_DETACH))
		wants(t, "a mounted file, read-only and nowhere else", Entry(file, 0))
		whole := filepath.Join(dir, "whole")
		configMap(t, whole, "mode=1777")
		must(t, unix.Mount("", whole, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
		f, err := os.Open(whole + "/50-hook")
		must(t, err)
		defer f.Close()
		wants(t, "read-only as a whole", Path(whole+"/50-hook", 0))
		wants(t, "the same, open", File(f, 0))
	})
}

// In a sticky folder entries of root cannot be replaced, and a file of root may have been moved there.
func TestSticky(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	const sticky = 0o777 | os.ModeSticky
	dir := t.TempDir()
	top := folder(t, dir+"/hooks", 0o755, 0)
	put(t, top+"/ready.d/10-good", 0o755, 0)
	wants(t, "all root's", Path(top+"/ready.d/10-good", 0))
	wants(t, "not of root, not as root", Path(top+"/ready.d/10-good", 1234))

	folder(t, top, sticky, 0)
	wants(t, "a folder of root's in a sticky one", Path(top+"/ready.d/10-good", 0))
	folder(t, top, sticky, app)
	wants(t, "the sticky folder of another", Path(top+"/ready.d/10-good", 0), top+" (mode 1777, uid 4711) can be changed by its owner")
	folder(t, top, sticky, 0)

	ready := folder(t, top+"/ready.d", sticky, 0)
	wants(t, "root's file in a sticky folder", Path(ready+"/10-good", 0), ready+" (mode 1777, uid 0) can be changed by others: the sticky bit",
		"adding names", "chmod go-w "+ready)
	put(t, ready+"/20-app", 0o755, app)
	wants(t, "another's file in a sticky folder", Path(ready+"/20-app", 0), ready+"/20-app (mode 0755, uid 4711) can be changed by its owner")
	put(t, dir+"/outside/program", 0o755, 0)
	wants(t, "a link in a sticky folder", Path(link(t, dir+"/outside/program", ready+"/30-link"), 0), ready+" (mode 1777, uid 0)")
	wants(t, "a link in a sticky folder above", Path(link(t, "ready.d", top+"/exited.d")+"/10-good", 0), top+" (mode 1777, uid 0)")
	wants(t, "the sticky folder itself", Entry(ready, 0), "mode 1777")
	wants(t, "the sticky folder as the end", Path(ready, 0), "mode 1777")

	folder(t, top, 0o755, 0)
	folder(t, ready, 0o755, 0)
	// The test's folder is in /tmp, which is sticky, and its folders are root's.
	wants(t, "a link out of the tree", Path(ready+"/30-link", 0))
	folder(t, dir+"/outside", 0o757, 0)
	wants(t, "a link into a folder of others", Path(ready+"/30-link", 0), dir+"/outside (mode 0757")
	folder(t, dir+"/outside", 0o755, 0)
	folder(t, dir, 0o777, 0)
	wants(t, "below a folder of others", Path(ready+"/30-link", 0), dir+" (mode 0777")
	wants(t, "a folder of others around the tree", Path(ready+"/10-good", 0), dir+" (mode 0777")
	wants(t, "a link by ..", Path(link(t, "../../outside/program", ready+"/50-up"), 0), dir+" (mode 0777")
	folder(t, dir, 0o755, 0)

	if err := Path(link(t, "60-loop", ready+"/60-loop"), 0); !errors.Is(err, unix.ELOOP) {
		t.Errorf("a loop: %v", err)
	}
	if err := Path(ready+"/none", 0); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), ready+"/none") {
		t.Errorf("nothing: %v", err)
	}
}

func TestMode(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	dir := t.TempDir()
	for mode, want := range map[os.FileMode]string{0o755: "0755", 0o777 | os.ModeSticky: "1777", 0o755 | os.ModeSetuid: "4755",
		0o70 | os.ModeSetgid: "2070", 0: "0000"} {
		wants(t, want, Entry(folder(t, filepath.Join(dir, want), mode, app), 0), "(mode "+want+", uid 4711)")
	}
}

func TestFindMount(t *testing.T) {
	const table = `21 1 8:1 / / rw - ext4 /dev/sda1 rw
30 21 8:1 /vol/hooks /etc/hooks ro - ext4 /dev/sda1 rw
31 21 8:1 /vol/other /data rw - ext4 /dev/sda1 rw
40 1 8:2 /vol /a\040b ro - ext4 /dev/sdb1 ro
41 1 8:2 / /mnt rw - ext4 /dev/sdb1 ro
50 1 8:3 /vol/in /ro ro,noexec - ext4 /dev/sdc1 rw
51 1 8:3 /vol/in/sub /rw rw - ext4 /dev/sdc1 rw
not a line
`
	for _, tc := range []struct {
		id, path string
		want     mount
	}{
		{"30", "/etc/hooks/ready.d", mount{true, "/vol/hooks/ready.d"}},
		{"40", "/a b/x", mount{readOnly: true}}, // no mount of it can be written
		{"50", "/ro/x", mount{readOnly: true}},
		{"50", "/ro/subject", mount{readOnly: true}},
		{"50", "/ro/sub/x", mount{true, "/rw/x"}},
		{"99", "/ro/x", mount{}},
		{"30", "/elsewhere", mount{}},
	} {
		if got := findMount([]byte(table), tc.id, tc.path); got != tc.want {
			t.Errorf("%s %s: %+v, want %+v", tc.id, tc.path, got, tc.want)
		}
	}
}
