package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// recoveries measures how long the API is unavailable after the supervisor is killed; no other peer survives that.
func (b *bench) recoveries() ([]row, error) {
	one := newRow("supervisor killed to its API answering", "ms", "<= 20 ms")
	many := newRow("the same with 100 services, 99th percentile", "ms", "<= 50 ms")
	for _, p := range b.peers {
		if p.name != stokerName {
			continue
		}
		for _, r := range []struct {
			row   row
			count int
			kills int
		}{{one, 1, 3 * b.rounds}, {many, 100, 10 * b.rounds}} {
			fmt.Fprintf(os.Stderr, "recovery: %d kills beside %d services\n", r.kills, r.count)
			times, err := b.recoveryTimes(p, r.count, r.kills)
			if err != nil {
				return nil, err
			}
			if r.count > 1 {
				times = []float64{percentile(times, 0.99)}
			}
			for _, t := range times {
				r.row.add(p, t)
			}
		}
	}
	return []row{one, many}, nil
}

// recoveryGap is the time between two kills, longer than the start of a supervisor.
const recoveryGap = 300 * time.Millisecond

func (b *bench) recoveryTimes(p peer, count, kills int) ([]float64, error) {
	x, _, err := b.open(p, b.probes(count))
	if err != nil {
		return nil, err
	}
	defer x.close()
	for range count {
		if _, err := x.waitMark(""); err != nil {
			return nil, err
		}
	}
	socket := filepath.Join(x.dir, "api.sock")
	var out []float64
	for range kills {
		time.Sleep(recoveryGap)
		pid, err := x.supervisor()
		if err != nil {
			return nil, err
		}
		killed := monotonic()
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			return nil, fmt.Errorf("cannot kill the supervisor: %w", err)
		}
		for deadline := time.Now().Add(10 * time.Second); !healthy(socket); time.Sleep(100 * time.Microsecond) {
			if time.Now().After(deadline) {
				return nil, fmt.Errorf("no supervisor answers 10 s after a kill; its output ends with %q", x.tail())
			}
		}
		out = append(out, float64(monotonic()-killed)/1e6)
	}
	return out, nil
}

// supervisor returns the pid of stoker's supervisor process.
func (x *box) supervisor() (int, error) {
	own, _, err := x.processes()
	if err != nil {
		return 0, err
	}
	for _, pid := range own {
		if args, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); err == nil &&
			strings.HasPrefix(string(args), "stoker\x00supervise\x00") {
			return pid, nil
		}
	}
	return 0, fmt.Errorf("no supervisor is among the processes %v", own)
}

// healthy calls the API on a new connection. One in the socket's queue is answered by the next supervisor.
func healthy(socket string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		}}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://stoker/v1/health", nil)
	if err != nil {
		return false
	}
	resp, err := client.Do(req)
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}
