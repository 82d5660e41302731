package access

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
)

// TestRefusalsAreLoggedOnce: one line for each peer and minute, and one with the count at its end.
func TestRefusalsAreLoggedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out lockedBuffer
		r := Refusals{Log: hclog.New(&hclog.LoggerOptions{Output: &out})}
		for k := range 3000 {
			r.Add("192.0.2.1", errors.New("no"), "path", "/x")
			r.Add(fmt.Sprintf("10.0.%d.%d", k/250, k%250), errors.New("no"))
		}
		r.mu.Lock()
		if n := strings.Count(out.String(), "\n"); n != maxPeers+1 || len(r.peers) != maxPeers+1 {
			t.Errorf("%d lines for %d peers", n, len(r.peers))
		}
		r.mu.Unlock()
		time.Sleep(guessTime)
		synctest.Wait()
		text := out.String()
		r.mu.Lock()
		defer r.mu.Unlock()
		if !strings.Contains(text, "more requests refused: peer=192.0.2.1 count=2999 within=1m") || len(r.peers) != 0 {
			t.Errorf("%d peers are left; the log ends with %s", len(r.peers), text[len(text)-300:])
		}
		if !strings.Contains(text, fmt.Sprintf("peer=%q count=%d", otherPeers, 3000-maxPeers)) {
			t.Errorf("the others: %s", text[len(text)-300:])
		}
	})
}

// TestRefusalsAreOneLine: a client writes no lines of its own into the log.
func TestRefusalsAreOneLine(t *testing.T) {
	var out lockedBuffer
	r := Refusals{Log: hclog.New(&hclog.LoggerOptions{Output: &out})}
	bad := "x\n2026-11-29T00:00:00Z [INFO] stoker.console: audit {}\x1b[31m\u202e"
	req := httptest.NewRequest("GET", "/", nil)
	req.URL.Path = "/" + bad
	r.AddRequest(req, fmt.Errorf("there is no %s", bad), "name", bad)
	r.Add(bad, errors.New(bad), "path", bad)
	text := out.String()
	if strings.Count(text, "\n") != 2 || strings.ContainsAny(text, "\x1b\u202e") || strings.Count(text, "audit {}") != 6 {
		t.Errorf("%q", text)
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestPeerKey(t *testing.T) {
	for address, want := range map[string]string{"192.0.2.1:1": "192.0.2.1", "[::ffff:192.0.2.1]:1": "192.0.2.1",
		"[2001:db8:1:2:3::4]:1": "2001:db8:1:2::/64", "[2001:db8:1:2:ffff::]:9": "2001:db8:1:2::/64", "[fe80::1%lo]:1": "fe80::/64"} {
		addr, err := net.ResolveTCPAddr("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		if got := peerKey(addr); got != want {
			t.Errorf("%s: %s, want %s", address, got, want)
		}
	}
}

// countedConn notes that it was closed.
type countedConn struct {
	net.Conn
	from   string
	closed *int
}

func (c countedConn) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.ParseIP(c.from), Port: 1} }
func (c countedConn) Close() error         { *c.closed++; return nil }

// TestConnections: pending connections are bounded, the oldest goes; admitted ones stay.
func TestConnections(t *testing.T) {
	l := &limits{admitted: map[string]int{}}
	closed := 0
	connect := func(from string) *Conn { return l.add(countedConn{from: from, closed: &closed}) }
	kept := connect("10.0.0.1")
	for range 2 { // requests
		if !kept.admit() || l.all != 1 {
			t.Fatalf("%d are admitted", l.all)
		}
	}
	first := connect("10.0.0.1")
	for range maxPendingOfPeer {
		connect("10.0.0.1")
	}
	if closed != 1 || l.pending.Len() != maxPendingOfPeer || first.admit() {
		t.Errorf("%d closed, %d pending", closed, l.pending.Len())
	}
	for k := range 1000 {
		connect(fmt.Sprintf("10.1.%d.%d", k/250, k%250))
	}
	if l.pending.Len() != maxPending || closed != 1+maxPendingOfPeer+1000-maxPending {
		t.Errorf("%d pending, %d closed", l.pending.Len(), closed)
	}
	var all []*Conn
	for k := range maxAdmitted + 10 {
		c := connect(fmt.Sprintf("10.2.0.%d", k/maxOfPeer))
		if c.admit() {
			all = append(all, c)
		}
	}
	for range maxOfPeer + 1 {
		if c := connect("10.3.0.1"); c.admit() {
			all = append(all, c)
		}
	}
	if l.all != maxAdmitted || len(all) != maxAdmitted-1 || l.admitted["10.2.0.0"] != maxOfPeer {
		t.Errorf("%d admitted, %v", l.all, l.admitted)
	}
	for _, c := range append(all, kept, kept, first) {
		c.Close()
	}
	for e := l.pending.Front(); e != nil; e = l.pending.Front() {
		e.Value.(*Conn).Close()
	}
	if l.all != 0 || len(l.admitted) != 0 || l.pending.Len() != 0 {
		t.Errorf("%d admitted, %v, %d pending are left", l.all, l.admitted, l.pending.Len())
	}
}

// FuzzBearerProtocol: no part of a token stays in the header.
func FuzzBearerProtocol(f *testing.F) {
	f.Add(bearerProtocol+"YWFh, v4.channel.k8s.io", "stoker.v1")
	f.Add(",,"+bearerProtocol, " ")
	f.Fuzz(func(t *testing.T, a, b string) {
		h := map[string][]string{"Sec-Websocket-Protocol": {a, b}}
		token := takeBearerProtocol(h)
		for _, line := range h["Sec-Websocket-Protocol"] {
			for part := range strings.SplitSeq(line, ",") {
				if strings.HasPrefix(strings.TrimSpace(part), bearerProtocol) {
					t.Errorf("%q, %q leave %q (%q)", a, b, line, token)
				}
			}
		}
	})
}
