package hotspot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"path/filepath"
	"strings"
	"sync/atomic"
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
	// asPeer: a JVM before 11 accepts connections only of its own effective user and group, not of root.
	asPeer atomic.Bool
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
	// ErrNoTmp says that the JVM cannot make its socket in /tmp, which every JVM uses whatever java.io.tmpdir is.
	ErrNoTmp = errors.New("/tmp, where a JVM makes its socket, cannot be written to")
	// ErrStopped says that the process does not run now, and cannot answer.
	ErrStopped = errors.New("it is stopped (by SIGSTOP, or by a tracer)")
)

// attachPause is the time between two tries of the socket.
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
	as, err := asuser.OfProcess(t.Pid)
	a := &Attached{target: t, as: as}
	if err == nil {
		err = a.attach(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot attach to JVM %d: %w", t.Pid, err)
	}
	return a, nil
}

func (a *Attached) attach(ctx context.Context) error {
	forbidden, err := a.forbidsAttach()
	if err != nil {
		return err
	}
	for wait := askAgainAfter; ; wait *= 2 {
		s, err := readStatus(a.target.Pid)
		if err != nil {
			return err
		}
		if s.stopped {
			return ErrStopped
		}
		a.socket = procfs.Path(a.target.Pid, fmt.Sprintf("root/tmp/.java_pid%d", s.nsPid))
		switch err = a.listens(ctx); {
		case !notThere(err):
			return err
		case forbidden: // one with -Xrs listens from its start on, if it is young enough
			return ErrNoAttach
		case !s.catchesQuit:
			return ErrNotCaught
		}
		switch err = a.ask(ctx, s, wait); {
		case !notThere(err):
			return err
		case ctx.Err() != nil:
			return ErrNotListening
		}
	}
}

// notThere reports whether the socket is missing or no process listens at it.
func notThere(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ECONNREFUSED)
}

