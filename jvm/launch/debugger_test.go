package launch

import (
	"os"
	"testing"

	"github.com/stoker-init/stoker/internal/procfs"
	"github.com/stoker-init/stoker/jvm/hotspot"
	"github.com/stoker-init/stoker/supervisor"
)

func TestDebuggerState(t *testing.T) {
	listens := func(inode string, port int) procfs.Socket {
		return procfs.Socket{Inode: inode, Listens: true, Local: port}
	}
	conn := func(inode string, local, remote int) procfs.Socket {
		return procfs.Socket{Inode: inode, Local: local, Remote: remote}
	}
	const waits, has = "waits for a debugger on port 5005", "has a debugger attached on port 5005"
	app := listens("web", 8080)
	type look struct {
		sockets []procfs.Socket
		want    string
	}
	for name, c := range map[string]struct {
		d     hotspot.Debugger
		looks []look
	}{
		"waits, is held, is left, and another comes": {hotspot.Debugger{Port: 5005, Server: true, Suspend: true}, []look{
			{nil, ""}, {[]procfs.Socket{listens("a", 5005)}, waits}, {[]procfs.Socket{listens("a", 5005)}, waits},
			{[]procfs.Socket{conn("b", 5005, 40000)}, has}, {[]procfs.Socket{listens("c", 5005), app}, ""},
			{[]procfs.Socket{conn("d", 5005, 40001), app}, has},
			{[]procfs.Socket{listens("e", 5005), app}, ""}}},
		"came and went between two looks": {hotspot.Debugger{Port: 5005, Server: true, Suspend: true}, []look{
			{[]procfs.Socket{listens("a", 5005)}, waits}, {[]procfs.Socket{listens("b", 5005)}, ""}, {[]procfs.Socket{listens("b", 5005)}, ""}}},
		"was there at the first look": {hotspot.Debugger{Port: 5005, Server: true, Suspend: true}, []look{
			{[]procfs.Socket{conn("b", 5005, 40000)}, has}, {[]procfs.Socket{listens("c", 5005)}, ""}}},
		"does not wait": {hotspot.Debugger{Port: 5005, Server: true}, []look{
			{[]procfs.Socket{listens("a", 5005)}, ""}, {[]procfs.Socket{conn("b", 5005, 40000)}, has}}},
		"connects to it": {hotspot.Debugger{Port: 5005, Suspend: true}, []look{
			{[]procfs.Socket{conn("a", 41000, 5005)}, has}, {[]procfs.Socket{app, conn("x", 8080, 5006)}, ""}}},
		"the agent chose the port": {hotspot.Debugger{Server: true, Suspend: true}, []look{
			{[]procfs.Socket{listens("a", 5005)}, waits}, {[]procfs.Socket{conn("b", 5005, 40000)}, has},
			{[]procfs.Socket{listens("web", 80), listens("c", 5005)}, ""}}},
		"no port, and none listens": {hotspot.Debugger{Suspend: true}, []look{{[]procfs.Socket{conn("x", 1, 0)}, ""}}},
		"an application's connection": {hotspot.Debugger{Port: 5005, Server: true}, []look{
			{[]procfs.Socket{listens("a", 5005), conn("x", 8080, 5005), app}, ""}}},
	} {
		var state supervisor.Debugging
		for k, l := range c.looks {
			state = debuggerState(c.d, l.sockets, state)
			if state.Text != l.want {
				t.Errorf("%s, look %d: %q, want %q", name, k, state.Text, l.want)
			}
		}
	}
}

// The environment is read at the first lookup only: most processes are no JVM.
func TestEnvironIsReadAtFirstLookup(t *testing.T) {
	asked := 0
	env := environOf(os.Getpid(), func(look func() error) error {
		asked++
		return look()
	})
	if asked > 0 {
		t.Error("it is read before a variable is asked for")
	}
	if got := env("PATH"); got == "" || env("NO_SUCH_VARIABLE") != "" || asked != 1 {
		t.Errorf("PATH is %q; read %d times", got, asked)
	}
}
