// Package freeport reserves TCP ports for tests.
package freeport

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Reserve binds a loopback port on which nothing listens. Until it is closed the kernel gives the port to no other process, but lets a
// listener beside the reservation that has SO_REUSEADDR, as those of Go, Java and Python have.
func Reserve() (port int, reserved io.Closer, err error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, nil, fmt.Errorf("cannot reserve a port: %w", err)
	}
	f := os.NewFile(uintptr(fd), "port")
	if err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err == nil {
		err = unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
	}
	if err == nil {
		var bound unix.Sockaddr
		if bound, err = unix.Getsockname(fd); err == nil {
			return bound.(*unix.SockaddrInet4).Port, f, nil
		}
	}
	_ = f.Close()
	return 0, nil, fmt.Errorf("cannot reserve a port: %w", err)
}
