package jvm

import (
	"slices"
	"strconv"
	"strings"
)

// optionKey identifies what an option sets, independent of its spelling.
type optionKey struct {
	// family: an option of a higher layer overrides every lower one of its family.
	family string
	// name: within a layer the last option of a name wins, as in the JVM.
	// Empty: repeatable, nothing is overridden.
	name string
	// value as written after the name or "=".
	value string
	// size: value is a number of bytes.
	size bool
}

// prefixed are the -X forms whose value follows without a separator.
var prefixed = []struct{ prefix, family, name string }{
	{"-Xmx", "heap.max", "MaxHeapSize"}, {"-mx", "heap.max", "MaxHeapSize"},
	{"-Xms", "heap.init", "InitialHeapSize"}, {"-ms", "heap.init", "InitialHeapSize"},
	{"-Xmn", "young", "Xmn"},
	{"-Xss", "stack", "ThreadStackSize"}, {"-ss", "stack", "ThreadStackSize"},
	{"-Xmaxjitcodesize", "-XX:ReservedCodeCacheSize", "ReservedCodeCacheSize"},
}

// keyOf returns the key of o. Flag names are case-sensitive, as in HotSpot.
func keyOf(o Option) optionKey {
	arg := o.Args[0]
	_, debugger := Debugger(arg)
	switch {
	case strings.HasPrefix(arg, "-XX:"):
		return flagKey(strings.TrimPrefix(arg, "-XX:"))
	case strings.HasPrefix(arg, "-D"):
		key, value, _ := strings.Cut(arg, "=")
		return optionKey{family: key, name: key, value: value}
	case debugger:
		return optionKey{family: "jdwp", name: "jdwp"}
	}
	for _, p := range prefixed {
		if value, ok := strings.CutPrefix(arg, p.prefix); ok {
			return optionKey{family: p.family, name: p.name, value: value, size: true}
		}
	}
	if id, ok := aliasKey(arg); ok {
		return id
	}
	if len(o.Args) == 2 {
		arg = o.Args[0] + "=" + o.Args[1] // "--add-opens X" is "--add-opens=X"
	}
	name, value, _ := strings.Cut(arg, "=")
	switch name {
	case "-cp", "-classpath", "--class-path":
		return optionKey{family: "classpath", name: "classpath"}
	case "-p", "--module-path":
		return optionKey{family: "modulepath", name: "modulepath"}
	case "--upgrade-module-path", "--limit-modules", "--illegal-access", "--finalization",
		"--illegal-native-access", "--sun-misc-unsafe-memory-access":
		return optionKey{family: name, name: name}
	case "--patch-module": // the JVM takes one for each module
		module, _, _ := strings.Cut(value, "=")
		return optionKey{family: name + " " + module, name: name + " " + module}
	}
	for _, p := range [...]string{"-Xshare:", "-Xverify:", "-Xloggc:", "-splash:"} {
		if value, ok := strings.CutPrefix(arg, p); ok {
			return optionKey{family: p, name: p, value: value}
		}
	}
	return optionKey{family: arg, value: arg}
}

// aliasKey handles the options that are an alias of a -XX flag.
func aliasKey(arg string) (optionKey, bool) {
	flag := func(name, value string) (optionKey, bool) {
		return optionKey{family: "-XX:" + name, name: name, value: value}, true
	}
	switch arg {
	case "-Xint", "-Xmixed", "-Xcomp":
		return optionKey{family: "mode", name: "mode", value: arg}, true
	case "-Xincgc", "-Xconcgc":
		return optionKey{family: "gc", name: arg, value: "+"}, true
	case "-Xrs":
		return flag("ReduceSignalUsage", "+")
	case "-Xnoclassgc", "-noclassgc":
		return flag("ClassUnloading", "-")
	case "-Xbatch":
		return flag("BackgroundCompilation", "-")
	case "-noverify":
		return optionKey{family: "-Xverify:", name: "-Xverify:", value: "none"}, true
	}
	if value, ok := strings.CutPrefix(arg, "-Xminf"); ok {
		return flag("MinHeapFreeRatio", percentOf(value))
	}
	if value, ok := strings.CutPrefix(arg, "-Xmaxf"); ok {
		return flag("MaxHeapFreeRatio", percentOf(value))
	}
	return optionKey{}, false
}

// percentOf writes a fraction such as 0.4 as a percentage, as HotSpot does; empty
// for what is no fraction.
func percentOf(fraction string) string {
	n, err := strconv.ParseFloat(fraction, 64)
	if err != nil || !(n >= 0 && n <= 1) {
		return ""
	}
	return strconv.Itoa(int(n * 100))
}

// Debugger returns the options of the debugger's agent, if an argument loads it, in any spelling: a JVM
// does not start with two of them.
func Debugger(arg string) (options string, ok bool) {
	if path, ok := strings.CutPrefix(arg, "-agentpath:"); ok {
		path, options, _ := strings.Cut(path, "=")
		return options, strings.HasSuffix(path, "/libjdwp.so")
	}
	for _, p := range [...]string{"-agentlib:jdwp", "-Xrunjdwp"} {
		if rest, ok := strings.CutPrefix(arg, p); ok && (rest == "" || rest[0] == '=' || rest[0] == ':') {
			return strings.TrimLeft(rest, "=:"), true
		}
	}
	return "", false
}

