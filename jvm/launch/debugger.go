package launch

import (
	"fmt"
	"slices"
	"sync"

	"github.com/stoker-init/stoker/internal/proc"
	"github.com/stoker-init/stoker/internal/procfs"
	"github.com/stoker-init/stoker/internal/service"
	"github.com/stoker-init/stoker/jvm/hotspot"
	"github.com/stoker-init/stoker/supervisor"
)

// lookForDebugger is the supervisor.Launch.Debugger of every kind of service: the
// process, or a child of a script, may be a JVM with a jdwp agent.
func lookForDebugger(p supervisor.Process, before supervisor.Debugging) (now supervisor.Debugging, possible bool) {
	as := AsUserOf(p)
	children, _ := procfs.Children(p.Pid())
	for _, pid := range append([]int{p.Pid()}, children...) {
		argv, _ := procfs.Cmdline(pid)
		d, ok := hotspot.FindDebugger(argv, environOf(pid, as))
		if !ok {
			continue
		}
		sockets, err := proc.TCPSockets(pid)
		if err != nil {
			return before, true // what was seen last counts
		}
		return debuggingOf(d, sockets, before), true
	}
	return before, before.Text != ""
}

// debuggingOf judges by the sockets of a JVM. Its agent listens until a debugger comes,
// gives up that socket while one is there, and makes another one when it has gone: a JVM
// that waits for a debugger is one that still has its first socket.
func debuggingOf(d hotspot.Debugger, sockets []procfs.Socket, before supervisor.Debugging) supervisor.Debugging {
	now := before
	now.Text = ""
	if now.Port == 0 {
		now.Port = d.Port
	}
	port := func(s procfs.Socket) int {
		if d.Server {
			return s.Local
		}
		return s.Remote
	}
	if k := slices.IndexFunc(sockets, func(s procfs.Socket) bool { return s.Listens }); k >= 0 && now.Port == 0 && d.Server {
		now.Port = sockets[k].Local // the agent chose it, and is the first to listen
	}
	for _, s := range sockets {
		switch {
		case port(s) != now.Port || now.Port == 0:
		case !s.Listens:
			now.Resumed = true // sooner or later, or its end
			now.Text = fmt.Sprintf("has a debugger attached on port %d", now.Port)
			return now
		case d.Server && now.Socket == "":
			now.Socket = s.Inode
		case now.Socket != s.Inode:
			now.Resumed = true
		}
	}
	if d.Server && d.Suspend && now.Socket != "" && !now.Resumed {
		now.Text = fmt.Sprintf("waits for a debugger on port %d", now.Port)
	}
	return now
}

// environOf looks up the variables of a process, which are read when the first is asked
// for, with the rights of as; empty: it has none, or they cannot be seen.
func environOf(pid int, as func(look func() error) error) func(name string) string {
	vars := sync.OnceValue(func() (vars map[string]string) {
		_ = as(func() error {
			environ, err := procfs.Environ(pid)
			vars = service.EnvironMap(environ)
			return err
		})
		return vars
	})
	return func(name string) string { return vars()[name] }
}
