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
		if found && TakesValue(first) {
			options = append(options, Option{Args: []string{first, strings.TrimSpace(rest)}, Source: source})
			continue
		}
		options = appendArg(options, line, source)
	}
	return options
}

// ParseMemory reads a size in bytes: a whole number with K, M, G or T, with KB, Ki or
// KiB and so on, in small letters too, or with nothing (bytes). All are powers of 1024,
// as for HotSpot, Docker and Supervisor. An error says what to write.
func ParseMemory(s string) (int64, error) {
	text := strings.ToUpper(strings.TrimSpace(s))
	unit := strings.TrimLeft(text, "0123456789")
	shift, known := unitShift(unit)
	if n, err := strconv.ParseUint(strings.TrimSuffix(text, unit), 10, 63); known && err == nil && n > 0 && n <= math.MaxInt64>>shift {
		return int64(n) << shift, nil
	}
	return 0, fmt.Errorf("cannot read size %.60q: %s", s, sizeHint(text))
}

// unitShift is the power of two that a unit in capitals stands for.
func unitShift(unit string) (shift int, known bool) {
	prefix := strings.TrimSuffix(unit, "B")
	if len(prefix) == 2 {
		prefix = strings.TrimSuffix(prefix, "I")
	}
	if prefix == "" {
		return 0, true
	}
	at := strings.Index("KMGT", prefix)
	return 10 * (at + 1), at >= 0 && len(prefix) == 1
}

// sizeHint says how to write a size in capitals that cannot be read.
func sizeHint(text string) string {
	number := strings.TrimRight(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ ")
	unit := strings.TrimSpace(text[len(number):])
	if len(unit) > 3 { // "MEGABYTES"
		unit = unit[:1]
	}
	shift, known := unitShift(unit)
	x, err := strconv.ParseFloat(strings.Replace(number, ",", ".", 1), 64)
	if !known || err != nil || !(x > 0) || x > 1<<20 {
		return "use a whole number with KiB, MiB or GiB, such as 512MiB"
	}
	for x != math.Trunc(x) && shift > 0 {
		x, shift = x*1024, shift-10
	}
	if x != math.Trunc(x) {
		return "use a whole number of bytes"
	}
	return fmt.Sprintf("write %d%s", int64(x), [...]string{"", "KiB", "MiB", "GiB", "TiB"}[shift/10])
}

// sizeOf reads a size as HotSpot does: decimal or 0x (Java 8 only decimal), then nothing or one of kKmMgGtT. A size has
// 64 bits without a sign; one from 2^63 on, such as the "unlimited" that the JVM prints, is math.MaxInt64.
func sizeOf(s string) (int64, error) {
	n, err := unsignedSize(s)
	return int64(min(n, math.MaxInt64)), err
}

// unsignedSize is sizeOf with all 64 bits.
func unsignedSize(s string) (uint64, error) {
	digits, base, shift := strings.ToLower(s), 10, 0
	if n := len(digits) - 1; n >= 0 {
		if unit := strings.IndexByte("kmgt", digits[n]); unit >= 0 {
			digits, shift = digits[:n], 10*(unit+1)
		}
	}
	if hex, ok := strings.CutPrefix(digits, "0x"); ok {
		digits, base = hex, 16
	}
	n, err := strconv.ParseUint(digits, base, 64)
	if err != nil || n > math.MaxUint64>>shift {
		return 0, fmt.Errorf("cannot read size %q", s)
	}
	return n << shift, nil
}
