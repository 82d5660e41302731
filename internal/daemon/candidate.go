package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stoker-init/stoker/internal/api"
	"github.com/stoker-init/stoker/internal/console/audit"
	"github.com/stoker-init/stoker/internal/printable"
	"github.com/stoker-init/stoker/internal/proc"
	"github.com/stoker-init/stoker/internal/procfs"
	"github.com/stoker-init/stoker/internal/service"
	"github.com/stoker-init/stoker/internal/trust"
	"github.com/stoker-init/stoker/internal/untrusted"
	"golang.org/x/sys/unix"
)

// Bounds of the check of a candidate, and of the size of a binary.
const (
	candidateTime = 10 * time.Second
	candidateSize = 256 << 20
)

type upgrades struct {
	m       *proc.Manager
	version string
	log     hclog.Logger
	audit   *audit.Log
	busy    sync.Mutex // one upgrade at a time; held until this process ends
}

func (u *upgrades) Versions() api.Versions {
	i := u.m.Init()
	v := api.Versions{Supervisor: api.Program{Version: u.version, Protocol: proc.Protocol, Pid: os.Getpid(), Path: i.Path},
		Init: api.Program{Version: i.Init, Protocol: i.Protocol, Pid: i.Pid}, Upgrades: i.Count}
	if i.Failed != "" || i.Why != "" {
		v.Fallback = &api.Rollback{Version: i.Failed, Reason: i.Why}
	}
	return v
}

// Upgrade checks a binary and passes it to the init, which logs what follows: this process may end
// before it could.
func (u *upgrades) Upgrade(ctx context.Context, path string, check bool, by string) (v api.Versions, err error) {
	if !u.busy.TryLock() {
		return v, api.Refuse(http.StatusConflict, "upgrading", "", "another upgrade is under way")
	}
	defer func() {
		if err != nil || check {
			u.busy.Unlock()
		}
	}()
	if path == "" {
		if path, err = u.runningPath(); err != nil {
			return v, err
		}
	}
	c, err := openCandidate(path)
	if err == nil {
		defer c.file.Close()
		err = c.askVersion(ctx, u.m)
	}
	if err == nil && !check {
		err = u.m.Upgrade(int(c.file.Fd()), c.program.Version, path, by)
	}
	if err != nil {
		u.log.Warn("upgrade refused", "path", path, "by", by, "error", err)
		return v, err
	}
	v = u.Versions()
	v.Candidate = &c.program
	return v, nil
}

// Leave exits without cleanup, as after a kill.
func (u *upgrades) Leave() {
	u.audit.Flush()
	os.Exit(0)
}

// runningPath returns the path that the running binary was started from.
func (u *upgrades) runningPath() (string, error) {
	if path := u.m.Init().Path; path != "" {
		return path, nil
	}
	path, err := procfs.Exe(u.m.Init().Pid)
	if err != nil {
		return "", badBinary("name the new one: stoker upgrade PATH", "cannot find out where the running binary is: %v", err)
	}
	return strings.TrimSuffix(path, " (deleted)"), nil
}

// badBinary returns the error for a binary that cannot be the next supervisor.
func badBinary(hint, format string, args ...any) error {
	return api.Refuse(http.StatusBadRequest, "bad-binary", hint, format, args...)
}

// candidate is a binary that may become the supervisor.
type candidate struct {
	file    *os.File // to execute: a sealed copy, or the file itself
	program api.Program
}

// openCandidate checks the file without running it and copies it into a memfd, so that later writes to the file and noexec mounts have
// no effect.
func openCandidate(path string) (*candidate, error) {
	f, err := untrusted.Open(path)
	if err != nil {
		return nil, badBinary("", "cannot upgrade to %s: %v", path, err)
	}
	if hint, err := checkFile(f); err != nil {
		f.Close()
		return nil, badBinary(hint, "cannot upgrade to %s: %v", path, err)
	}
	c := &candidate{file: f, program: api.Program{Path: path}}
	if copied, err := sealedCopy(f); err == nil {
		f.Close()
		c.file = copied
	}
	return c, nil
}

