package daemon

import (
	"os"
	"testing"

	"github.com/stoker-init/stoker/internal/proc"
	"github.com/stoker-init/stoker/jvm/hotspot"
	"github.com/stoker-init/stoker/supervisor"
)

func TestDebuggingOf(t *testing.T) {
	listens := func(inode string, port int) proc.TCPSocket {
		return proc.TCPSocket{Inode: inode, Listens: true, Local: port}
	}
	conn := func(inode string, local, remote int) proc.TCPSocket {
		return proc.TCPSocket{Inode: inode, Local: local, Remote: remote}
	}
	const waits, has = "waits for a debugger on port 5005", "has a debugger attached on port 5005"
	app := listens("web", 8080)
	type look struct {
		sockets []proc.TCPSocket
		want    string
	}
	for name, c := range map[string]struct {
		d     hotspot.Debugger
		looks []look
	}{
		"waits, is held, is left, and another comes": {hotspot.Debugger{Port: 5005, Server: true, Suspend: true}, []look{
			{nil, ""}, {[]proc.TCPSocket{listens("a", 5005)}, waits}, {[]proc.TCPSocket{listens("a", 5005)}, waits},
			{[]proc.TCPSocket{conn("b", 5005, 40000)}, has}, {[]proc.TCPSocket{listens("c", 5005), app}, ""}, {[]proc.TCPSocket{conn("d", 5005, 40001), app}, has},
			{[]proc.TCPSocket{listens("e", 5005), app}, ""}}},
		"came and went between two looks": {hotspot.Debugger{Port: 5005, Server: true, Suspend: true}, []look{
			{[]proc.TCPSocket{listens("a", 5005)}, waits}, {[]proc.TCPSocket{listens("b", 5005)}, ""}, {[]proc.TCPSocket{listens("b", 5005)}, ""}}},
		"was there at the first look": {hotspot.Debugger{Port: 5005, Server: true, Suspend: true}, []look{
			{[]proc.TCPSocket{conn("b", 5005, 40000)}, has}, {[]proc.TCPSocket{listens("c", 5005)}, ""}}},
		"does not wait": {hotspot.Debugger{Port: 5005, Server: true}, []look{
			{[]proc.TCPSocket{listens("a", 5005)}, ""}, {[]proc.TCPSocket{conn("b", 5005, 40000)}, has}}},
		"connects to it": {hotspot.Debugger{Port: 5005, Suspend: true}, []look{
			{[]proc.TCPSocket{conn("a", 41000, 5005)}, has}, {[]proc.TCPSocket{app, conn("x", 8080, 5006)}, ""}}},
		"the agent chose the port": {hotspot.Debugger{Server: true, Suspend: true}, []look{
			{[]proc.TCPSocket{listens("a", 5005)}, waits}, {[]proc.TCPSocket{conn("b", 5005, 40000)}, has}, {[]proc.TCPSocket{listens("web", 80), listens("c", 5005)}, ""}}},
		"no port, and none listens": {hotspot.Debugger{Suspend: true}, []look{{[]proc.TCPSocket{conn("x", 1, 0)}, ""}}},
		"an application's connection": {hotspot.Debugger{Port: 5005, Server: true}, []look{
			{[]proc.TCPSocket{listens("a", 5005), conn("x", 8080, 5005), app}, ""}}},
	} {
		var state supervisor.Debugging
		for k, l := range c.looks {
			state = debuggingOf(c.d, l.sockets, state)
			if state.Text != l.want {
				t.Errorf("%s, look %d: %q, want %q", name, k, state.Text, l.want)
			}
		}
	}
}

// Most processes are no JVM: their variables are not read.
func TestEnvironIsReadWhenAsked(t *testing.T) {
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
