package access

import (
	"context"
	"net"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
)

func newSocket() *Socket {
	return &Socket{Gate: &Gate{Refusals: Refusals{Log: hclog.NewNullLogger()}}, Member: func(int) (Owner, error) { return Owner{}, nil }}
}

// TestPeerThatEnded: a process that connected and ended has only the grant view, also if its pid is
// used again.
func TestPeerThatEnded(t *testing.T) {
	const variable = "STOKER_TEST_CONNECT"
	if path := os.Getenv(variable); path != "" {
		conn, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
		return
	}
	path := t.TempDir() + "/s"
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	cmd := exec.Command(os.Args[0], "-test.run=^TestPeerThatEnded$")
	cmd.Env = append(os.Environ(), variable+"="+path)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	s := newSocket()
	p := s.identify(conn)
	if id, _ := s.identityOf(p); id.Grants != View || !strings.Contains(p.confined, "has ended") {
		t.Errorf("%+v has the grants %s", p, id.Grants)
	}
}

// TestUnknownPeerHasNoGrant: a connection whose process is not known has no grant.
func TestUnknownPeerHasNoGrant(t *testing.T) {
	s := newSocket()
	if id, _ := s.identityOf(processOf(context.Background())); id.Grants != 0 || id.UID != -1 {
		t.Errorf("an unknown process is %+v", id)
	}
	if _, err := s.Admit(httptest.NewRequest("GET", "/", nil), Known); err == nil {
		t.Error("an unknown process counts as known")
	}
}
