package proc

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/stoker-init/stoker/internal/initproto"
	"github.com/stoker-init/stoker/internal/procfs"
)

// Protocol is the version of the init protocol that this binary speaks.
const Protocol = initproto.Version

// Init describes the init, and the binary that supervisors are started from.
type Init struct {
	Pid      int
	Protocol int // version of its wire
	initproto.Binary
}

// Init is the init as it was when this supervisor started; its pid is 1 in a container.
func (m *Manager) Init() Init { return m.init }

// noteWelcome notes how the init describes itself.
func (m *Manager) noteWelcome(msg *initproto.Msg) {
	m.init = Init{Pid: msg.Pid, Protocol: msg.Version}
	if b := msg.Binary; b != nil {
		m.init.Binary = *b
	}
	// After an upgrade the init, and the binary that it returns to, are of another version.
	m.Logs.OldLayout = m.init.Path != ""
	if msg.Starts > 1 {
		takeName(msg.Pid)
	}
}

// takeName gives every thread the name of the init. A program that was executed from a
// descriptor has its number as the name: ps would not show stoker, and a later supervisor
// would not recognise a child between clone and exec.
func takeName(initPid int) {
	want, err := procfs.Comm(initPid)
	if err != nil {
		return
	}
	if have, err := procfs.Comm(os.Getpid()); err == nil && have == want {
		return
	}
	tasks, _ := filepath.Glob("/proc/self/task/*/comm") // its pattern is right
	for _, task := range tasks {
		_ = os.WriteFile(task, []byte(want), 0) // a thread that has ended needs no name
	}
}

// Upgrade makes the init start every later supervisor from the binary fd, of that version,
// found at path; by names who asked. The init keeps the present binary, and returns to it
// if the new one does not work. The caller must end within a second.
func (m *Manager) Upgrade(fd int, version, path, by string) error {
	if m.init.Protocol < 2 {
		return errors.New("the init of this container is older than upgrades")
	}
	binary := &initproto.Binary{Version: version, Path: path, By: by}
	return m.conn.Send(&initproto.Msg{Type: initproto.Upgrade, Fds: []int{fd}, Binary: binary})
}
