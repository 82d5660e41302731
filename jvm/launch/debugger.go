package launch

import (
	"fmt"
	"slices"
	"sync"

	"github.com/stoker-init/stoker/internal/asuser"
	"github.com/stoker-init/stoker/internal/proc"
	"github.com/stoker-init/stoker/internal/procfs"
	"github.com/stoker-init/stoker/internal/service"
	"github.com/stoker-init/stoker/jvm/hotspot"
	"github.com/stoker-init/stoker/supervisor"
)

// findDebugger implements supervisor.Launch.Debugger for every kind of service: the process or a child of a script may be a JVM with a jdwp
// agent.
func findDebugger(p supervisor.Process, before supervisor.Debugging) (now supervisor.Debugging, possible bool) {
	as := func(look func() error) error { return asuser.RetryAs(p.Pid(), look) }
	children, _ := procfs.Children(p.Pid())
	for _, pid := range append([]int{p.Pid()}, children...) {
		argv, _ := procfs.Cmdline(pid)
		d, ok := hotspot.FindDebugger(argv, environOf(pid, as))
		if !ok {
			continue
		}
		sockets, err := proc.TCPSockets(pid)
		if err != nil {
			return before, true // the last known state holds
		}
		return debuggerState(d, sockets, before), true
	}
	return before, before.Text != ""
}

// debuggerState derives the state from the sockets of a JVM. The agent closes its listening socket while a debugger is attached and opens a
// new one afterwards, so a JVM that still has its first socket is waiting for a debugger.
func debuggerState(d hotspot.Debugger, sockets []procfs.Socket, before supervisor.Debugging) supervisor.Debugging {
	now := before
	now.Text = ""
	if now.Port == 0 {
		now.Port = d.Port
	}
	if k := slices.IndexFunc(sockets, func(s procfs.Socket) bool { return s.Listens }); k >= 0 && now.Port == 0 && d.Server {
		now.Port = sockets[k].Local // the agent chose it and listens first
	}
	for _, s := range sockets {
		port := s.Remote
		if d.Server {
			port = s.Local
		}
		switch {
		case port != now.Port || now.Port == 0:
		case !s.Listens:
			now.Resumed = true // by the debugger or by its exit
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

// environOf returns a lookup in the environment of a process. The environment is read at the first lookup, with the rights of as; if it is
// unreadable, every variable is empty.
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
