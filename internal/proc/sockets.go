package proc

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"github.com/stoker-init/stoker/internal/asuser"
	"github.com/stoker-init/stoker/internal/procfs"
)

// OwnsListener says whether a TCP socket that listens on port belongs to the
// process or to its group. certain is false where the kernel does not let us
// see whose it is and only the user of the socket is known to match. The error
// says that nothing listens, or who does.
func (p *Process) OwnsListener(port int) (certain bool, err error) {
	all, err := listeners(p.Pid(), port)
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
		uid, err := procfs.Owner(p.Pid())
		if err == nil && slices.ContainsFunc(all, func(s procfs.Socket) bool { return s.UID == uid }) {
			return false, nil
		}
	}
	return false, fmt.Errorf("port %d is held by another process%s", port, holder(all))
}

// Listens says whether the process or its group listens on any TCP port. The error
// says that it does not, or that it cannot be seen.
func (p *Process) Listens() error {
	all, err := procfs.TCPSockets(p.Pid(), func(s procfs.Socket) bool { return s.Listens })
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
	all, err := procfs.UnixListeners(p.Pid(), path)
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
func (p *Process) owns(all []procfs.Socket) (owned, blind bool) {
	for _, pid := range p.withMembers() {
		owned, err := ownsSocket(pid, all)
		if owned {
			return true, blind
		}
		blind = blind || errors.Is(err, fs.ErrPermission)
	}
	return false, blind
}

// listeners are the TCP sockets that listen on a port in the network namespace of a process.
func listeners(pid, port int) ([]procfs.Socket, error) {
	return procfs.TCPSockets(pid, func(s procfs.Socket) bool { return s.Listens && s.Local == port })
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

// TCPSockets lists the TCP sockets of one process by their local ports.
func TCPSockets(pid int) (out []procfs.Socket, err error) {
	all, err := procfs.TCPSockets(pid, nil)
	if err != nil {
		return nil, fmt.Errorf("cannot see the sockets of process %d: %w", pid, err)
	}
	byInode := map[string]procfs.Socket{}
	for _, s := range all {
		byInode[s.Inode] = s
	}
	err = asuser.Try(pid, func() error { // which may be called twice
		out = nil
		return procfs.EachFD(pid, func(_, target string) bool {
			if s, ok := byInode[target]; ok {
				out = append(out, s)
			}
			return true
		})
	})
	slices.SortStableFunc(out, func(a, b procfs.Socket) int { return a.Local - b.Local })
	return out, err
}

// ownsSocket looks for one of the sockets among a process's descriptors. Root in
// a default container lacks CAP_SYS_PTRACE and may not look at another user's:
// then it looks with that user's file-system identity, on a thread of its own.
func ownsSocket(pid int, all []procfs.Socket) (bool, error) {
	owned := false
	err := asuser.Try(pid, func() (err error) {
		owned, err = hasSocket(pid, all)
		return err
	})
	return owned, err
}

func hasSocket(pid int, all []procfs.Socket) (has bool, err error) {
	err = procfs.EachFD(pid, func(_, link string) bool {
		has = slices.ContainsFunc(all, func(l procfs.Socket) bool { return l.Inode == link })
		return !has
	})
	return has, err
}

// holder names who holds one of the sockets, where that can be seen.
func holder(all []procfs.Socket) string {
	for _, pid := range procfs.Pids() {
		if owned, _ := ownsSocket(pid, all); owned {
			name, err := procfs.Comm(pid)
			if err != nil {
				name = "?"
			}
			return fmt.Sprintf(": pid %d (%s)", pid, name)
		}
	}
	return ""
}