// flagKey is keyOf for what follows -XX:.
func flagKey(flag string) optionKey {
	name, value, valued := strings.Cut(flag, "=")
	if !valued && name != "" && (name[0] == '+' || name[0] == '-') {
		name, value = name[1:], name[:1]
	}
	id := optionKey{family: "-XX:" + name, name: name, value: value}
	switch name {
	case "MaxHeapSize":
		id.family, id.size = "heap.max", true
	case "MaxRAMPercentage", "MaxRAMFraction", "DefaultMaxRAMFraction", "MinRAMPercentage", "MinRAMFraction", "AggressiveHeap":
		id.family = "heap.max"
	case "MaxRAM":
		id.family, id.size = "heap.max", true
	case "InitialHeapSize":
		id.family, id.size = "heap.init", true
	case "InitialRAMPercentage", "InitialRAMFraction":
		id.family = "heap.init"
	case "NewSize", "MaxNewSize":
		id.family, id.size = "young", true
	case "NewRatio":
		id.family = "young"
	case "CreateMinidumpOnCrash": // another name
		id.family, id.name = "-XX:CreateCoredumpOnCrash", "CreateCoredumpOnCrash"
	case "ThreadStackSize": // a number of KiB
		id.family = "stack"
	case "MaxMetaspaceSize", "MetaspaceSize", "ReservedCodeCacheSize", "InitialCodeCacheSize",
		"MaxDirectMemorySize", "CompressedClassSpaceSize", "MinHeapSize", "SoftMaxHeapSize", "G1HeapRegionSize":
		id.size = true
	case "StartFlightRecording", "OnOutOfMemoryError", "OnError", "CompileCommand", "CompileOnly", "ControlIntrinsic", "DisableIntrinsic",
		"VerifyGCType", "VerifySubSet":
		return optionKey{family: "-XX:" + flag, value: value} // these accumulate
	}
	if collector(name) {
		id.family = "gc"
	}
	return id
}

// collector reports whether a flag selects a garbage collector.
func collector(name string) bool {
	return slices.Contains([]string{"UseSerialGC", "UseParallelGC", "UseParallelOldGC", "UseG1GC", "UseZGC", "UseShenandoahGC",
		"UseEpsilonGC", "UseConcMarkSweepGC", "UseParNewGC"}, name)
}

// repeatable options are kept once for each different text.
func (id optionKey) repeatable() bool { return id.name == "" }

// fallback options matter only where no heap size is given; they do not take ours
// away.
func (id optionKey) fallback() bool {
	return id.name == "MinRAMPercentage" || id.name == "MinRAMFraction" || id.name == "AggressiveHeap"
}

// absolute reports whether an option is a size beside which the JVM ignores the
// share or ratio of the same family, in any order.
func (id optionKey) absolute() bool {
	return slices.Contains([]string{"MaxHeapSize", "InitialHeapSize", "Xmn", "NewSize", "MaxNewSize"}, id.name)
}

// relative is what an absolute option of the same family makes void.
func (id optionKey) relative() bool {
	switch id.family {
	case "heap.max", "heap.init":
		return !id.absolute() && id.name != "AggressiveHeap" // which sets more than the heap
	}
	return id.name == "NewRatio"
}

// overrides reports whether h removes l, where h comes later in the same layer or from
// a higher one. HotSpot's own order does not decide: an absolute heap size beats
// a percentage in any order, and MaxRAM moves the base of every percentage.
func overrides(h, l optionKey, higher bool) bool {
	if higher && h.family == "heap.init" {
		switch {
		case l.name == "MinHeapSize":
			return true // -Xms sets the minimum too; the two together may be rejected
		case l.name == "MaxRAM" && h.relative():
			return true // it would move the base of the percentage
		}
	}
	if h.family != l.family {
		return false
	}
	if h.repeatable() {
		return !orderMatters(h.value)
	}
	switch {
	case h.name == l.name:
		return true
	case h.family == "gc":
		// "-XX:-UseG1GC" takes back only that one; two collectors that JDK 8
		// wants together stay together.
		return h.value == "+" && l.value == "+" && (higher || !together(h.name, l.name))
	case !higher:
		return h.absolute() && l.relative() || h.name == "Xmn" && l.family == "young"
	case h.fallback():
		return l.absolute() || l.fallback()
	case h.name == "MaxRAM":
		return l.name == "MaxHeapSize"
	}
	return true
}

// orderMatters are repeatables of which an equal later one is not superfluous:
// "-Xlog:gc -Xlog:disable -Xlog:gc", "-ea -da:x -ea".
func orderMatters(arg string) bool {
	return hasPrefix(arg, "-Xlog", "-ea", "-da", "-enableassertions", "-disableassertions", "-esa", "-dsa")
}

func hasPrefix(s string, prefixes ...string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(s, p) })
}

// together are the collector pairs that JDK 8 accepts.
func together(a, b string) bool {
	pair := func(x, y string) bool { return a == x && b == y || a == y && b == x }
	return pair("UseConcMarkSweepGC", "UseParNewGC") || pair("UseParallelGC", "UseParallelOldGC")
}
