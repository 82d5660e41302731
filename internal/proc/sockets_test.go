package proc

import (
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/stoker-init/stoker/internal/procfs"
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
