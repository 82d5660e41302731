package main

import (
	"fmt"
	"math"

	"github.com/stoker-init/stoker/internal/cgroup"
	"github.com/stoker-init/stoker/internal/layout"
	"github.com/urfave/cli/v2"
)

func limitsCommand() *cli.Command {
	return &cli.Command{Name: "limits", Usage: "show what CPU and memory the container really has, and which file says so",
		Category: categoryHistory, UsageText: "stoker limits -o json",
		Flags: []cli.Flag{tableOrJSON(), &cli.StringFlag{Name: "root", Value: "/", Usage: "read proc and sys below `DIR`"}},
		Action: func(c *cli.Context) error {
			l := cgroup.Read(c.String("root"))
			return show(c, l, func(width int) string { return limitsText(l, width) })
		}}
}

func limitsText(l cgroup.Limits, width int) string {
	version, quota, cpuset, pids := "none", "none", "unknown", "none"
	if l.Version > 0 {
		version = fmt.Sprintf("v%d", l.Version)
	}
	if l.CPUQuota != nil {
		quota = fmt.Sprintf("%.4g cores", *l.CPUQuota)
	}
	if l.CPUSet != nil {
		cpuset = fmt.Sprint(*l.CPUSet)
	}
	if l.PIDsLimit != nil {
		pids = fmt.Sprint(*l.PIDsLimit)
	}
	text := layout.Rows(layout.Table{
		{"LIMIT", "VALUE", "SAID BY"},
		{"cgroup", version, ""},
		{"CPU quota", quota, l.Sources.CPUQuota},
		{"CPUs allowed", cpuset, l.Sources.CPUSet},
		{"CPUs to use", fmt.Sprint(l.EffectiveCPUs), l.Sources.EffectiveCPUs},
		{"memory limit", bytesText(l.MemoryLimit, "none"), l.Sources.MemoryLimit},
		{"memory to use", bytesText(l.EffectiveMemory, "unknown"), l.Sources.EffectiveMemory},
		{"memory throttled at", bytesText(l.MemoryHigh, "never"), l.Sources.MemoryHigh},
		{"processes and threads", pids, l.Sources.PIDsLimit},
	}, width)
	for _, warning := range l.Warnings {
		text += layout.Wrap("warning: "+warning.Code+": "+warning.Message, width, "  ") + "\n"
	}
	return text
}

// bytesText is a size in MiB, or what nil means.
func bytesText(n *int64, none string) string {
	if n == nil {
		return none
	}
	mib := math.Round(float64(*n)/(1<<20)*10) / 10
	return fmt.Sprintf("%v MiB (%d bytes)", mib, *n)
}
