package probe

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/stoker-init/stoker/internal/proc"
)

// fileProbe checks that a path has been written since the process started. The file is
// never opened: it may be a FIFO.
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
