package proc

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stoker-init/stoker/internal/listen"
	"github.com/stoker-init/stoker/internal/logs"
	"github.com/stoker-init/stoker/internal/procfs"
	"golang.org/x/sys/unix"
)

// Listening sockets are found by where they listen; a connection is none.
func TestListeningSockets(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a b.sock")
	file, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()

	self := os.Getpid()
	at, err := procfs.UnixListeners(self, path)
	if err != nil || len(at) != 1 {
		t.Fatalf("%v listen at the path, %v", at, err)
	}
	if owned, err := hasOpen(self, at); !owned || err != nil {
		t.Errorf("our own socket is ours: %v, %v", owned, err)
	}
	if owned, _ := hasOpen(os.Getppid(), at); owned {
		t.Error("our parent has our socket")
	}
	if others, err := procfs.UnixListeners(self, path+"x"); err != nil || len(others) != 0 {
		t.Errorf("at another path listen %v, %v", others, err)
	}
	all, err := procfs.TCPSockets(self, func(s procfs.Socket) bool { return s.Listens })
	if owned, blind := hasOpen(self, all); err != nil || !owned || blind != nil {
		t.Errorf("a TCP socket is ours: %v, %v, %v", owned, err, blind)
	}
	if none, err := listeners(self, 0); err != nil || len(none) != 0 {
		t.Errorf("on port 0 listen %v, %v", none, err)
	}
}

// playSockets passes some numbers of sockets, once to a program that is executed in an open folder; then the supervisor dies.
func playSockets(s *stage) int {
	const script = `ls -l /proc/$$/fd | grep -c socket: ; for k in $(seq 3 $((2 + ${LISTEN_FDS:-0}))); do stat -Lc %i /proc/$$/fd/$k; done
		[ "$LISTEN_PID" = $$ ] || echo other pid; echo "$LISTEN_FDS $LISTEN_FDNAMES $LISTEN_ADDRESS"`
	configs := make([]listen.Config, 5)
	for k := range configs {
		configs[k] = listen.Config{Name: fmt.Sprintf("s%d", k), Unix: fmt.Sprintf("%s/%d.sock", s.dir, k)}
	}
	if !s.first() {
		s.say("kept for %v: %v", s.m.Listeners.Services(), s.m.addressHolder(configs[1]))
		return 0
	}
	sockets, err := s.m.Listeners.Open("web", configs, os.Getuid(), os.Getgid())
	if err != nil {
		s.say("%v", err)
		return 1
	}
	for n := range len(configs) + 1 {
		var want []string
		for _, socket := range sockets[:n] {
			var st unix.Stat_t
			_ = unix.Fstat(int(socket.File.Fd()), &st)
			want = append(want, fmt.Sprint(st.Ino))
		}
		spec := Spec{ID: fmt.Sprint("p", n), Argv: []string{"/bin/bash", "-c", script}, Sockets: sockets[:n],
			Env:   append(os.Environ(), "LISTEN_FDNAMES=stokers", "LISTEN_ADDRESS=kept"),
			Stdio: Stdio{Mode: Capture, OwnLog: &logs.Options{}}}
		if n > 0 {
			spec.Stdio.Socket = sockets[0].File
		}
		if n == len(configs) {
			spec.Open = openFolder
		}
		p, err := s.m.Start(context.Background(), spec)
		if err != nil {
			s.say("%v", err)
			return 1
		}
		s.say("%d: %s", n, strings.Replace(s.text(p), " "+strings.Join(want, " ")+" ", " as they are ", 1))
	}
	die()
	return 0
}

// TestPassedSockets: a program gets its sockets from descriptor 3 on, and as stdin, and no other socket; the next supervisor has them.
func TestPassedSockets(t *testing.T) {
	runPlay(t, "sockets").want(t, "0: 0 other pid stokers kept", "1: 2 as they are 1 s0 kept", "2: 3 as they are 2 s0:s1 kept",
		"3: 4 as they are 3 s0:s1:s2 kept", "4: 5 as they are 4 s0:s1:s2:s3 kept", "5: 6 as they are 5 s0:s1:s2:s3:s4 kept",
		"kept for [web]: is kept open by stoker for service web")
}