// ask asks for the socket once, and waits for it.
func (a *Attached) ask(ctx context.Context, s status, wait time.Duration) error {
	if err := a.checkTmp(); err != nil { // it would dump its threads to its output instead
		return err
	}
	name := fmt.Sprintf(".attach_pid%d", s.nsPid)
	remove, err := a.leave(procfs.Path(a.target.Pid, "cwd"), name)
	if err != nil && !errors.Is(err, ErrNameTaken) { // that is where the JVM looks first
		remove, err = a.leave(procfs.Path(a.target.Pid, "root/tmp"), name)
	}
	switch {
	case err != nil && notThere(err): // it is not the socket that is missing
		return fmt.Errorf("cannot ask for its socket: %v", err) //nolint:errorlint // see above
	case err != nil:
		return fmt.Errorf("cannot ask for its socket: %w", err)
	}
	defer remove()
	if err := a.target.Quit(); err != nil {
		return err
	}
	due := time.After(wait)
	for {
		err := a.listens(ctx)
		if !notThere(err) {
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

// checkTmp checks that the JVM can make a file in its /tmp, with one without a name. A file system may not have these.
func (a *Attached) checkTmp() error {
	err := a.as.Do(func() error {
		fd, err := unix.Open(procfs.Path(a.target.Pid, "root/tmp"), unix.O_TMPFILE|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
		if err == nil {
			_ = unix.Close(fd)
		}
		return err
	})
	switch {
	case errors.Is(err, unix.EROFS), errors.Is(err, unix.EACCES), errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR),
		errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return fmt.Errorf("%w: %v", ErrNoTmp, err) //nolint:errorlint // it is not the socket that is missing
	}
	return nil
}

// listens tries the socket: one of an earlier JVM of the same number may be there.
func (a *Attached) listens(ctx context.Context) error {
	conn, err := a.dial(ctx)
	if err != nil {
		return err
	}
	return conn.Close()
}

// dial connects to the socket, and checks its owner: /tmp is everybody's. A
// JVM takes one connection after the other, and lets five wait.
func (a *Attached) dial(ctx context.Context) (conn *net.UnixConn, err error) {
	do := a.as.Do
	if a.asPeer.Load() {
		do = a.as.DoAsPeer
	}
	for {
		err := do(func() error {
			var st unix.Stat_t
			if err := unix.Lstat(a.socket, &st); err != nil {
				return err
			}
			if int(st.Uid) != a.as.UID {
				return fmt.Errorf("%w: /tmp/%s is of user %d", ErrNameTaken, filepath.Base(a.socket), st.Uid)
			}
			c, err := new(net.Dialer).DialContext(ctx, "unix", a.socket)
			conn, _ = c.(*net.UnixConn)
			return err
		})
		if !errors.Is(err, unix.EAGAIN) {
			if err == nil {
				err = a.checkPeer(conn)
			}
			return conn, err
		}
		select {
		case <-time.After(attachPause):
		case <-ctx.Done():
			return nil, fmt.Errorf("it is busy with others: %w", ctx.Err())
		}
	}
}

// checkPeer closes a connection to another process.
func (a *Attached) checkPeer(c *net.UnixConn) error {
	var peer *unix.Ucred
	raw, err := c.SyscallConn()
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
	}
	return err
}

// leave makes an empty file in a folder, by which the JVM is asked for its socket. The folder is held: the JVM may go
// elsewhere. remove removes the file, unless another one has its name by then.
func (a *Attached) leave(path, name string) (remove func(), err error) {
	var dir int
	var st unix.Stat_t
	remove = func() {}
	err = a.as.Do(func() (err error) {
		if dir, err = unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
			return err
		}
		fd, err := unix.Openat(dir, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
		if err == nil {
			err = unix.Fstat(fd, &st)
			_ = unix.Close(fd)
			remove = func() { a.removeAt(dir, name, st) }
			return err
		}
		there := err == unix.EEXIST && unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW) == nil
		_ = unix.Close(dir)
		switch {
		case !there:
			return err
		case int(st.Uid) != a.as.UID && st.Uid != 0:
			return fmt.Errorf("%w: %s/%s is of user %d", ErrNameTaken, path, name, st.Uid)
		}
		return nil // jcmd attaches, or did and was killed
	})
	return remove, err
}

// removeAt removes a file of a folder, if it still is the one that made is of, and closes the folder.
func (a *Attached) removeAt(dir int, name string, made unix.Stat_t) {
	_ = a.as.Do(func() error { // the JVM may have removed it
		var st unix.Stat_t
		if err := unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil || st.Dev != made.Dev || st.Ino != made.Ino {
			return err
		}
		return unix.Unlinkat(dir, name, 0)
	})
	_ = unix.Close(dir)
}

// forbidsAttach looks in the options, as far as the environment can be seen, for what makes SIGQUIT do something else
// than to open the socket. A later option wins.
func (a *Attached) forbidsAttach() (bool, error) {
	argv, err := procfs.Cmdline(a.target.Pid)
	if err != nil {
		return false, err
	}
	env := map[string]string{}
	_ = a.as.Do(func() error { // where it cannot be seen, ErrNotListening tells
		environ, err := procfs.Environ(a.target.Pid)
		for _, kv := range environ {
			name, value, _ := strings.Cut(kv, "=")
			env[name] = value
		}
		return err
	})
	disabled, reduced := false, false
	for _, arg := range ownOptions(argv, func(name string) string { return env[name] }) {
		switch arg {
		case "-XX:+DisableAttachMechanism", "-XX:-DisableAttachMechanism":
			disabled = arg[4] == '+'
		case "-Xrs", "-XX:+ReduceSignalUsage", "-XX:-ReduceSignalUsage":
			reduced = arg != "-XX:-ReduceSignalUsage"
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
	lines, err := procfs.ReadStatus(pid)
	if err != nil {
		return status{}, err
	}
	return parseStatus(lines, pid)
}

// parseStatus reads the lines that matter. Linux < 4.1 has no NSpid.
func parseStatus(lines procfs.Status, pid int) (status, error) {
	state, _, _ := strings.Cut(lines["State"], " ")
	s := status{pid, lines.Catches(int(unix.SIGQUIT)), state == "T" || state == "t", state == "Z" || state == "X"}
	if _, there := lines["NSpid"]; there {
		pids, err := lines.Ints("NSpid")
		if err != nil {
			return s, fmt.Errorf("cannot read the status of process %d: %w", pid, err)
		}
		s.nsPid = pids[len(pids)-1]
	}
	return s, nil
}
