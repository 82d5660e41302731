//go:build container

package tests

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TERM ends many services, dependants first, and the memory of their start is bounded.
// STOKER_MANY=2000 tests the documented maximum.
func TestManyServices(t *testing.T) {
	n := number(t, "STOKER_MANY", 300)
	var config strings.Builder
	config.WriteString("stop: {timeout: 30s}\nservices:\n")
	for k := range n {
		fmt.Fprintf(&config, "  s%d: {command: [sleep, \"1000\"]", k)
		if k%10 == 1 {
			fmt.Fprintf(&config, ", requires: [s%d]", k-1)
		}
		config.WriteString("}\n")
	}
	b := newBox(t, boxOptions{config: config.String()})
	await(t, time.Minute+time.Duration(n)*100*time.Millisecond, "all to run", func() bool {
		return strings.Count(b.stderr.String(), "service is ready") == n
	})
	await(t, 20*time.Second, "the configuration to be looked at again", func() bool { return b.settled() })
	peak := kib(t, b.supervisor(), "VmHWM") / 1024
	if most := 25 + 0.15*float64(n-50); float64(peak) > most {
		t.Errorf("the supervisor took %d MB at most with %d services, want %.0f", peak, n, most)
	}
	b.signal(syscall.SIGTERM)
	if code := b.wait(time.Minute); code != 0 {
		t.Errorf("exit code %d", code)
	}
	log := b.stderr.String()
	if ended := strings.Count(log, "signal 15"); ended != n || strings.Contains(log, "signal 9") {
		t.Errorf("%d of %d were ended by TERM", ended, n)
	}
	for k := 1; k < n; k += 10 {
		gone, asked := strings.Index(log, fmt.Sprintf("service ended: name=s%d ", k)),
			strings.Index(log, fmt.Sprintf("service stops: name=s%d ", k-1))
		if gone < 0 || asked < gone {
			t.Fatalf("s%d was asked to stop before s%d, which requires it, had ended", k-1, k)
		}
	}
}

// settled reports whether the supervisor has returned the memory of its start, which it does after
// it has read its configuration again.
func (b *box) settled() bool {
	pid := b.supervisor()
	return pid != 0 && kib(b.t, pid, "RssFile") < 8<<10
}

// kib returns a value of /proc/PID/status in KiB.
func kib(t testing.TB, pid int, key string) int {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(data), "\n"+key+":")
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		t.Fatalf("there is no %s in the status of %d", key, pid)
	}
	n, _ := strconv.Atoi(fields[0])
	return n
}
