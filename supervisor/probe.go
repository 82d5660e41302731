package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"syscall"
	"time"

	"github.com/stoker-init/stoker/internal/initproto"
	"github.com/stoker-init/stoker/internal/proc"
)

// lookLimit bounds one look where nothing is configured.
const lookLimit = 5 * time.Second

// Probes gives the probe of what is configured; nil: nothing is to be looked
// at. With several kinds all must hold, one after the other within Timeout.
// start runs the exec probe's command to its end, and kills it when ctx is done.
func (l Look) Probes(start func(ctx context.Context, argv []string) (code int, output string, err error)) Probe {
	var all []Probe
	if l.TCP != "" {
		all = append(all, tcpProbe(l.TCP))
	}
	if l.HTTP != "" {
		all = append(all, newHTTPProbe(l))
	}
	if l.File != "" {
		all = append(all, newFileProbe(l.File))
	}
	if len(l.Exec) > 0 {
		all = append(all, execProbe(l.Exec, start))
	}
	if len(all) == 0 {
		return nil
	}
	limit := l.Timeout
	if limit <= 0 {
		limit = lookLimit
	}
	return ProbeFunc(func(ctx context.Context, p Process) error {
		ctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		for _, probe := range all {
			if err := probe.Check(ctx, p); err != nil {
				return err
			}
		}
		return nil
	})
}

func tcpProbe(address string) Probe {
	return ProbeFunc(func(ctx context.Context, _ Process) error {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
		if err != nil {
			return fmt.Errorf("tcp %s: %s", address, netCause(err))
		}
		return conn.Close()
	})
}

// netCause strips what the caller says anyway.
func netCause(err error) string {
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
	return proc.OneLine(err.Error())
}

func execProbe(argv []string, start func(context.Context, []string) (int, string, error)) Probe {
	return ProbeFunc(func(ctx context.Context, _ Process) error {
		err := CommandError(start(ctx, argv))
		if errors.Is(err, context.DeadlineExceeded) { // as it is: the caller has a shorter text for it
			return fmt.Errorf("exec %s: %s", argv[0], err.Error())
		}
		if err != nil {
			return fmt.Errorf("exec %s: %w", argv[0], err)
		}
		return nil
	})
}

// fileProbe looks whether a file was written since the process started. The file
// is never opened: it may be a FIFO.
type fileProbe struct {
	path string
	// busy holds a token while a look is under way: one at a file system that does
	// not answer cannot be ended, and must not be joined by others.
	busy chan struct{}
}

func newFileProbe(path string) *fileProbe {
	return &fileProbe{path: path, busy: make(chan struct{}, 1)}
}

// Check looks once.
func (f *fileProbe) Check(ctx context.Context, p Process) error {
	select {
	case f.busy <- struct{}{}:
	default:
		return fmt.Errorf("file %s: its file system has not answered since an earlier look", f.path)
	}
	type found struct {
		at  time.Time
		err error
	}
	answer := make(chan found, 1)
	go func() { // ends with stat(2), which only a dead file system delays
		defer func() { <-f.busy }()
		info, err := os.Stat(f.path)
		if err != nil {
			answer <- found{err: err}
			return
		}
		answer <- found{at: info.ModTime()}
	}()
	select {
	case got := <-answer:
		return f.judge(got.at, got.err, p)
	case <-ctx.Done():
		return fmt.Errorf("file %s: its file system does not answer", f.path)
	}
}

// judge compares the file's time with the process's start.
func (f *fileProbe) judge(at time.Time, err error, p Process) error {
	if err != nil {
		var pe *os.PathError
		if errors.As(err, &pe) {
			err = pe.Err
		}
		return fmt.Errorf("file %s: %w", f.path, err)
	}
	if p == nil || p.StartTicks() == 0 {
		return fmt.Errorf("file %s: cannot tell whether it is newer than the process, whose start is not known", f.path)
	}
	started := startTime(p.StartTicks(), time.Now(), initproto.BootNow())
	if writtenSince(at, started) {
		return nil
	}
	return fmt.Errorf("file %s: it is older than the process: written %s, %v before the start", f.path,
		at.Format(time.RFC3339), started.Sub(at).Round(time.Millisecond))
}

// tick is the unit of a process's start time, which the kernel rounds down.
const tick = 10 * time.Millisecond

// startTime converts clock ticks since boot to the time of day. now and bootNow
// (CLOCK_BOOTTIME, ns) are the same moment.
func startTime(ticks uint64, now time.Time, bootNow int64) time.Time {
	return now.Add(time.Duration(int64(ticks)*int64(tick) - bootNow))
}

// writtenSince says whether a file's time is not before a start. The kernel
// stamps files by a clock that is up to a tick behind, and some file systems
// keep whole seconds only.
func writtenSince(file, start time.Time) bool {
	if file.Nanosecond() == 0 {
		start = start.Truncate(time.Second)
	}
	return !file.Before(start.Add(-tick))
}

// LogWatch gives a Watch for the line that readiness waits for.
func LogWatch(pattern string) (func(line []byte) Observation, error) {
	re, err := regexp.Compile(pattern)
	if err != nil {
		return nil, err
	}
	return func(line []byte) Observation { return Observation{Match: re.Match(line)} }, nil
}
