package procfs

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Status holds the lines of /proc/PID/status by name.
type Status map[string]string

// ReadStatus reads /proc/PID/status.
func ReadStatus(pid int) (Status, error) {
	data, err := os.ReadFile(Path(pid, "status"))
	if err != nil {
		return nil, err
	}
	return ParseStatus(string(data)), nil
}

// ParseStatus parses the text of /proc/PID/status.
func ParseStatus(text string) Status {
	s := Status{}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(line, ":")
		s[name] = strings.TrimSpace(value)
	}
	return s
}

// Ints are the numbers of a line such as Uid or NSpid. A line that is missing is an error.
func (s Status) Ints(name string) ([]int, error) {
	text, there := s[name]
	if !there {
		return nil, fmt.Errorf("its status has no line %s", name)
	}
	var out []int
	for _, word := range strings.Fields(text) {
		n, err := strconv.Atoi(word)
		if err != nil {
			return nil, fmt.Errorf("cannot read the line %s of its status: %w", name, err)
		}
		out = append(out, n)
	}
	return out, nil
}

// Mask is the set of bits of a line such as CapPrm or SigCgt.
func (s Status) Mask(name string) (uint64, error) {
	mask, err := strconv.ParseUint(s[name], 16, 64)
	if err != nil {
		return 0, fmt.Errorf("cannot read the line %s of its status: %w", name, err)
	}
	return mask, nil
}

// Catches says whether the process has a handler for a signal.
func (s Status) Catches(signal int) bool {
	mask, err := s.Mask("SigCgt")
	return err == nil && mask&(1<<(signal-1)) != 0
}

// Memory returns the memory of a process in bytes: its share of the pages that it has mapped, once each, or, where that is not readable,
// all that it has mapped.
func Memory(pid int) (int64, error) {
	var kib int64
	data, _ := os.ReadFile(Path(pid, "smaps_rollup")) // Linux 4.14; needs the rights of a tracer
	if _, err := fmt.Sscanf(ParseStatus(string(data))["Pss"], "%d kB", &kib); err == nil {
		return kib << 10, nil
	}
	status, err := ReadStatus(pid)
	if err != nil {
		return 0, err
	}
	_, err = fmt.Sscanf(status["VmRSS"], "%d kB", &kib)
	return kib << 10, err
}
