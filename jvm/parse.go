package jvm

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// ParseFile reads an option file: a line is one argument byte for byte, without
// quoting or expansion; surrounding blanks are cut, empty lines and lines that
// begin with # skipped. A two-argument option may be one line or two. Sources
// are name:line.
func ParseFile(name, content string) []Option {
	var options []Option
	number := 0
	for line := range strings.Lines(unmarked(content)) {
		number++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		source := fmt.Sprintf("%s:%d", name, number)
		first, rest, found := strings.Cut(line, " ")
		if found && twoToken(first) {
			options = append(options, Option{Args: []string{first, strings.TrimSpace(rest)}, Source: source})
			continue
		}
		options = appendArg(options, line, source)
	}
	return options
}

// ParseMemory reads a size in bytes: a number with K, M, G or T, with KiB, MiB,
// GiB or TiB, or with nothing (bytes). All are powers of 1024, as the JVM's are.
func ParseMemory(s string) (int64, error) {
	t := strings.ToUpper(strings.TrimSpace(s))
	t = strings.TrimSuffix(strings.TrimSuffix(t, "B"), "I")
	n, err := sizeOf(t)
	if err != nil || n <= 0 {
		return 0, fmt.Errorf("cannot read memory size %q: use a number with MiB or GiB, such as 512MiB", s)
	}
	return n, nil
}

// sizeOf reads a size as HotSpot does: decimal or 0x, then nothing or one of
// kKmMgGtT.
func sizeOf(s string) (int64, error) {
	shift := 0
	if s != "" {
		switch s[len(s)-1] {
		case 'k', 'K':
			shift = 10
		case 'm', 'M':
			shift = 20
		case 'g', 'G':
			shift = 30
		case 't', 'T':
			shift = 40
		}
	}
	digits, base := s, 10
	if shift > 0 {
		digits = s[:len(s)-1]
	}
	if hex, ok := strings.CutPrefix(strings.ToLower(digits), "0x"); ok {
		digits, base = hex, 16
	}
	n, err := strconv.ParseUint(digits, base, 63)
	if err != nil || n > math.MaxInt64>>shift {
		return 0, fmt.Errorf("cannot read size %q", s)
	}
	return int64(n) << shift, nil
}
