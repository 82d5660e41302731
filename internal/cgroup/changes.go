package cgroup

import (
	"fmt"
	"strconv"
	"strings"
)

// Changes describes what differs from an earlier reading, such as "memory 1 GiB -> 512 MiB, CPUs 2 -> 1"; empty: no limit does.
func (l Limits) Changes(before Limits) string {
	var out []string
	add := func(what, was, now string) {
		if was != now {
			out = append(out, what+" "+was+" -> "+now)
		}
	}
	add("memory", sizeText(before.MemoryLimit), sizeText(l.MemoryLimit))
	add("memory.high", sizeText(before.MemoryHigh), sizeText(l.MemoryHigh))
	add("CPUs", strconv.Itoa(before.EffectiveCPUs), strconv.Itoa(l.EffectiveCPUs))
	add("CPU quota", numberText(before.CPUQuota), numberText(l.CPUQuota))
	add("cpuset", numberText(before.CPUSet), numberText(l.CPUSet))
	add("processes", numberText(before.PIDsLimit), numberText(l.PIDsLimit))
	return strings.Join(out, ", ")
}

// none stands for a number that is not there.
const none = "none"

func numberText[N int | int64 | float64](n *N) string {
	if n == nil {
		return none
	}
	return fmt.Sprint(*n)
}

// sizeText is a number of bytes in the largest unit that is exact.
func sizeText(n *int64) string {
	if n == nil {
		return none
	}
	for k, unit := range []string{"GiB", "MiB", "KiB"} {
		if size := int64(1) << (30 - 10*k); *n >= size && *n%size == 0 {
			return strconv.FormatInt(*n/size, 10) + " " + unit
		}
	}
	return strconv.FormatInt(*n, 10) + " bytes"
}
