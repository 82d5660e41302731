//go:build container

package tests

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// allServer answers on all of its sockets with the name of the one that was asked, and its user. Half a second passes before it accepts.
const allServer = `
import os, pwd, selectors, socket, time

time.sleep(0.5)
user = pwd.getpwuid(os.getuid()).pw_name
selector = selectors.DefaultSelector()
for k, name in enumerate(os.environ["LISTEN_FDNAMES"].split(":")):
    assert os.get_blocking(3 + k), name
    s = socket.socket(fileno=3 + k)
    s.setblocking(False)
    selector.register(s, selectors.EVENT_READ, name)
open("DIR/accepts", "w").close()
while True:
    for key, _ in selector.select():
        try:
            connection, _ = key.fileobj.accept()
            connection.setblocking(True)
            if connection.recv(100):
                connection.sendall(("%s %s\n" % (key.data, user)).encode())
            connection.close()
        except OSError:
            pass
`

// reachable makes the folders of a test accessible to other users.
func reachable(t *testing.T, dir string) string {
	t.Helper()
	for path := dir; path != os.TempDir() && path != "/"; path = filepath.Dir(path) {
		if err := os.Chmod(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// newAll is a box in a network of its own with the service web of user nobody, which runs allServer. more is further configuration.
func newAll(t *testing.T, n *network, sockets, more string) *listening {
	t.Helper()
	if _, err := exec.LookPath("python3"); err != nil {
		lacking(t, "python3 is missing")
	}
	dir := reachable(t, t.TempDir())
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "server.py"), strings.ReplaceAll(allServer, "DIR", dir), 0o644)
	config := strings.NewReplacer("DIR", dir, "SOCKETS", sockets, "MORE", more).Replace(`services:
  web:
    command: [python3, -S, DIR/server.py]
    user: nobody
    drop_capabilities: [ALL]
    listen: SOCKETS
    ready: {file: DIR/accepts, every: 20ms}
    restart: {backoff: {first: 50ms}}
MORE`)
	return &listening{box: newBox(t, boxOptions{network: n, dir: dir, socket: filepath.Join(t.TempDir(), "api.sock"),
		config: strings.ReplaceAll(config, "DIR", dir)})}
}

// wants asks in the network of a box.
func (n *network) wants(host string, port int, want string) {
	n.t.Helper()
	const client = `import socket, sys
s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 10)
s.sendall(b"who\n")
print(s.makefile().read(), end="")`
	out, err := n.command("python3", "-Sc", client, host, strconv.Itoa(port)).CombinedOutput()
	if err != nil || string(out) != want+"\n" {
		n.t.Errorf("%s port %d: %v: %s, want %q", host, port, err, lastOf(string(out), 200), want)
	}
}

// A service of another user without capabilities has a low port, IPv6, and a unix socket in a folder of root. Clients connect before it
// accepts: at its first start, and after a kill -9 of it and of the supervisor. Its hooks and probes know nothing of the sockets.
func TestSocketsOfAnotherUser(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	n.ip("link set lo up")
	path := reachable(t, t.TempDir()) + "/app.sock"
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false)
	stale.Close()
	l := newAll(t, n, "[{name: low, tcp: ':80'}, {name: six, tcp: '[::1]:81'}, {name: file, unix: "+path+", mode: '0600'}]",
		"    live: {exec: [sh, -c, 'env >DIR/probe.new; ls -l /proc/self/fd >>DIR/probe.new; mv DIR/probe.new DIR/probe'], every: 1s, timeout: 10s}\n"+
			"hooks: {started: [{name: see, command: [sh, -c, 'env >DIR/hook; ls -l /proc/self/fd >>DIR/hook']}]}\n")
	everywhere := func(when string) {
		t.Helper()
		await(t, 10*time.Second, "a socket, "+when, func() bool {
			conn, err := net.Dial("unix", path)
			if err == nil {
				conn.Close()
			}
			return err == nil
		})
		n.wants("127.0.0.1", 80, "low nobody")
		n.wants("::1", 80, "low nobody")
		n.wants("::1", 81, "six nobody")
		if answer, err := ask("unix", path, 10*time.Second); err != nil || answer != "file nobody\n" {
			t.Errorf("%s: %q, %v", when, answer, err)
		}
		l.awaitState("web", "RUNNING", 10*time.Second)
	}
	everywhere("first")
	var st syscall.Stat_t
	if err := syscall.Stat(path, &st); err != nil || st.Mode&0o7777 != 0o600 || st.Uid == 0 || st.Gid == 0 {
		t.Errorf("the file is of mode %o, %d:%d, %v", st.Mode, st.Uid, st.Gid, err)
	}
	for range 3 {
		pid := l.hostPid("python3 -S ")
		if err := errors.Join(syscall.Kill(l.supervisor(), syscall.SIGKILL), syscall.Kill(pid, syscall.SIGKILL)); err != nil {
			t.Fatal(err)
		}
		everywhere("after kill -9 of both")
	}
	for _, name := range []string{"hook", "probe"} {
		await(t, 5*time.Second, "the "+name, func() bool { return l.file(name) != "" })
		if text := l.file(name); strings.Contains(text, "LISTEN_") || strings.Contains(text, "socket:") {
			t.Errorf("a %s has:\n%s", name, text)
		}
	}
	l.timed("stop", "web")
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("the file of a stopped service: %v", err)
	}
	l.timed("start", "web")
	n.wants("127.0.0.1", 80, "low nobody")
	l.signal(syscall.SIGTERM)
	if code := l.wait(15 * time.Second); code != 0 {
		t.Errorf("ended with %d", code)
	}
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("the file after the container's end: %v", err)
	}
}

// Where there is no IPv6, every address is that of IPv4.
func TestSocketsWithoutIPv6(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	n.run("sh", "-c", "echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6")
	n.ip("link set lo up")
	l := newAll(t, n, "[{name: http, tcp: ':80'}]", "")
	l.awaitState("web", "RUNNING", 10*time.Second)
	n.wants("127.0.0.1", 80, "http nobody")
	l.killSupervisor()
	l.timed("restart", "web")
	n.wants("127.0.0.1", 80, "http nobody")
}

// A port that another process holds is an error that names the process, and the service starts once the port is free.
func TestPortIsTaken(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	n.ip("link set lo up")
	l := newAll(t, n, "[{name: http, tcp: ':80'}]", `    autostart: false
  other: {command: [python3, -Sc, 'import socket, time; s = socket.create_server(("", 80)); time.sleep(1000)'], ready: {tcp: "127.0.0.1:80"},
    restart: {policy: never}}
main: web
`)
	l.awaitState("other", "RUNNING", 10*time.Second)
	started := make(chan error, 1)
	go func() { // ends when the service is ready
		_, err := l.run("start", "web")
		started <- err
	}()
	held := "cannot listen on :80: address already in use: it is held by another process: pid "
	await(t, 20*time.Second, "the reason", func() bool { return strings.Contains(l.stderr.String(), held) })
	if text := l.stderr.String(); !strings.Contains(text, "(python3)") {
		t.Errorf("stderr:\n%s", text)
	}
	if err := syscall.Kill(l.hostPid("python3 -Sc import socket"), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := <-started; err != nil {
		t.Error(err)
	}
	n.wants("127.0.0.1", 80, "http nobody")
}
