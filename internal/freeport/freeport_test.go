package freeport

import (
	"fmt"
	"net"
	"testing"
)

// A reserved port refuses clients until a program listens there, and can be listened on again and again.
func TestReserve(t *testing.T) {
	port, reserved, err := Reserve()
	if err != nil {
		t.Fatal(err)
	}
	defer reserved.Close()
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
	}
}
