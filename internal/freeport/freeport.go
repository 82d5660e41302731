// Package freeport reserves TCP ports for tests.
package freeport

import (
	"errors"
	"fmt"
	"io"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Reserve binds a loopback port on which nothing listens. Until it is closed the kernel gives the port to no other process, but lets a
// listener beside the reservation that has SO_REUSEADDR, as those of Go, Java and Python have.
func Reserve() (port int, reserved io.Closer, err error) {
	f, err := bind(0)
	if err == nil {
		var bound unix.Sockaddr
		if bound, err = unix.Getsockname(int(f.Fd())); err == nil {
			return bound.(*unix.SockaddrInet4).Port, f, nil
		}
		_ = f.Close()
	}
	return 0, nil, fmt.Errorf("cannot reserve a port: %w", err)
}

// For returns a port that is reserved until the test ends.
func For(t testing.TB) int {
	t.Helper()
	port, reserved, err := Reserve()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = reserved.Close() })
	return port
}

// Await waits, at most 10 s, until a reserved port can be listened on again. A child has a copy of each descriptor until its exec has
// closed it, so a listener may outlive its close for a moment.
func Await(port int) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(10 * time.Second); ; <-tick.C {
		f, err := bind(port)
		if err == nil {
			if err = unix.Listen(int(f.Fd()), 1); err == nil {
				err = unix.Shutdown(int(f.Fd()), unix.SHUT_RD) // ends listening, whoever has a copy
			}
			_ = f.Close()
		}
		if !errors.Is(err, unix.EADDRINUSE) {
			return err
		}
		if time.Now().After(end) {
			return fmt.Errorf("port %d is still listened on: %w", port, err)
		}
	}
}

// bind binds a loopback port; 0: any.
func bind(port int) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	if err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err == nil {
		err = unix.Bind(fd, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}})
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), "port"), nil
}
