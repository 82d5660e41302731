package proc

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/stoker-init/stoker/internal/pid1"
	"golang.org/x/sys/unix"
)

// listener is a listening TCP socket.
type listener struct {
	inode string
	uid   int
}

// OwnsListener says whether a TCP socket that listens on port belongs to the
// process or to its group. certain is false where the kernel does not let us
// see whose it is and only the user of the socket is known to match. The error
// says that nothing listens, or who does.
func (p *Process) OwnsListener(port int) (certain bool, err error) {
	all, err := listeners(p.Pid(), port)
	if err != nil {
		return false, err
	}
	if len(all) == 0 {
		return false, fmt.Errorf("nothing listens on port %d yet", port)
	}
	blind := false
	for _, pid := range p.withMembers() {
		owned, err := ownsSocket(pid, all)
		if owned {
			return true, nil
		}
		blind = blind || errors.Is(err, fs.ErrPermission)
	}
	if blind {
		var st unix.Stat_t
		if unix.Stat(fmt.Sprintf("/proc/%d", p.Pid()), &st) == nil &&
			slices.ContainsFunc(all, func(l listener) bool { return l.uid == int(st.Uid) }) {
			return false, nil
		}
	}
	return false, fmt.Errorf("port %d is held by another process%s", port, holder(all))
}

// PortHolder names the process that listens on a TCP port here, as ": pid 20
// (nginx)"; empty: nobody does, or it cannot be seen who.
func PortHolder(port int) string {
	all, err := listeners(os.Getpid(), port)
	if err != nil || len(all) == 0 {
		return ""
	}
	return holder(all)
}

// withMembers is the process and its group.
func (p *Process) withMembers() []int {
	pids := []int{p.Pid()}
	for _, pid := range p.Members() {
		if pid != p.Pid() {
			pids = append(pids, pid)
		}
	}
	return pids
}

// listeners reads the listening sockets on a port from the tables of the
// process's own network namespace (proc(5), /proc/net/tcp: field 2 is the local
// address in hexadecimal, 4 the state, 8 the uid, 10 the inode).
func listeners(pid, port int) ([]listener, error) {
	suffix := fmt.Sprintf(":%04X", port)
	var out []listener
	err := tcpTables(pid, func(f []string) {
		if f[3] != tcpListens || !strings.HasSuffix(f[1], suffix) {
			return
		}
		if uid, err := strconv.Atoi(f[7]); err == nil {
			out = append(out, listener{"socket:[" + f[9] + "]", uid})
		}
	})
	if len(out) == 0 && err != nil {
		return nil, fmt.Errorf("cannot see who listens on port %d: %w", port, err)
	}
	return out, nil
}

// States of a socket in the kernel's tables.
const (
	tcpListens   = "0A"
	tcpConnected = "01"
)

// tcpTables goes through the lines of both tables, split into their fields.
func tcpTables(pid int, line func(fields []string)) (err error) {
	for _, table := range []string{"tcp", "tcp6"} {
		data, readErr := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", pid, table))
		if readErr != nil {
			if !errors.Is(readErr, fs.ErrNotExist) {
				err = readErr
			}
			continue
		}
		for s := bufio.NewScanner(bytes.NewReader(data)); s.Scan(); {
			if f := strings.Fields(s.Text()); len(f) >= 10 {
				line(f)
			}
		}
	}
	return err
}

// TCPSocket is a TCP socket of a process that listens or is connected.
type TCPSocket struct {
	Inode   string // its identity
	Listens bool
	Local   int // port
	Remote  int // port; 0: it listens
}

// TCPSockets lists those of one process, by their local ports.
func TCPSockets(pid int) (out []TCPSocket, err error) {
	var all []TCPSocket
	err = tcpTables(pid, func(f []string) {
		if f[3] == tcpListens || f[3] == tcpConnected {
			all = append(all, TCPSocket{"socket:[" + f[9] + "]", f[3] == tcpListens, tcpPort(f[1]), tcpPort(f[2])})
		}
	})
	if err != nil {
		return nil, fmt.Errorf("cannot see the sockets of process %d: %w", pid, err)
	}
	err = asUser(pid, func() error {
		own, err := socketLinks(pid)
		out = slices.DeleteFunc(all, func(s TCPSocket) bool { return !slices.Contains(own, s.Inode) })
		return err
	})
	slices.SortStableFunc(out, func(a, b TCPSocket) int { return a.Local - b.Local })
	return out, err
}

// tcpPort is the port of an address in the tables; 0: none.
func tcpPort(address string) int {
	n, err := strconv.ParseUint(address[strings.LastIndexByte(address, ':')+1:], 16, 16)
	if err != nil {
		return 0
	}
	return int(n)
}

// ownsSocket looks for one of the sockets among a process's descriptors. Root in
// a default container lacks CAP_SYS_PTRACE and may not look at another user's:
// then it looks with that user's file-system identity, on a thread of its own.
func ownsSocket(pid int, all []listener) (bool, error) {
	owned := false
	err := asUser(pid, func() (err error) {
		owned, err = hasSocket(pid, all)
		return err
	})
	return owned, err
}

func hasSocket(pid int, all []listener) (bool, error) {
	own, err := socketLinks(pid)
	return slices.ContainsFunc(all, func(l listener) bool { return slices.Contains(own, l.inode) }), err
}

// socketLinks are the sockets among a process's descriptors, as "socket:[INODE]".
func socketLinks(pid int) (out []string, err error) {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	fds, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, fd := range fds {
		link, err := os.Readlink(dir + "/" + fd.Name())
		if errors.Is(err, fs.ErrPermission) {
			return out, err
		}
		if strings.HasPrefix(link, "socket:") {
			out = append(out, link)
		}
	}
	return out, nil
}

// ids are the effective user and group of a process.
type ids struct{ uid, gid int }

func identity(pid int) (ids, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return ids{}, err
	}
	var out ids
	for line := range strings.Lines(string(data)) {
		f := strings.Fields(line)
		if len(f) < 3 {
			continue
		}
		switch f[0] {
		case "Uid:":
			out.uid, err = strconv.Atoi(f[2])
		case "Gid:":
			out.gid, err = strconv.Atoi(f[2])
		}
		if err != nil {
			return ids{}, err
		}
	}
	return out, nil
}

// holder names who holds one of the sockets, where that can be seen.
func holder(all []listener) string {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return ""
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if owned, _ := ownsSocket(pid, all); owned {
			name := "?"
			if b, err := pid1.ReadBirth(pid); err == nil {
				name = b.Comm
			}
			return fmt.Sprintf(": pid %d (%s)", pid, name)
		}
	}
	return ""
}
