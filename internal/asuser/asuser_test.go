package asuser

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stoker-init/stoker/internal/procfs"
	"golang.org/x/sys/unix"
)

const app = 4711

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		if os.Getenv("STOKER_CI") == "1" {
			t.Fatal("needs root")
		}
		t.Skip("only root can act as another user")
	}
}

// shared is a folder that everybody may look into.
func shared(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for d := dir; len(d) > len(os.TempDir()); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestRightsOfAnotherUser(t *testing.T) {
	needRoot(t)
	dir := shared(t)
	for path, mode := range map[string]fs.FileMode{"secret": 0o600, "open": 0o644, "group": 0o640} {
		if err := os.WriteFile(filepath.Join(dir, path), nil, mode); err != nil {
			t.Fatal(err)
		}
	}
	theirs := filepath.Join(dir, "theirs")
	if err := errors.Join(os.Chown(filepath.Join(dir, "group"), 0, 4321), os.Mkdir(theirs, 0o700), os.Chown(theirs, app, app),
		os.WriteFile(filepath.Join(theirs, "given"), nil, 0o600), os.Chown(filepath.Join(theirs, "given"), app, app)); err != nil {
		t.Fatal(err)
	}
	read := func(name string) func() error {
		return func() error {
			_, err := os.ReadFile(filepath.Join(dir, name))
			return err
		}
	}
	user := Identity{UID: app, GID: app, Groups: []int{4321}}
	for name, c := range map[string]struct {
		id   Identity
		f    func() error
		want error
	}{
		"a file of root's":            {user, read("secret"), unix.EACCES},
		"a file of everybody's":       {user, read("open"), nil},
		"a file of the group's":       {user, read("group"), nil},
		"a file of another group's":   {Identity{UID: app, GID: app}, read("group"), unix.EACCES},
		"a new file in root's folder": {user, func() error { return os.WriteFile(filepath.Join(dir, "new"), nil, 0o600) }, unix.EACCES},
		"a new file in their own":     {user, func() error { return os.WriteFile(filepath.Join(theirs, "new"), nil, 0o600) }, nil},
		"giving a file away":          {user, func() error { return os.Chown(filepath.Join(theirs, "given"), 0, 0) }, unix.EPERM},
		"removing a file of root's":   {user, func() error { return os.Remove(filepath.Join(dir, "secret")) }, unix.EACCES},
		"their folder, as confined root": {Identity{}, func() error { return os.WriteFile(filepath.Join(theirs, "root"), nil, 0o600) },
			unix.EACCES},
		"their folder, as root": {Identity{Capabilities: 1 << unix.CAP_DAC_OVERRIDE},
			func() error { return os.WriteFile(filepath.Join(theirs, "root"), nil, 0o600) }, nil},
	} {
		if err := c.id.Do(c.f); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	mine := filepath.Join(theirs, "mine")
	if err := user.Do(func() error { return os.WriteFile(mine, nil, 0o600) }); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(mine)
	if err != nil {
		t.Fatal(err)
	}
	if st := info.Sys().(*syscall.Stat_t); st.Uid != app || st.Gid != app {
		t.Errorf("a new file is of user %d and group %d", st.Uid, st.Gid)
	}
}

// Every thread has its own rights back, and none ends: a new one might not be had.
func TestThreadsAreGivenBack(t *testing.T) {
	needRoot(t)
	threads, user := map[int]bool{}, Identity{UID: app, GID: app, Groups: []int{1, 2, 3}}
	for n := range 200 {
		do := user.Do
		if n%2 > 0 {
			do = user.DoAsPeer
		}
		err := do(func() error {
			threads[unix.Gettid()] = true
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(threads) > 50 {
		t.Errorf("200 calls ran on %d threads", len(threads))
	}
	all, err := filepath.Glob("/proc/self/task/*/status")
	if err != nil || len(all) == 0 {
		t.Fatal(err)
	}
	want, err := os.ReadFile("/proc/self/status") // of the first thread
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range all {
		data, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"Uid:", "Gid:", "Groups:", "CapEff:"} {
			if got, want := line(string(data), name), line(string(want), name); got != want {
				t.Errorf("%s: %q, want %q", path, got, want)
			}
		}
	}
}

func line(text, name string) string {
	for l := range strings.Lines(text) {
		if strings.HasPrefix(l, name) {
			return strings.TrimSpace(l)
		}
	}
	return ""
}

// The other end of a socket sees the user and the group of DoAsPeer, and the calling process is not open to that user.
func TestPeerIsTheOtherUser(t *testing.T) {
	needRoot(t)
	var fds [2]int
	user := Identity{UID: app, GID: app + 1, Groups: []int{7}, Capabilities: 1 << unix.CAP_KILL}
	var status procfs.Status
	var peer *unix.Ucred
	if err := user.DoAsPeer(func() (err error) {
		if fds, err = unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		if peer, err = unix.GetsockoptUcred(fds[0], unix.SOL_SOCKET, unix.SO_PEERCRED); err != nil {
			return err
		}
		data, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/status", unix.Gettid()))
		status = procfs.ParseStatus(string(data))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = unix.Close(fds[0]), unix.Close(fds[1]) }()
	if int(peer.Uid) != app || int(peer.Gid) != app+1 || int(peer.Pid) != os.Getpid() {
		t.Errorf("the peer is %+v", peer)
	}
	uids, _ := status.Ints("Uid")
	gids, _ := status.Ints("Gid")
	if want := []int{0, app, 0, app}; !slices.Equal(uids, want) {
		t.Errorf("the users of the thread are %v, want %v: with its real or saved one it could be signalled", uids, want)
	}
	if want := []int{0, app + 1, 0, app + 1}; !slices.Equal(gids, want) || strings.TrimSpace(status["Groups"]) != "7" {
		t.Errorf("the groups of the thread are %v, want %v, and %q", gids, want, status["Groups"])
	}
	if caps, err := status.Mask("CapEff"); err != nil || caps != 0 {
		t.Errorf("its capabilities are %x, %v", caps, err)
	}
}

func TestOfProcess(t *testing.T) {
	needRoot(t)
	cmd := exec.Command("sleep", "60")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: app, Gid: app + 1, Groups: []uint32{7, 9}}}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	id, err := OfProcess(cmd.Process.Pid)
	if err != nil || id.UID != app || id.GID != app+1 || len(id.Groups) != 2 || id.Groups[1] != 9 || id.Capabilities != 0 {
		t.Errorf("%+v, %v", id, err)
	}
	// Its folders in /proc are open for its user, whatever capabilities we have.
	if err := id.Do(func() error {
		_, err := os.Stat(fmt.Sprintf("/proc/%d/cwd/", cmd.Process.Pid))
		return err
	}); err != nil {
		t.Error(err)
	}
	if id, err := OfProcess(os.Getpid()); err != nil || id.Capabilities == 0 {
		t.Errorf("ourselves: %+v, %v", id, err)
	}
}

func TestParse(t *testing.T) {
	const good = "Name:\tx\nUid:\t0\t1\t2\t3\nGid:\t4\t5\t6\t7\nGroups:\t8 9 \nCapPrm:\t000001fffeffffff\n"
	id, err := parse(procfs.ParseStatus(good))
	if err != nil || id.UID != 1 || id.GID != 5 || len(id.Groups) != 2 || id.Groups[0] != 8 || id.Capabilities != 0x1fffeffffff {
		t.Errorf("%+v, %v", id, err)
	}
	if id, err := parse(procfs.ParseStatus(strings.Replace(good, "8 9 ", "", 1))); err != nil || len(id.Groups) != 0 {
		t.Errorf("no groups: %+v, %v", id, err)
	}
	for _, bad := range []string{"", strings.Replace(good, "Uid:\t0\t1", "Uid:\t0\tx", 1), strings.Replace(good, "Groups:", "Grups:", 1),
		strings.Replace(good, "8 9", "8 x", 1), strings.Replace(good, "000001", "x", 1), strings.Replace(good, "\t7\n", "\n", 1)} {
		if id, err := parse(procfs.ParseStatus(bad)); err == nil {
			t.Errorf("%q: %+v", bad, id)
		}
	}
}
