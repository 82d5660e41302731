package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// report is the table of one run.
type report struct {
	peers  []peer
	rows   []row
	rounds int
	idle   time.Duration
}

// print writes the machine and the table as Markdown.
func (r report) print(out io.Writer) error {
	w := bufio.NewWriter(out)
	fmt.Fprintf(w, "%s, %s, %d CPUs, Linux %s. Medians of %d rounds, idle for %v; in brackets the figure as a multiple of stoker's.\n\n",
		time.Now().Format("2006-01-02"), cpuModel(), runtime.NumCPU(), kernel(), r.rounds, r.idle)
	fmt.Fprint(w, "| what | goal |")
	for _, p := range r.peers {
		fmt.Fprintf(w, " %s |", p.name)
	}
	fmt.Fprint(w, "\n|---|---|", strings.Repeat("---:|", len(r.peers)), "\n")
	for _, row := range r.rows {
		fmt.Fprintf(w, "| %s (%s) | %s |", row.what, row.unit, row.goal)
		for _, p := range r.peers {
			fmt.Fprintf(w, " %s |", row.cell(p))
		}
		fmt.Fprintln(w)
	}
	if len(r.peers) == 0 || r.peers[0].name != stokerName {
		fmt.Fprintln(w, "\nstoker itself was not measured: build it first (make build).")
	}
	return w.Flush()
}

// cell formats a peer's median with its multiple of stoker's, or "-" without a value.
func (r row) cell(p peer) string {
	v, ok := median(r.values[p.name])
	if !ok {
		return "-"
	}
	text := figure(v)
	if own, ok := median(r.values[stokerName]); ok && p.name != stokerName && own > 0 {
		text += fmt.Sprintf(" (%sx)", figure(v/own))
	}
	return text
}

// figure formats at most three significant digits.
func figure(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.2f", v)
	}
}

// median returns the middle value, if there is any.
func median(values []float64) (float64, bool) {
	if len(values) == 0 {
		return 0, false
	}
	sorted := slices.Sorted(slices.Values(values))
	mid := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[mid], true
	}
	return (sorted[mid-1] + sorted[mid]) / 2, true
}

func kernel() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "of unknown version"
	}
	return unix.ByteSliceToString(u.Release[:])
}

func cpuModel() string {
	data, err := os.ReadFile("/proc/cpuinfo")
	if err == nil {
		for line := range strings.Lines(string(data)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				return strings.TrimSpace(value)
			}
		}
	}
	return runtime.GOARCH
}
