package agent

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stoker-init/stoker/executor"
	"github.com/stoker-init/stoker/executor/client"
)

// TestManyFollowers: clients that follow jobs of a container share a few of its connections, and one too many is refused.
func TestManyFollowers(t *testing.T) {
	t.Parallel()
	f, dir := newFleet(t)
	a := startFake(t, dir, "a", 5)
	job, _, _, err := f.Submit(t.Context(), app("k", ""))
	if err != nil {
		t.Fatal(err)
	}
	release := make(chan struct{})
	var following atomic.Int32
	a.set(func() {
		a.before = func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.HasSuffix(r.URL.Path, "/logs") {
				return false
			}
			following.Add(1)
			w.Header().Set(executor.OffsetHeader, "0")
			io.WriteString(w, "begun ")
			http.NewResponseController(w).Flush()
			<-release
			io.WriteString(w, "ended")
			return true
		}
	})
	c := client.New(&http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", f.dir+"/.agent/agent.sock")
	}}, "http://stoker")
	serveFleet(t, f, dir)
	follow := func() (string, error) {
		text, err := io.ReadAll(c.Output(t.Context(), job.ID.String(), "stdout", 0, true))
		return string(text), err
	}
	for range 2 { // the places of the first clients are free for the second ones
		var clients sync.WaitGroup
		for range 60 * 3 { // as many streams as 60 stoker job run have
			clients.Go(func() { // ends with the answer
				if text, err := follow(); err != nil || text != "begun ended" {
					t.Errorf("%q %v", text, err)
				}
			})
		}
		waitFor(t, func() bool { return following.Load() == 60*3 })
		if _, created, err := c.Submit(t.Context(), app("k2", "")); err != nil {
			t.Errorf("created %v: %v", created, err)
		}
		close(release)
		clients.Wait()
		following.Store(0)
		release = make(chan struct{})
	}
	a.set(func() {
		if most := maxStreams/connStreams + 2*maxRounds + 20; a.mostConns > most {
			t.Errorf("%d connections at once, want %d at most", a.mostConns, most)
		}
	})
	k, err := f.find(t.Context(), job.ID.String())
	if err != nil {
		t.Fatal(err)
	}
	for range maxStreams {
		defer k.giveBack(k.stream())
	}
	if _, err := follow(); err == nil || !strings.Contains(err.Error(), "forwards 192 streams of container a already") {
		t.Errorf("one too many: %v", err)
	}
	if _, err := c.Job(t.Context(), job.ID.String()); err != nil {
		t.Errorf("a short question: %v", err)
	}
}

func waitFor(t *testing.T, done func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !done(); <-time.After(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it takes too long")
		}
	}
}

// TestRefusedStreams: a container that refuses each stream and allows no other costs a few connections.
func TestRefusedStreams(t *testing.T) {
	t.Parallel()
	f, dir := newFleet(t)
	if err := os.Mkdir(filepath.Join(dir, "liar"), 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", filepath.Join(dir, "liar", SocketName))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var conns atomic.Int32
	go func() { // ends with l
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conns.Add(1)
			go refuseStreams(conn) // ends with conn
		}
	}()
	all, err := f.containers()
	if err != nil || len(all) != 1 {
		t.Fatalf("%d %v", len(all), err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", "http://stoker/", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := all[0].stream().RoundTrip(req)
	if err == nil {
		resp.Body.Close()
	}
	if n := conns.Load(); err == nil || errors.Is(err, context.DeadlineExceeded) || n > 10*connStreams { // some are closed meanwhile
		t.Errorf("%d connections: %v", n, err)
	}
}

// refuseStreams is a server of HTTP/2.
func refuseStreams(conn net.Conn) {
	defer conn.Close()
	if _, err := io.ReadFull(conn, make([]byte, len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))); err != nil {
		return
	}
	fmt.Fprint(conn, "\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x00") // SETTINGS, no streams
	for head := make([]byte, 9); ; {
		if _, err := io.ReadFull(conn, head); err != nil {
			return
		}
		if _, err := io.CopyN(io.Discard, conn, int64(binary.BigEndian.Uint32(head)>>8)); err != nil {
			return
		}
		if head[3] == 1 { // HEADERS
			fmt.Fprintf(conn, "\x00\x00\x04\x03\x00%s\x00\x00\x00\x07", head[5:]) // RST_STREAM
		}
	}
}
