// Package mounts reads the mounts of a process. It mounts nothing.
package mounts

import (
	"strings"

	"github.com/moby/sys/mountinfo"
)

// Mount is a line of /proc/PID/mountinfo.
type Mount = mountinfo.Info

// Parse reads the text of /proc/PID/mountinfo. A malformed line is counted in bad and
// does not hide the others.
func Parse(text string) (mounts []*Mount, bad int) {
	if all, err := mountinfo.GetMountsFromReader(strings.NewReader(text), nil); err == nil {
		return all, 0
	}
	for line := range strings.Lines(text) {
		if strings.TrimSpace(line) == "" {
			continue
		}
		parsed, err := mountinfo.GetMountsFromReader(strings.NewReader(strings.TrimRight(line, "\r\n")), nil)
		if err != nil || len(parsed) == 0 {
			bad++
			continue
		}
		mounts = append(mounts, parsed[0])
	}
	return mounts, bad
}
