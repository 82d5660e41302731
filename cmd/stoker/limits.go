package main

import (
	"fmt"
	"io"
	"math"
	"strconv"

	"github.com/stoker-init/stoker/internal/cgroup"
	"github.com/stoker-init/stoker/internal/layout"
)

// limits prints what the container has.
func limits(w io.Writer, root, format string) error {
	l := cgroup.Read(root)
	if format == "json" {
		return printJSON(w, l)
	}
	width := widthOf(w)
	t := limitsTable(l)
	if err := t.Write(w, width); err != nil {
		return err
	}
	for _, warning := range l.Warnings {
		fmt.Fprintln(w, layout.Wrap("warning: "+warning.Code+": "+warning.Message, width, "  "))
	}
	return nil
}

// limitsTable has a row for each limit.
func limitsTable(l cgroup.Limits) layout.Table {
	t := layout.Table{{"LIMIT", "VALUE", "SAID BY"}}
	version := "none"
	if l.Version > 0 {
		version = fmt.Sprintf("v%d", l.Version)
	}
	t.Add("cgroup", version, "")
	quota, cpuset := "none", "unknown"
	if l.CPUQuota != nil {
		quota = fmt.Sprintf("%.4g cores", *l.CPUQuota)
	}
	if l.CPUSet != nil {
		cpuset = fmt.Sprint(*l.CPUSet)
	}
	t.Add("CPU quota", quota, l.Sources.CPUQuota)
	t.Add("CPUs allowed", cpuset, l.Sources.CPUSet)
	t.Add("CPUs to use", fmt.Sprint(l.EffectiveCPUs), l.Sources.EffectiveCPUs)
	t.Add("memory limit", bytesText(l.MemoryLimit, "none"), l.Sources.MemoryLimit)
	t.Add("memory to use", bytesText(l.EffectiveMemory, "unknown"), l.Sources.EffectiveMemory)
	return t
}

// bytesText is a size in MiB, or what nil means.
func bytesText(n *int64, none string) string {
	if n == nil {
		return none
	}
	return strconv.FormatFloat(math.Round(float64(*n)/(1<<20)*10)/10, 'f', -1, 64) + fmt.Sprintf(" MiB (%d bytes)", *n)
}
