package httpload

import (
	"bufio"
	"net"
	"net/http"
	"testing"
	"time"
)

// Each way in which a server can disappoint a client is counted as what it is.
func TestCounts(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	// Answers by the number of the connection and of the request on it; empty: the connection is closed.
	plan := [][]string{
		{"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", ""}, // kept, then reset
		{""}, // lost
		{"HTTP/1.1 503 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"}, // another status, and closed
		{"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok"},                    // cut off
	}
	served := make(chan struct{})
	go func() { // ends with the plan
		defer close(served)
		defer l.Close()
		for _, answers := range plan {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			requests := bufio.NewReader(conn)
			for _, answer := range answers {
				if _, err := http.ReadRequest(requests); err != nil || answer == "" {
					break
				}
				_, _ = conn.Write([]byte(answer))
			}
			conn.Close()
		}
	}()
	load := Start(Options{Network: "tcp", Address: address, Clients: 1, Within: 10 * time.Second})
	<-served
	for load.Counts().Refused == 0 { // nothing listens any more
		select {
		case <-t.Context().Done():
			t.Fatal("no connection was refused")
		case <-time.After(time.Millisecond):
		}
	}
	got := load.Stop()
	extra := got.Lost - 2 // a connection may be in the queue of the listener when it is closed
	if got.Answered != 1 || got.Reset != 1 || extra < 0 || extra > 1 ||
		got.Other != 1 || got.Closes != 1 || got.Late != 0 || got.First == nil {
		t.Error(got)
	}
}

// A request that was sent before the server is killed counts as killed, and a later one does not.
func TestKilling(t *testing.T) {
	inside, killed := make(chan struct{}), make(chan struct{})
	conns := 0
	load := Start(Options{Clients: 1, Within: 10 * time.Second, Requests: 2, Dial: func() (net.Conn, error) {
		client, server := net.Pipe()
		conns++
		first := conns == 1
		go func() { // ends with the request
			defer server.Close()
			if _, err := http.ReadRequest(bufio.NewReader(server)); err != nil {
				t.Error(err)
			}
			if first {
				close(inside)
				<-killed
			}
		}()
		return client, nil
	}})
	<-inside
	load.Killing()
	close(killed)
	if got := load.Wait(); got.Killed != 1 || got.Lost != 1 {
		t.Error(got)
	}
	if first, then := load.Take(), load.Counts(); first.Killed != 1 || then != (Counts{}) {
		t.Errorf("taken: %v; then %v", first, then)
	}
}
