package hotspot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"path/filepath"
	"strings"
	"time"

	"github.com/stoker-init/stoker/internal/asuser"
	"github.com/stoker-init/stoker/internal/procfs"
	"golang.org/x/sys/unix"
)

// Target is a running JVM on which commands are to be run.
type Target struct {
	Pid int // as we see it
	// Quit sends SIGQUIT, by which a JVM is asked to open its socket. It is not
	// called for one that does not catch it: that one would die.
	Quit func() error
}

// Attached is a JVM that listens for commands. There is nothing to be closed.
type Attached struct {
	target Target
	// as is the JVM's identity. Its folders are its own choice: nothing is done there
	// that it could not do itself.
	as     asuser.Identity
	socket string
}

// As is the identity with which the JVM was attached to: its own.
func (a *Attached) As() asuser.Identity { return a.as }

// Errors of Attach. Where we may not look the error is an fs.ErrPermission.
var (
	// ErrNoAttach says that the JVM was started with an option that forbids it.
	ErrNoAttach = errors.New("its options forbid to attach (-XX:+DisableAttachMechanism, -Xrs)")
	// ErrNotCaught says that the JVM has no handler for SIGQUIT yet.
	ErrNotCaught = errors.New("it does not catch SIGQUIT (yet)")
	// ErrNotListening says that the JVM did not open its socket in time.
	ErrNotListening = errors.New("the JVM did not open its socket")
	// ErrNameTaken says that the name of the socket, or of the file that asks for it, is
	// taken by a file of another user, which the JVM cannot replace or does not take: an
	// earlier JVM of its number has left it.
	ErrNameTaken = errors.New("a name that it needs is taken by a file of another user")
	// ErrStopped says that the process does not run now, and cannot answer.
	ErrStopped = errors.New("it is stopped (by SIGSTOP, or by who traces it)")
)

// attachPause is the time between two looks for the socket.
const attachPause = 20 * time.Millisecond

// askAgainAfter is how long a JVM is waited for before it is asked for its socket
// again; each further time it is twice as long.
const askAgainAfter = time.Second

// Attach has the JVM open its socket, if it has not yet, as jcmd does: by a file
// .attach_pidN in its working directory or in /tmp and SIGQUIT. Then a JVM opens
// /tmp/.java_pidN instead of dumping its threads, where N is its pid as it sees
// it. ctx must have an end.
//
// A JVM that begins takes the signal before it removes what an earlier one of its
// number may have left in /tmp, and so its own new socket; asked again it finds
// the name gone and opens another (from 11.0.6 on). An older one, or one that was
// only slow, dumps its threads to its output instead: that is the price.
func Attach(ctx context.Context, t Target) (*Attached, error) {
	a := &Attached{target: t}
	fail := func(err error) (*Attached, error) { return nil, fmt.Errorf("cannot attach to JVM %d: %w", t.Pid, err) }
	var err error
	if a.as, err = asuser.OfProcess(t.Pid); err != nil {
		return fail(err)
	}
	forbidden, err := a.forbidsAttach()
	if err != nil {
		return fail(err)
	}
	for wait := askAgainAfter; ; wait *= 2 {
		s, err := readStatus(t.Pid)
		if err != nil {
			return fail(err)
		}
		if s.stopped {
			return fail(ErrStopped)
		}
		a.socket = procfs.Path(t.Pid, fmt.Sprintf("root/tmp/.java_pid%d", s.nsPid))
		err = a.listens(ctx)
		if err == nil {
			return a, nil
		}
		if !notThere(err) {
			return fail(err)
		}
		if forbidden { // one with -Xrs listens from its start on, if it is young enough
			return fail(ErrNoAttach)
		}
		if !s.catchesQuit {
			return fail(ErrNotCaught)
		}
		switch err = a.ask(ctx, s, wait); {
		case err == nil:
			return a, nil
		case ctx.Err() != nil && notThere(err):
			return fail(ErrNotListening)
		case !notThere(err):
			return fail(err)
		}
	}
}

