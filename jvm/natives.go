package jvm

import (
	"slices"
	"strconv"
	"strings"
)

// trimInterval is how often the JVM gives free memory of malloc back, in milliseconds: rarely enough that neither
// an idle nor a busy JVM is seen to pay for it.
const trimInterval = 60_000

// nativeOptions are those for memory that no cap of HotSpot holds.
func (s Sizing) nativeOptions() []Option {
	var options []Option
	if on(s.rules.DirectMemory) && s.fixed.NettyCounts && (s.Limit > 0 && !s.bare || s.fixed.Direct != nil) {
		options = append(options, ruleOption("direct-memory", "Netty would count its buffers beside MaxDirectMemorySize, and take as much again",
			"-Dio.netty.maxDirectMemory=0"))
	}
	if on(s.rules.NativeTrim) && s.target.trimsNativeHeap() {
		options = append(options, ruleOption("native-trim", "malloc keeps what was freed after a peak; once a minute it is given back",
			"-XX:TrimNativeHeapInterval=%d", trimInterval))
	}
	return options
}

// nettyCounts reports whether Netty can make direct buffers past the JVM's own count: java.nio is open to it. Up to 15
// it is by default.
func nettyCounts(options []Option, major int) bool {
	return major >= 8 && major <= 15 || slices.ContainsFunc(options, func(o Option) bool {
		opened, ok := strings.CutPrefix(strings.Join(o.Args, "="), "--add-opens=")
		return ok && strings.HasPrefix(opened, "java.base/java.nio=")
	})
}

// trimsNativeHeap reports whether the JVM has TrimNativeHeapInterval. Of one that was not asked the version decides:
// first the flag was experimental. With musl it does nothing but warn.
func (t Target) trimsNativeHeap() bool {
	if t.Libc == "musl" || t.JavaMajor < 21 {
		return false
	}
	if t.Flags != nil {
		_, has := t.Flags["TrimNativeHeapInterval"]
		return has
	}
	return t.JavaMajor >= 23 || t.JavaMajor == 21 && t.patch() >= 4
}

// patch returns the third number of a version such as 21.0.4; 0: there is none.
func (t Target) patch() int {
	parts := strings.FieldsFunc(t.JavaVersion, func(r rune) bool { return r < '0' || r > '9' })
	if len(parts) < 3 {
		return 0
	}
	n, _ := strconv.Atoi(parts[2])
	return n
}
