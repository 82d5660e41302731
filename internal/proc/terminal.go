package proc

import (
	"cmp"
	"fmt"
	"os"
	"syscall"

	"github.com/creack/pty"
	"github.com/stoker-init/stoker/internal/fdstore"
	"github.com/stoker-init/stoker/internal/initproto"
	"golang.org/x/sys/unix"
)

// terminalPrefix marks the items of the fd store that are master sides of terminals.
const terminalPrefix = "pty/"

// openTerminal opens a terminal, keeps its master side and returns the slave side.
func (p *Process) openTerminal(spec *Spec) (slave *os.File, err error) {
	fail := func(err error) (*os.File, error) {
		return nil, fmt.Errorf("cannot open a terminal for %q: %w", spec.ID, err)
	}
	master, slave, err := pty.Open()
	if err != nil {
		return fail(err)
	}
	defer master.Close()
	size := &pty.Winsize{Rows: cmp.Or(spec.Stdio.Rows, 24), Cols: cmp.Or(spec.Stdio.Columns, 80)}
	if err = pty.Setsize(slave, size); err == nil {
		err = p.keepTerminal(int(master.Fd()))
	}
	if err == nil {
		if err = p.m.store.PutFile(terminalPrefix+spec.ID, nil, p.terminal); err != nil {
			p.terminal.Close()
		}
	}
	if err != nil {
		slave.Close()
		return fail(err)
	}
	p.m.giveOutput(spec.User, slave)
	return slave, nil
}

// keepTerminal makes a master side the process's, with a descriptor of its own that
// Close interrupts: package pty leaves its own in blocking mode.
func (p *Process) keepTerminal(fd int) error {
	own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err := unix.SetNonblock(own, true); err != nil {
		unix.Close(own)
		return err
	}
	p.terminal = os.NewFile(uintptr(own), "terminal")
	return nil
}

// adoptTerminals gives the terminals of an earlier supervisor back to their processes.
func (m *Manager) adoptTerminals(items fdstore.Items) {
	for _, name := range items.Names(terminalPrefix) {
		f, _, err := items.TakeFile(name)
		p := m.procs[name[len(terminalPrefix):]]
		if err == nil && p != nil && !p.rec.Done {
			err = p.keepTerminal(int(f.Fd()))
		}
		if err != nil {
			m.warn(fmt.Sprintf("cannot keep the terminal of %s: %v", name[len(terminalPrefix):], err))
		}
		if p == nil || p.terminal == nil {
			m.store.Delete(name)
		}
		if f != nil {
			f.Close()
		}
	}
}

// Terminal is the master side of the terminal of a process that was started with Pty; nil:
// it has none. It reads what the process writes, and EIO after the last process that has
// the terminal open. The next supervisor gets it again.
func (p *Process) Terminal() *os.File { return p.terminal }

// Resize sets the size of the terminal. The kernel sends SIGWINCH to its foreground group.
func (p *Process) Resize(rows, columns uint16) error {
	if p.terminal == nil {
		return os.ErrInvalid
	}
	raw, err := p.terminal.SyscallConn()
	if err != nil {
		return err
	}
	var result error
	err = raw.Control(func(fd uintptr) {
		result = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: columns})
	})
	return cmp.Or(err, result)
}

// SignalForeground sends a signal to the foreground process group of the terminal, which is the one that its keys reach.
func (p *Process) SignalForeground(sig syscall.Signal) error {
	if p.terminal == nil {
		return os.ErrInvalid
	}
	raw, err := p.terminal.SyscallConn()
	if err != nil {
		return err
	}
	group, ioctlErr := 0, error(nil)
	err = raw.Control(func(fd uintptr) { group, ioctlErr = unix.IoctlGetInt(int(fd), unix.TIOCGPGRP) })
	if err = cmp.Or(err, ioctlErr); err != nil {
		return fmt.Errorf("cannot find the foreground processes of %q: %w", p.rec.ID, err)
	}
	for _, s := range p.members(initproto.BootNow()) {
		if s.Pgrp == group && s.Session == p.rec.Pid {
			return errGone(unix.Kill(-group, sig))
		}
	}
	return ErrGone
}

// HangUp closes the terminal everywhere. The kernel sends SIGHUP to its session.
func (p *Process) HangUp() {
	if p.terminal != nil {
		p.m.store.Delete(terminalPrefix + p.rec.ID)
		p.terminal.Close()
	}
}