// notThere reports whether the socket is missing or no process listens at it.
func notThere(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ECONNREFUSED)
}

// ask asks for the socket once, and waits for it.
func (a *Attached) ask(ctx context.Context, s status, wait time.Duration) error {
	name := fmt.Sprintf(".attach_pid%d", s.nsPid)
	file, err := a.leave(procfs.Path(a.target.Pid, "cwd"), name)
	if err != nil && !errors.Is(err, ErrNameTaken) { // that is where the JVM looks first
		file, err = a.leave(procfs.Path(a.target.Pid, "root/tmp"), name)
	}
	switch {
	case err != nil && notThere(err): // it is not the socket that is missing
		return fmt.Errorf("cannot ask for its socket: %v", err) //nolint:errorlint // see above
	case err != nil:
		return fmt.Errorf("cannot ask for its socket: %w", err)
	}
	defer a.remove(file)
	if err := a.target.Quit(); err != nil {
		return err
	}
	due := time.After(wait)
	for {
		err := a.listens(ctx)
		if err == nil || !notThere(err) {
			return err
		}
		select {
		case <-time.After(attachPause):
		case <-due:
			return err
		case <-ctx.Done():
			return err
		}
	}
}

// listens tries the socket: one of an earlier JVM of the same number may be there.
func (a *Attached) listens(ctx context.Context) error {
	conn, err := a.dial(ctx)
	if err != nil {
		return err
	}
	return conn.Close()
}

// dial connects to the socket, and looks who has made it: /tmp is everybody's. A
// JVM takes one connection after the other, and lets five wait.
func (a *Attached) dial(ctx context.Context) (*net.UnixConn, error) {
	for {
		var conn net.Conn
		err := a.as.Do(func() (err error) {
			var st unix.Stat_t
			if err := unix.Lstat(a.socket, &st); err != nil {
				return err
			}
			if int(st.Uid) != a.as.UID {
				return fmt.Errorf("%w: /tmp/%s is of user %d", ErrNameTaken, filepath.Base(a.socket), st.Uid)
			}
			conn, err = new(net.Dialer).DialContext(ctx, "unix", a.socket)
			return err
		})
		switch {
		case err == nil:
			return a.ofJVM(conn.(*net.UnixConn))
		case !errors.Is(err, unix.EAGAIN):
			return nil, err
		}
		select {
		case <-time.After(attachPause):
		case <-ctx.Done():
			return nil, fmt.Errorf("it is busy with others: %w", ctx.Err())
		}
	}
}

