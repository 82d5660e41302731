package main

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/stoker-init/stoker/internal/cgroup"
)

// limits prints what the container has.
func limits(w io.Writer, root, format string) error {
	l := cgroup.Read(root)
	if format == "json" {
		return printJSON(w, l)
	}
	var table strings.Builder
	tw := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	row := func(what, value, source string) { fmt.Fprintf(tw, "%s\t%s\t%s\n", what, value, source) }
	row("LIMIT", "VALUE", "SAID BY")
	version := "none"
	if l.Version > 0 {
		version = fmt.Sprintf("v%d", l.Version)
	}
	row("cgroup", version, "")
	quota, cpuset := "none", "unknown"
	if l.CPUQuota != nil {
		quota = fmt.Sprintf("%.4g cores", *l.CPUQuota)
	}
	if l.CPUSet != nil {
		cpuset = fmt.Sprint(*l.CPUSet)
	}
	row("CPU quota", quota, l.Sources.CPUQuota)
	row("CPUs allowed", cpuset, l.Sources.CPUSet)
	row("CPUs to use", fmt.Sprint(l.EffectiveCPUs), l.Sources.EffectiveCPUs)
	row("memory limit", bytesText(l.MemoryLimit, "none"), l.Sources.MemoryLimit)
	row("memory to use", bytesText(l.EffectiveMemory, "unknown"), l.Sources.EffectiveMemory)
	tw.Flush() // a strings.Builder does not fail
	for line := range strings.Lines(table.String()) {
		if _, err := fmt.Fprintln(w, strings.TrimRight(line, " \n")); err != nil {
			return err
		}
	}
	for _, warning := range l.Warnings {
		fmt.Fprintf(w, "warning: %s: %s\n", warning.Code, warning.Message)
	}
	return nil
}

// bytesText is a size in MiB, or what nil means.
func bytesText(n *int64, none string) string {
	if n == nil {
		return none
	}
	return strconv.FormatFloat(math.Round(float64(*n)/(1<<20)*10)/10, 'f', -1, 64) + fmt.Sprintf(" MiB (%d bytes)", *n)
}
