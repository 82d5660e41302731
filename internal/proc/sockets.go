package proc

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"slices"
	"strconv"

	"github.com/stoker-init/stoker/internal/asuser"
	"github.com/stoker-init/stoker/internal/listen"
	"github.com/stoker-init/stoker/internal/procfs"
)

// OwnsListener says whether a member of the service listens on a TCP port. certain is
// false where the kernel does not show whose the socket is, and only its user is known to
// match. The error says that nothing listens, or which other process does.
func (p *Process) OwnsListener(port int) (certain bool, err error) {
	all, err := listeners(p.Pid(), port)
	err = p.checkOwner(fmt.Sprintf("port %d", port), all, err)
	if errors.Is(err, fs.ErrPermission) {
		uid, ownerErr := procfs.Owner(p.Pid())
		if ownerErr == nil && slices.ContainsFunc(all, func(s procfs.Socket) bool { return s.UID == uid }) {
			return false, nil
		}
	}
	return err == nil, err
}

// Listens returns nil if a member of the service listens on any TCP port.
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

// OwnsSocketFile returns nil if a member of the service listens at a unix socket.
func (p *Process) OwnsSocketFile(path string) error {
	all, err := procfs.UnixListeners(p.Pid(), path)
	return p.checkOwner(path, all, err)
}

// checkOwner returns nil if a member of the service has one of the sockets of an address.
func (p *Process) checkOwner(address string, all []procfs.Socket, err error) error {
	if err != nil {
		return fmt.Errorf("cannot see what listens on %s: %w", address, err)
	}
	if len(all) == 0 {
		return fmt.Errorf("nothing listens on %s yet", address)
	}
	owned, blind := p.owns(all)
	switch {
	case owned:
		return nil
	case blind:
		return fmt.Errorf("cannot see which process listens on %s: %w", address, fs.ErrPermission)
	}
	held := p.m.holder(all)
	if held == "" {
		held = "is held by another process"
	}
	return fmt.Errorf("%s %s", address, held)
}

// owns says whether a member of the service has one of the sockets open. blind: some of
// their descriptors could not be seen.
func (p *Process) owns(all []procfs.Socket) (owned, blind bool) {
	for _, pid := range append([]int{p.Pid()}, p.Members()...) {
		owned, err := hasOpen(pid, all)
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

// PortHolder says what listens on a TCP port, as "is held by another process: pid 20 (nginx)" or "is kept open by stoker for service
// web"; empty: nothing does, or it cannot be seen.
func (m *Manager) PortHolder(port int) string {
	all, err := listeners(os.Getpid(), port)
	if err != nil {
		return ""
	}
	return m.holder(all)
}

// addressHolder is PortHolder of the address of a socket.
func (m *Manager) addressHolder(c listen.Config) string {
	if c.Unix != "" {
		all, _ := procfs.UnixListeners(os.Getpid(), c.Unix) // as far as it can be read
		return m.holder(all)
	}
	_, port, _ := net.SplitHostPort(c.TCP)
	n, _ := strconv.Atoi(port) // 0 has no holder
	return m.PortHolder(n)
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
	err = asuser.RetryAs(pid, func() error { // which may be called twice
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

// hasOpen says whether a process has one of some sockets open.
func hasOpen(pid int, sockets []procfs.Socket) (open bool, err error) {
	err = asuser.RetryAs(pid, func() error {
		open = false
		return procfs.EachFD(pid, func(_, target string) bool {
			open = slices.ContainsFunc(sockets, func(s procfs.Socket) bool { return s.Inode == target })
			return !open
		})
	})
	return open, err
}

// holder says what has one of the sockets open, as PortHolder does.
func (m *Manager) holder(all []procfs.Socket) string {
	for _, s := range all {
		if service := m.Listeners.HeldFor(s.Inode); service != "" {
			return "is kept open by stoker for service " + service
		}
	}
	for _, pid := range procfs.Pids() {
		if open, _ := hasOpen(pid, all); open {
			name, err := procfs.Comm(pid)
			if err != nil {
				name = "?"
			}
			return fmt.Sprintf("is held by another process: pid %d (%s)", pid, name)
		}
	}
	return ""
}
