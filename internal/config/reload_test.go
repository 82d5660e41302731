package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// manyServices writes a configuration of n services, and returns its path.
func manyServices(t testing.TB, n int) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("labels: {appid: \"1\"}\nservices:\n")
	for k := range n {
		fmt.Fprintf(&b, `  s%04d:
    command: [sleep, "%d"]
    autostart: false
    env: {A: "1", B: "2"}
    ready: {tcp: "127.0.0.1:8080", within: 30s}
    restart: {policy: always, backoff: {first: 200ms}}
    stop: {signal: TERM, timeout: 5s}
`, k, k)
	}
	path := filepath.Join(t.TempDir(), "stoker.yaml")
	if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// cpuTime is what the process has used so far: a machine that is shared says nothing by
// its clock.
func cpuTime(t testing.TB) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkReload is what a reload costs a service: reading the files, and finding what
// has changed.
func BenchmarkReload(b *testing.B) {
	for _, n := range []int{1, 100, 1000} {
		path := manyServices(b, n)
		load := func() Config {
			l, err := Load(Options{File: path, Environ: []string{}})
			if err != nil {
				b.Fatal(err)
			}
			return l.Config
		}
		one, other := load(), load()
		for what, f := range map[string]func(){"load": func() { load() }, "diff": func() {
			if c := Diff(one, other); len(c) > 0 {
				b.Fatal(c)
			}
		}} {
			b.Run(fmt.Sprintf("%s-%d", what, n), func(b *testing.B) {
				began := cpuTime(b)
				for b.Loop() {
					f()
				}
				b.ReportMetric(float64((cpuTime(b)-began).Microseconds())/float64(b.N)/float64(n), "cpu-µs/service")
			})
		}
	}
}
