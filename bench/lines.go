package main

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"time"
)

// linesSize is the output size of a service in MiB.
const linesSize = 64

// linesBytes is the same in bytes: whole lines.
const linesBytes = linesSize << 20 / 100 * 100

// lines measures the forwarding of service output to the container's stdout.
func (b *bench) lines() ([]row, error) {
	file := newRow(fmt.Sprintf("%d MiB of 100-byte lines, to the last in a file, per MiB", linesSize), "ms", "<= 2x bare")
	stalled := newRow("the same with a stdout that is not read, to the last write, per MiB", "ms", "as with a reader")
	for round := range max(1, b.rounds/3) {
		fmt.Fprintf(os.Stderr, "lines: round %d of %d\n", round+1, max(1, b.rounds/3))
		for _, p := range b.peers {
			if p.slowReaper {
				continue // its output would take minutes
			}
			t, err := b.linesTime(p, false)
			if err != nil {
				return nil, err
			}
			file.add(p, t)
			if p.name != stokerName {
				continue // with every other peer the service blocks forever
			}
			if t, err = b.linesTime(p, true); err != nil {
				return nil, err
			}
			stalled.add(p, t)
		}
	}
	return []row{file, stalled}, nil
}

// linesTime returns the milliseconds per MiB.
func (b *bench) linesTime(p peer, unread bool) (float64, error) {
	var stdout *os.File
	if unread {
		r, w, err := os.Pipe()
		if err != nil {
			return 0, err
		}
		defer r.Close()
		defer w.Close()
		stdout = w
	}
	x, _, err := b.openTo(p, stdout, func(fifo string) []service {
		return []service{{"lines", []string{b.probe, "lines", fifo, strconv.Itoa(linesSize)}}}
	})
	if err != nil {
		return 0, err
	}
	defer x.close()
	begin, err := x.waitMark("begin")
	if err != nil {
		return 0, err
	}
	end, err := x.waitMark("end")
	if err != nil {
		return 0, err
	}
	for deadline := time.Now().Add(time.Minute); !unread; time.Sleep(200 * time.Microsecond) {
		info, err := x.output.Stat()
		if err != nil {
			return 0, err
		}
		if info.Size() >= linesBytes {
			break
		}
		if time.Now().After(deadline) {
			return 0, fmt.Errorf("%s has passed on %d of %d bytes after a minute", p.name, info.Size(), linesBytes)
		}
		end = monotonic()
	}
	return float64(max(end, begin)-begin) / 1e6 / linesSize, nil
}

// percentile returns the value below which a share of the values lies.
func percentile(values []float64, share float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[min(int(share*float64(len(sorted))), len(sorted)-1)]
}
