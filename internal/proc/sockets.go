package proc

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/stoker-init/stoker/internal/pid1"
	"golang.org/x/sys/unix"
)

// listener is a listening socket.
type listener struct {
	inode string
	uid   int
}

// OwnsListener says whether a TCP socket that listens on port belongs to the
// process or to its group. certain is false where the kernel does not let us
// see whose it is and only the user of the socket is known to match. The error
// says that nothing listens, or who does.
func (p *Process) OwnsListener(port int) (certain bool, err error) {
	suffix := fmt.Sprintf(":%04X", port)
	all, err := listeners(p.Pid(), func(address string) bool { return strings.HasSuffix(address, suffix) })
	if err != nil {
		return false, fmt.Errorf("cannot see who listens on port %d: %w", port, err)
	}
	if len(all) == 0 {
		return false, fmt.Errorf("nothing listens on port %d yet", port)
	}
	owned, blind := p.owns(all)
	if owned {
		return true, nil
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

// Listens says whether the process or its group listens on any TCP port. The error
// says that it does not, or that it cannot be seen.
func (p *Process) Listens() error {
	all, err := listeners(p.Pid(), func(string) bool { return true })
	if err != nil {
		return fmt.Errorf("cannot see what it listens on: %w", err)
	}
	owned, blind := p.owns(all)
	switch {
	case owned:
		return nil
	case blind:
		return errors.New("cannot see which sockets are its own: permission denied")
	}
	return errors.New("it does not listen on a TCP port yet")
}

// OwnsSocketFile says whether the process or its group listens at a unix socket. The
// error says that it does not, or that it cannot be seen.
func (p *Process) OwnsSocketFile(path string) error {
	all, err := socketFiles(p.Pid(), path)
	if err != nil {
		return fmt.Errorf("cannot see what listens at %s: %w", path, err)
	}
	if len(all) == 0 {
		return fmt.Errorf("nothing listens at %s yet", path)
	}
	owned, blind := p.owns(all)
	switch {
	case owned:
		return nil
	case blind:
		return fmt.Errorf("cannot see whose socket %s is: permission denied", path)
	}
	return fmt.Errorf("%s is the socket of another process%s", path, holder(all))
}

// owns looks for one of the sockets among the descriptors of the process and its
// group. blind: not all of them could be seen.
func (p *Process) owns(all []listener) (owned, blind bool) {
	for _, pid := range p.withMembers() {
		owned, err := ownsSocket(pid, all)
		if owned {
			return true, blind
		}
		blind = blind || errors.Is(err, fs.ErrPermission)
	}
	return false, blind
}

// PortHolder names the process that listens on a TCP port here, as ": pid 20
// (nginx)"; empty: nobody does, or it cannot be seen who.
func PortHolder(port int) string {
	suffix := fmt.Sprintf(":%04X", port)
	all, err := listeners(os.Getpid(), func(address string) bool { return strings.HasSuffix(address, suffix) })
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

// listeners reads the listening sockets at the wanted addresses from the tables of
// the process's own network namespace (proc(5), /proc/net/tcp: field 2 is the local
// address in hexadecimal, 4 the state, 8 the uid, 10 the inode).
func listeners(pid int, wanted func(address string) bool) ([]listener, error) {
	var out []listener
	err := tcpTables(pid, func(f []string) {
		if f[3] != tcpListens || !wanted(f[1]) {
			return
		}
		if uid, err := strconv.Atoi(f[7]); err == nil {
			out = append(out, listener{"socket:[" + f[9] + "]", uid})
		}
	})
	if len(out) == 0 && err != nil {
		return nil, err
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
		readErr := eachLine(fmt.Sprintf("/proc/%d/net/%s", pid, table), func(text string) {
			if f := strings.Fields(text); len(f) >= 10 {
				line(f)
			}
		})
		if readErr != nil && !errors.Is(readErr, fs.ErrNotExist) {
			err = readErr
		}
	}
	return err
}

// eachLine goes through a table of the kernel, which has a line for each of any number
// of sockets, without holding it in memory.
func eachLine(path string, f func(text string)) error {
	table, err := os.Open(path)
	if err != nil {
		return err
	}
	defer table.Close()
	s := bufio.NewScanner(table)
	for s.Scan() {
		f(s.Text())
	}
	return s.Err()
}

// socketFiles reads the sockets that listen at a path (proc(5), /proc/net/unix: field
// 4 are the flags, of which __SO_ACCEPTCON says that it listens, 7 the inode, and the
// rest of the line is the path).
func socketFiles(pid int, path string) ([]listener, error) {
	const listening = "00010000"
	var out []listener
	err := eachLine(fmt.Sprintf("/proc/%d/net/unix", pid), func(text string) {
		line, at, ok := strings.Cut(text, " /")
		f := strings.Fields(line)
		if ok && "/"+at == path && len(f) >= 7 && f[3] == listening {
			out = append(out, listener{inode: "socket:[" + f[6] + "]"})
		}
	})
	return out, err
}

// TCPSocket is a TCP socket of a process that listens or is connected.
type TCPSocket struct {
	Inode   string // its identity
	Listens bool
	Local   int // port
	Remote  int // port; 0: it listens
}

// maxSockets is how many TCP sockets of a network namespace are looked at.
const maxSockets = 50_000

// TCPSockets lists those of one process, by their local ports.
func TCPSockets(pid int) (out []TCPSocket, err error) {
	all := map[string]TCPSocket{}
	err = tcpTables(pid, func(f []string) {
		if inode := "socket:[" + f[9] + "]"; (f[3] == tcpListens || f[3] == tcpConnected) && len(all) <= maxSockets {
			all[inode] = TCPSocket{inode, f[3] == tcpListens, tcpPort(f[1]), tcpPort(f[2])}
		}
	})
	if err == nil && len(all) > maxSockets {
		err = fmt.Errorf("there are more than %d", maxSockets)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot see the sockets of process %d: %w", pid, err)
	}
	err = asUser(pid, func() error { // which may look twice
		out = nil
		return eachDescriptor(pid, func(_, link string) bool {
			if s, ok := all[link]; ok {
				out = append(out, s)
			}
			return true
		})
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

func hasSocket(pid int, all []listener) (has bool, err error) {
	err = eachDescriptor(pid, func(_, link string) bool {
		has = slices.ContainsFunc(all, func(l listener) bool { return l.inode == link })
		return !has
	})
	return has, err
}

// eachDescriptor calls f with the path in /proc of each descriptor of a process and what
// it is, such as "socket:[INODE]", until it says no. There may be a million of them.
func eachDescriptor(pid int, f func(path, link string) (more bool)) error {
	dir, err := os.Open(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		return err
	}
	defer dir.Close()
	for {
		names, err := dir.Readdirnames(1024)
		for _, name := range names {
			path := dir.Name() + "/" + name
			link, err := os.Readlink(path)
			if errors.Is(err, fs.ErrPermission) {
				return err
			}
			if err == nil && !f(path, link) {
				return nil
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
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
