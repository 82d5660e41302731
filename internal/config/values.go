package config

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/stoker-init/stoker/internal/layeredyaml"
)

// signalNames are the signals that people stop services with, for hints.
func signalNames() []string {
	return []string{"TERM", "INT", "QUIT", "HUP", "KILL", "USR1", "USR2", "WINCH"}
}

// ParseUmask reads an umask: octal digits, with or without 0 or 0o before them,
// at most 0777.
func ParseUmask(s string) (int, error) {
	n, err := strconv.ParseUint(strings.TrimPrefix(s, "0o"), 8, 32)
	if err != nil {
		return 0, fmt.Errorf("cannot read umask %s: it is not an octal number", layeredyaml.Quote("", s))
	}
	if n > 0o777 {
		return 0, fmt.Errorf("cannot read umask %s: it is above 0777", layeredyaml.Quote("", s))
	}
	return int(n), nil
}