// ofJVM closes a connection to another process.
func (a *Attached) ofJVM(c *net.UnixConn) (*net.UnixConn, error) {
	raw, err := c.SyscallConn()
	var peer *unix.Ucred
	if err == nil {
		var optErr error
		err = raw.Control(func(fd uintptr) { peer, optErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
		err = errors.Join(err, optErr)
	}
	if err == nil && int(peer.Pid) != a.target.Pid {
		err = fmt.Errorf("%s is the socket of process %d", a.socket, peer.Pid)
	}
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

// attachFile is a file by which a JVM is asked for its socket.
type attachFile struct {
	dir      int // the folder's descriptor; -1: another process attaches, and made the file
	name     string
	dev, ino uint64
}

// leave makes an empty file in a folder, which is held: the JVM may go elsewhere.
func (a *Attached) leave(dir, name string) (file attachFile, err error) {
	file = attachFile{dir: -1, name: name}
	err = a.as.Do(func() (err error) {
		if file.dir, err = unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
			return err
		}
		var st unix.Stat_t
		fd, err := unix.Openat(file.dir, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
		if err == nil {
			err = unix.Fstat(fd, &st)
			_ = unix.Close(fd)
			file.dev, file.ino = uint64(st.Dev), st.Ino //nolint:unconvert // its type differs by machine
			return err
		}
		there := err == unix.EEXIST && unix.Fstatat(file.dir, name, &st, unix.AT_SYMLINK_NOFOLLOW) == nil
		_ = unix.Close(file.dir)
		file.dir = -1
		switch {
		case !there:
			return err
		case int(st.Uid) != a.as.UID && st.Uid != 0:
			return fmt.Errorf("%w: %s/%s is of user %d", ErrNameTaken, dir, name, st.Uid)
		}
		return nil // jcmd attaches, or did and was killed
	})
	return file, err
}

// remove removes the file that leave has made, unless another one has its name by now.
func (a *Attached) remove(file attachFile) {
	if file.dir < 0 {
		return
	}
	_ = a.as.Do(func() error { // the JVM may have removed it
		var st unix.Stat_t
		err := unix.Fstatat(file.dir, file.name, &st, unix.AT_SYMLINK_NOFOLLOW)
		if err != nil || uint64(st.Dev) != file.dev || st.Ino != file.ino { //nolint:unconvert // as above
			return err
		}
		return unix.Unlinkat(file.dir, file.name, 0)
	})
	_ = unix.Close(file.dir)
}

// optionVariables are those that hold options of a JVM, in the order in which it
// takes them; "" is the command line.
var optionVariables = []string{"JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "", "_JAVA_OPTIONS"}

// forbidsAttach looks in the command line, and in the environment as far as that
// can be seen, for what makes SIGQUIT do something else than to open the socket. A
// later option wins.
func (a *Attached) forbidsAttach() (bool, error) {
	argv, err := procfs.Cmdline(a.target.Pid)
	if err != nil {
		return false, err
	}
	words := map[string][]string{"": argv}
	_ = a.as.Do(func() error { // where it cannot be seen, ErrNotListening tells
		environ, err := procfs.Environ(a.target.Pid)
		for _, kv := range environ {
			if name, value, _ := strings.Cut(kv, "="); name != "" {
				words[name] = strings.Fields(value)
			}
		}
		return err
	})
	disabled, reduced := false, false
	for _, name := range optionVariables {
		for _, arg := range words[name] {
			switch arg {
			case "-XX:+DisableAttachMechanism", "-XX:-DisableAttachMechanism":
				disabled = arg[4] == '+'
			case "-Xrs", "-XX:+ReduceSignalUsage", "-XX:-ReduceSignalUsage":
				reduced = arg != "-XX:-ReduceSignalUsage"
			}
		}
	}
	return disabled || reduced, nil
}

// status is what /proc/PID/status says.
type status struct {
	nsPid       int // in the innermost namespace
	catchesQuit bool
	stopped     bool
	ended       bool // and not waited for yet
}

// Stopped reports whether a process does not run now, as far as that can be seen.
func Stopped(pid int) bool {
	s, err := readStatus(pid)
	return err == nil && s.stopped
}

func readStatus(pid int) (status, error) {
	s, err := procfs.ReadStatus(pid)
	if err != nil {
		return status{}, err
	}
	return parseStatus(s, pid)
}

// parseStatus reads the lines that matter. Linux < 4.1 has no NSpid.
func parseStatus(lines procfs.Status, pid int) (s status, err error) {
	s = status{nsPid: pid}
	if _, there := lines["NSpid"]; there {
		pids, err := lines.Ints("NSpid")
		if err != nil {
			return s, fmt.Errorf("cannot read the status of process %d: %w", pid, err)
		}
		s.nsPid = pids[len(pids)-1]
	}
	if _, there := lines["SigCgt"]; there {
		mask, err := lines.Mask("SigCgt")
		if err != nil {
			return s, fmt.Errorf("cannot read the status of process %d: %w", pid, err)
		}
		s.catchesQuit = mask&(1<<(unix.SIGQUIT-1)) != 0
	}
	state, _, _ := strings.Cut(lines["State"], " ")
	s.stopped = state == "T" || state == "t"
	s.ended = state == "Z" || state == "X"
	return s, nil
}
