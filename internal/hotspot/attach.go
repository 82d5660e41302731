package hotspot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/stoker-init/stoker/internal/untrusted"
	"golang.org/x/sys/unix"
)

// Target is a running JVM on which commands are to be run.
type Target struct {
	Pid int // as we see it
	// Quit sends SIGQUIT, by which a JVM is asked to open its socket. It is not
	// called for one that does not catch it: that one would die.
	Quit func() error
	// As calls f again with the identity of the JVM's user where that is needed to
	// look into its folders; nil: ours has to do.
	As func(f func() error) error
}

// Attached is a JVM that listens for commands. There is nothing to be closed.
type Attached struct {
	target Target
	socket string
}

// Errors of Attach. Where we may not look the error is an fs.ErrPermission.
var (
	// ErrNoAttach says that the JVM was started with an option that forbids it.
	ErrNoAttach = errors.New("its options forbid to attach (-XX:+DisableAttachMechanism, -Xrs)")
	// ErrNotCaught says that the JVM has no handler for SIGQUIT: it has just begun.
	ErrNotCaught = errors.New("it does not catch SIGQUIT (yet)")
	// ErrNotListening says that the JVM did not open its socket in time.
	ErrNotListening = errors.New("the JVM did not open its socket")
	// ErrOthersSocket says that the name of the socket is taken by a file of another
	// user, which the JVM cannot replace: an earlier JVM of its number has left it.
	ErrOthersSocket = errors.New("its socket's name is taken by a file of another user")
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
	if t.As == nil {
		t.As = func(f func() error) error { return f() }
	}
	a := &Attached{target: t}
	fail := func(err error) (*Attached, error) { return nil, fmt.Errorf("cannot attach to JVM %d: %w", t.Pid, err) }
	forbidden, err := forbidsAttach(t)
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
		a.socket = fmt.Sprintf("/proc/%d/root/tmp/.java_pid%d", t.Pid, s.nsPid)
		err = a.listens(ctx)
		if err == nil {
			return a, nil
		}
		if owner, ok := a.owner(); ok && owner != s.uid {
			return fail(fmt.Errorf("%w: /tmp/.java_pid%d is of user %d", ErrOthersSocket, s.nsPid, owner))
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

// owner is whose the socket's file is; false: there is none, or it cannot be seen.
func (a *Attached) owner() (uid int, ok bool) {
	var st unix.Stat_t
	err := a.target.As(func() error { return unix.Lstat(a.socket, &st) })
	return int(st.Uid), err == nil
}

// notThere says that nobody listens at the socket, or that it is none.
func notThere(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ECONNREFUSED)
}

// ask asks for the socket once, and waits for it.
func (a *Attached) ask(ctx context.Context, s status, wait time.Duration) error {
	name, asked := fmt.Sprintf("/.attach_pid%d", s.nsPid), ""
	for _, dir := range []string{"cwd", "root/tmp"} {
		path := fmt.Sprintf("/proc/%d/%s%s", a.target.Pid, dir, name)
		err := a.target.As(func() error { return createOwned(path, s) })
		if err == nil {
			asked = path
			break
		}
		if dir == "cwd" {
			continue
		}
		if notThere(err) { // it is not the socket that is missing
			return fmt.Errorf("cannot ask for its socket: %v", err) //nolint:errorlint // see above
		}
		return fmt.Errorf("cannot ask for its socket: %w", err)
	}
	defer func() { _ = a.target.As(func() error { return os.Remove(asked) }) }() // the JVM may have done it
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
		err := a.target.As(func() (err error) {
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

// createOwned makes an empty file of the JVM's user: an older JVM takes no other.
// A link that somebody has put there is not followed.
func createOwned(path string, s status) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil // of somebody else who attaches, or who was killed in the middle
	}
	if err != nil {
		return err
	}
	if os.Geteuid() == 0 {
		_ = f.Chown(s.uid, s.gid) // with the file-system identity of the user it is his already
	}
	return f.Close()
}

// optionVariables are those that hold options of a JVM, in the order in which it
// takes them; "" is the command line.
func optionVariables() []string {
	return []string{"JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "", "_JAVA_OPTIONS"}
}

// forbidsAttach looks in the command line, and in the environment as far as that
// can be seen, for what makes SIGQUIT do something else than to open the socket. A
// later option wins.
func forbidsAttach(t Target) (bool, error) {
	argv, err := CommandLine(t.Pid)
	if err != nil {
		return false, err
	}
	words := map[string][]string{"": argv}
	_ = t.As(func() error { // where it cannot be seen, ErrNotListening tells
		data, err := untrusted.ReadProcess(t.Pid, "environ")
		for _, kv := range strings.Split(string(data), "\x00") {
			if name, value, _ := strings.Cut(kv, "="); name != "" {
				words[name] = strings.Fields(value)
			}
		}
		return err
	})
	disabled, reduced := false, false
	for _, name := range optionVariables() {
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

// CommandLine gives the arguments of a process.
func CommandLine(pid int) ([]string, error) {
	data, err := untrusted.ReadProcess(pid, "cmdline")
	if err != nil {
		return nil, err
	}
	return strings.Split(strings.TrimSuffix(string(data), "\x00"), "\x00"), nil
}

// status is what /proc/PID/status says.
type status struct {
	nsPid       int // in the innermost namespace
	uid, gid    int // effective
	catchesQuit bool
	stopped     bool
	ended       bool // and not waited for yet
}

// Stopped says whether a process does not run now, as far as that can be seen.
func Stopped(pid int) bool {
	s, err := readStatus(pid)
	return err == nil && s.stopped
}

func readStatus(pid int) (status, error) {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return status{}, err
	}
	return parseStatus(string(data), pid)
}

// parseStatus reads the lines that matter; Linux < 4.1 has no NSpid.
func parseStatus(text string, pid int) (s status, err error) {
	s = status{nsPid: pid, uid: -1, gid: -1}
	for line := range strings.Lines(text) {
		name, rest, _ := strings.Cut(line, ":")
		f := strings.Fields(rest)
		switch {
		case name == "NSpid" && len(f) > 0:
			s.nsPid, err = strconv.Atoi(f[len(f)-1])
		case name == "Uid" && len(f) > 1:
			s.uid, err = strconv.Atoi(f[1])
		case name == "Gid" && len(f) > 1:
			s.gid, err = strconv.Atoi(f[1])
		case name == "State" && len(f) > 0:
			s.stopped = f[0] == "T" || f[0] == "t"
			s.ended = f[0] == "Z" || f[0] == "X"
		case name == "SigCgt" && len(f) > 0:
			var mask uint64
			mask, err = strconv.ParseUint(f[0], 16, 64)
			s.catchesQuit = mask&(1<<(unix.SIGQUIT-1)) != 0
		}
		if err != nil {
			return s, fmt.Errorf("cannot read the status of process %d: %w", pid, err)
		}
	}
	return s, nil
}
