package freeport

import (
	"fmt"
	"net"
	"os/exec"
	"sync"
	"testing"
)

// A reserved port refuses clients until a program listens there, and can be listened on again and again.
func TestFor(t *testing.T) {
	port := For(t)
	address := fmt.Sprintf("127.0.0.1:%d", port)
	for range 2 {
		if conn, err := net.Dial("tcp", address); err == nil {
			conn.Close()
			t.Fatal("something listens")
		}
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
		l.Close()
		if err := Await(port); err != nil {
			t.Fatal(err)
		}
	}
}

// A port can be listened on again after Await, also while children are started, each of which has a copy of the listener for a moment.
func TestAwait(t *testing.T) {
	port := For(t)
	over := make(chan struct{})
	var forks sync.WaitGroup
	for range 4 {
		forks.Go(func() { // ends with the test
			for {
				select {
				case <-over:
					return
				default:
					_ = exec.Command("true").Run()
				}
			}
		})
	}
	defer func() { close(over); forks.Wait() }()
	for n := range 500 {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			t.Fatalf("after %d times: %v", n, err)
		}
		l.Close()
		if err := Await(port); err != nil {
			t.Fatal(err)
		}
	}
}