// checkFile rejects a file that is no binary for this machine, or that users other than root and stoker's own could have written or
// could still change.
func checkFile(f *os.File) (hint string, err error) {
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	var changeable *trust.Error
	switch err := trust.File(f, os.Getuid()); {
	case info.Mode()&0o111 == 0:
		return "name a binary of stoker; if this is one, chmod 755 it", errors.New("it is not executable")
	case errors.As(err, &changeable):
		return changeable.Fix, fmt.Errorf("it (mode %s, uid %d) %s", changeable.Mode, changeable.UID, changeable.Why)
	case err != nil:
		return "", err
	case info.Size() > candidateSize:
		return "", fmt.Errorf("it has %d bytes", info.Size())
	}
	own, err := os.Open("/proc/self/exe")
	if err != nil {
		return "", err
	}
	defer own.Close()
	if head, want := elfMachine(f), elfMachine(own); head == nil || !bytes.Equal(head, want) {
		return "it must be a binary of the same architecture", errors.New("it is no program of this machine")
	}
	return "", nil
}

// elfMachine returns the bytes of an ELF header that identify the machine: class, byte order and, at 18, e_machine. nil: not an ELF
// program.
func elfMachine(f *os.File) []byte {
	var h [20]byte
	if n, err := f.ReadAt(h[:], 0); err != nil || n < len(h) || string(h[:4]) != "\x7fELF" {
		return nil
	}
	return append(h[4:6:6], h[18:20]...)
}

// sealedCopy returns a sealed, executable copy of f in memory. It fails if vm.memfd_noexec forbids executable memfds.
func sealedCopy(f *os.File) (*os.File, error) {
	const flags = unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	fd, err := unix.MemfdCreate("stoker", flags|unix.MFD_EXEC)
	if err == unix.EINVAL { // Linux < 6.3: always executable
		fd, err = unix.MemfdCreate("stoker", flags)
	}
	if err != nil {
		return nil, err
	}
	c := os.NewFile(uintptr(fd), "stoker")
	if _, err = io.Copy(c, io.NewSectionReader(f, 0, candidateSize)); err == nil {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_WRITE|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL)
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// askVersion runs the version command through the descriptor that would be executed.
func (c *candidate) askVersion(ctx context.Context, m *proc.Manager) error {
	ctx, cancel := context.WithTimeout(ctx, candidateTime)
	defer cancel()
	code, out, err := proc.RunCommand(ctx, m, proc.Spec{ID: service.ProcessID("upgrade"),
		Argv: []string{fmt.Sprintf("/proc/self/fd/%d", c.file.Fd()), "version", "-o", "json"},
		Env:  []string{"PATH=" + os.Getenv("PATH"), "GOMAXPROCS=1", "STOKER_SOCKET=" + os.DevNull}})
	var said struct {
		Version  string `json:"version"`
		Protocol int    `json:"protocol"`
	}
	switch {
	case errors.Is(err, proc.ErrStopping):
		return err
	case errors.Is(err, context.DeadlineExceeded):
		err = fmt.Errorf("it printed no version within %v", candidateTime)
	case err != nil:
	case code != 0:
		err = fmt.Errorf("its version command exited with %d: %.200s", code, printable.Text(strings.TrimSpace(out)))
	case json.Unmarshal([]byte(out), &said) != nil || said.Version == "":
		err = fmt.Errorf("its version command printed %.200q", out)
	}
	if err != nil {
		return badBinary("is it stoker, of this architecture? `PATH version -o json` must answer",
			"cannot upgrade to %s: %v", c.program.Path, err)
	}
	c.program.Version, c.program.Protocol = versionText(said.Version), said.Protocol
	return nil
}

// versionText returns a version that is safe in a log line.
func versionText(s string) string {
	s = strings.Join(strings.Fields(printable.Line(s)), "?")
	return s[:min(len(s), 128)]
}
