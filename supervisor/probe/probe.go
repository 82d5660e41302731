// Package probe checks once whether a process is ready or alive. Package supervisor
// decides when it is run and what follows.
package probe

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/stoker-init/stoker/internal/printable"
	"github.com/stoker-init/stoker/internal/proc"
)

// Config says what is checked; with several kinds set, all must succeed.
type Config struct {
	// TCP is a "host:port" that must accept a connection.
	TCP  string `yaml:"tcp" check:"address"`
	HTTP HTTP   `yaml:",inline"`
	// File must exist, and must have been written after the process was started.
	File string `yaml:"file" check:"absolute"`
	// Exec is a command that must exit with 0.
	Exec []string `yaml:"exec" check:"command"`
	// Timeout of one check (default 5s).
	Timeout time.Duration `yaml:"timeout" default:"5s" check:"positive"`
}

// Checker checks a process once. Its error says what is wrong.
type Checker func(ctx context.Context, p Process) error

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

// Keys returns the keys of all kinds of probes.
func Keys() []string { return []string{"tcp", "http", "file", "exec"} }

// IsSet reports whether anything is checked.
func (c Config) IsSet() bool {
	return c.TCP != "" || c.HTTP.URL != "" || c.File != "" || len(c.Exec) > 0
}

// Port returns the TCP port that the probe connects to; 0: none.
func (c Config) Port() int {
	if port := c.HTTP.port(); port != 0 {
		return port
	}
	_, port, _ := net.SplitHostPort(c.TCP) // empty: no port
	n, _ := net.LookupPort("tcp", port)    // 0: not a port
	return n
}

// Validate reports what is wrong besides the forms that the tags check name.
func (c Config) Validate(r Report) {
	h := c.HTTP
	if h.URL == "" && !r.Refused("http") {
		h.reportUnused(r)
	}
	if h.Method == "HEAD" && h.Body != "" {
		r.Bad("body", "write method: GET", "the answer to HEAD has no body")
	}
	h.validateCertificate(r)
}

// New returns the probe; nil if nothing is checked. run runs the command of an exec probe.
func (c Config) New(run Runner) Checker {
	var all []Checker
	if c.TCP != "" {
		all = append(all, tcpProbe(c.TCP))
	}
	if c.HTTP.URL != "" {
		all = append(all, newHTTPProbe(c.HTTP).check)
	}
	if c.File != "" {
		all = append(all, newFileProbe(c.File).check)
	}
	if len(c.Exec) > 0 {
		all = append(all, execProbe(c.Exec, run))
	}
	if len(all) == 0 {
		return nil
	}
	return func(ctx context.Context, p Process) error {
		for _, check := range all {
			if err := check(ctx, p); err != nil {
				return err
			}
		}
		return nil
	}
}

// Check runs a probe once, for at most limit; 0: 5 s.
func Check(ctx context.Context, c Checker, p Process, limit time.Duration) error {
	limit = cmp.Or(limit, 5*time.Second)
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := c(ctx, p)
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("no answer within %v", limit)
	}
	return err
}

func tcpProbe(address string) Checker {
	return func(ctx context.Context, _ Process) error {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
		if err != nil {
			return fmt.Errorf("tcp %s: %s", address, networkError(err))
		}
		return conn.Close()
	}
}

func execProbe(argv []string, run Runner) Checker {
	return func(ctx context.Context, _ Process) error {
		err := proc.CommandError(run(ctx, argv))
		switch {
		case errors.Is(err, context.DeadlineExceeded): // without %w: Check would replace this text
			return fmt.Errorf("exec %s: %s", argv[0], err.Error())
		case err != nil:
			return fmt.Errorf("exec %s: %w", argv[0], err)
		}
		return nil
	}
}

// networkError is the text of an error of a connection, without the address.
func networkError(err error) string {
	var timeout net.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused (nothing listens there)"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "no answer in time"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the connection was closed"
	}
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err
	}
	return printable.OneLine(strings.TrimPrefix(err.Error(), "net/http: HTTP/1.x transport connection broken: "))
}

// fileProbe checks that a path has been written since the process started. The file is never opened: it may be a FIFO.
type fileProbe struct {
	path string
	// busy holds a token during a check: a check of a file system that does not
	// answer cannot be ended, so no second one is begun.
	busy chan struct{}
}

func newFileProbe(path string) *fileProbe {
	return &fileProbe{path: path, busy: make(chan struct{}, 1)}
}

func (f *fileProbe) check(ctx context.Context, p Process) error {
	select {
	case f.busy <- struct{}{}:
	default:
		return fmt.Errorf("file %s: its file system has not answered since an earlier check", f.path)
	}
	type result struct {
		info os.FileInfo
		err  error
	}
	answer := make(chan result, 1)
	go func() { // ends with stat(2), which only a dead file system delays
		defer func() { <-f.busy }()
		info, err := os.Stat(f.path)
		answer <- result{info, err}
	}()
	select {
	case got := <-answer:
		return f.compare(got.info, got.err, p)
	case <-ctx.Done():
		return fmt.Errorf("file %s: its file system does not answer", f.path)
	}
}

func (f *fileProbe) compare(info os.FileInfo, err error, p Process) error {
	if err != nil {
		var pe *os.PathError
		if errors.As(err, &pe) {
			err = pe.Err
		}
		return fmt.Errorf("file %s: %w", f.path, err)
	}
	if p == nil || p.StartTicks() == 0 {
		return fmt.Errorf("file %s: cannot compare it with the start of the process, which is unknown", f.path)
	}
	written, started := info.ModTime(), proc.StartTime(p.StartTicks())
	if proc.WrittenSince(written, started) {
		return nil
	}
	return fmt.Errorf("file %s: it is older than the process: written %s, %v before the start", f.path,
		written.Format(time.RFC3339), started.Sub(written).Round(time.Millisecond))
}
