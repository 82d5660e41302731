package config

import (
	"fmt"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// ParseSignal reads a signal: TERM, SIGTERM (in any case) or its number, 1 to 64.
func ParseSignal(name string) (syscall.Signal, error) {
	if n, err := strconv.Atoi(name); err == nil {
		if n < 1 || n > 64 {
			return 0, fmt.Errorf("cannot read signal %s: numbers go from 1 to 64", quote("", name))
		}
		return syscall.Signal(n), nil
	}
	word := strings.ToUpper(name)
	if sig := unix.SignalNum("SIG" + strings.TrimPrefix(word, "SIG")); sig != 0 {
		return sig, nil
	}
	return 0, fmt.Errorf("cannot read signal %s: there is no such signal", quote("", name))
}

// signalNames are the signals that people stop services with, for hints.
func signalNames() []string {
	return []string{"TERM", "INT", "QUIT", "HUP", "KILL", "USR1", "USR2", "WINCH"}
}

// ParseUmask reads an umask: octal digits, with or without 0 or 0o before them,
// at most 0777.
func ParseUmask(s string) (int, error) {
	n, err := strconv.ParseUint(strings.TrimPrefix(s, "0o"), 8, 32)
	if err != nil {
		return 0, fmt.Errorf("cannot read umask %s: it is not an octal number", quote("", s))
	}
	if n > 0o777 {
		return 0, fmt.Errorf("cannot read umask %s: it is above 0777", quote("", s))
	}
	return int(n), nil
}
