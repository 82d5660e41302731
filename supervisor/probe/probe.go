// Package probe checks once whether a process is ready or alive. Each kind of probe
// is one type in one file: its configuration, the validation of that and the check.
// Package supervisor decides when it is run and what follows.
package probe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"reflect"
	"syscall"
	"time"

	"github.com/stoker-init/stoker/internal/printable"
)

// Config says what is checked; with several kinds set, all must succeed, in this
// order. It is the table of the kinds: a kind is a field whose type implements kind.
type Config struct {
	// TCP is a "host:port" that must accept a connection.
	TCP  TCP  `yaml:"tcp" check:"address"`
	HTTP HTTP `yaml:",inline"`
	// File must exist, and must have been written after the process was started.
	File File `yaml:"file" check:"absolute"`
	// Exec is a command that must exit with 0.
	Exec Exec `yaml:"exec" check:"command"`
	// Timeout of one check (default 5s).
	Timeout time.Duration `yaml:"timeout" default:"5s" check:"positive"`
}

// kind is a kind of probe.
type kind interface {
	Key() string // its key in the configuration
	IsSet() bool
	New(Runner) Checker
}

// validator is a kind of probe with checks besides the tags of its fields.
type validator interface{ Validate(Report) }

// listener is a kind of probe that connects to a TCP port of the process.
type listener interface{ Port() int } // 0: none is set

// Checker checks a process once. Its error says what is wrong.
type Checker interface {
	Check(ctx context.Context, p Process) error
}

// Func is a function as a Checker.
type Func func(ctx context.Context, p Process) error

// Check calls f.
func (f Func) Check(ctx context.Context, p Process) error { return f(ctx, p) }

// Process is the process that is checked.
type Process interface {
	StartTicks() uint64 // when it started, in clock ticks since boot; 0: unknown
}

// Runner runs a command to its end, and kills it when ctx is done.
type Runner func(ctx context.Context, argv []string) (code int, output string, err error)

// Report takes what Validate finds. Keys are those of the probe's own section.
type Report interface {
	// Bad reports a wrong value.
	Bad(key, hint, format string, args ...any)
	// Missing reports that key cannot be used because other is not set.
	Missing(key, other, why string)
	// Unused warns that key has no effect because other is not set.
	Unused(key, other, why string)
	// Refused reports whether key was set to something that was refused already.
	Refused(key string) bool
}

// kinds are the probes of the table.
func (c Config) kinds() []kind {
	var out []kind
	for _, field := range reflect.ValueOf(c).Fields() {
		if k, ok := field.Interface().(kind); ok {
			out = append(out, k)
		}
	}
	return out
}

// IsSet reports whether anything is checked.
func (c Config) IsSet() bool {
	for _, k := range c.kinds() {
		if k.IsSet() {
			return true
		}
	}
	return false
}

// Port returns the TCP port that the probe connects to; 0: none.
func (c Config) Port() (port int) {
	for _, k := range c.kinds() {
		if l, ok := k.(listener); ok && l.Port() != 0 {
			port = l.Port()
		}
	}
	return port
}

// Keys returns the keys of all kinds.
func Keys() []string {
	var out []string
	for _, k := range (Config{}).kinds() {
		out = append(out, k.Key())
	}
	return out
}

// Validate reports what is wrong with the configuration besides the forms that the tags
// check name.
func (c Config) Validate(r Report) {
	for _, k := range c.kinds() {
		if v, ok := k.(validator); ok {
			v.Validate(r)
		}
	}
}

// defaultTimeout bounds a check where nothing is configured.
const defaultTimeout = 5 * time.Second

// New returns the probe; nil if nothing is checked. run runs the command of an exec
// probe.
func (c Config) New(run Runner) Checker {
	var all []Checker
	for _, k := range c.kinds() {
		if k.IsSet() {
			all = append(all, k.New(run))
		}
	}
	if len(all) == 0 {
		return nil
	}
	limit := c.Timeout
	if limit <= 0 {
		limit = defaultTimeout
	}
	return Func(func(ctx context.Context, p Process) error {
		ctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		for _, checker := range all {
			if err := checker.Check(ctx, p); err != nil {
				return err
			}
		}
		return nil
	})
}

// Check runs a probe once, for at most limit; 0: 5 s.
func Check(ctx context.Context, c Checker, p Process, limit time.Duration) error {
	if limit <= 0 {
		limit = defaultTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := c.Check(ctx, p)
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("no answer within %v", limit)
	}
	return err
}

// networkError is the text of an error of a connection, without the address.
func networkError(err error) string {
	var timeout net.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused (nothing listens there)"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "no answer in time"
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "the connection was closed"
	}
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err
	}
	return printable.OneLine(err.Error())
}
