package jvm

import (
	"cmp"
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
	traits
}

type traits byte

const (
	sized       traits = 1 << iota // the value is a number of bytes
	absolute                       // the JVM ignores the relative ones of the family beside it, in any order
	relative                       // a share or ratio
	fallback                       // matters only where no heap size is given
	accumulates                    // every one is effective
)

func (t traits) is(one traits) bool { return t&one != 0 }

const collectors = "UseSerialGC UseParallelGC UseParallelOldGC UseG1GC UseZGC UseShenandoahGC UseEpsilonGC UseConcMarkSweepGC UseParNewGC"

// families has the flags that are more than a family of their own (empty).
var families = []struct {
	family string
	traits traits
	flags  string
}{
	{"heap.max", sized | absolute, "MaxHeapSize"},
	{"heap.max", sized | relative, "MaxRAM"},
	{"heap.max", relative, "MaxRAMPercentage MaxRAMFraction DefaultMaxRAMFraction"},
	{"heap.max", relative | fallback, "MinRAMPercentage MinRAMFraction"},
	{"heap.max", fallback, "AggressiveHeap"},
	{"heap.init", sized | absolute, "InitialHeapSize"},
	{"heap.init", relative, "InitialRAMPercentage InitialRAMFraction"},
	{"young", sized | absolute, "Xmn NewSize MaxNewSize"},
	{"young", relative, "NewRatio"},
	{"stack", 0, "ThreadStackSize"},                      // in KiB
	{"ihop", 0, "InitiatingHeapOccupancyPercent G1IHOP"}, // one flag, by its old name and that of Java 27
	{"gc", 0, collectors + " Xincgc Xconcgc"},
	{"", sized, "MaxMetaspaceSize MetaspaceSize ReservedCodeCacheSize InitialCodeCacheSize MaxDirectMemorySize CompressedClassSpaceSize " +
		"MinHeapSize SoftMaxHeapSize G1HeapRegionSize"},
	{"", accumulates, "StartFlightRecording OnOutOfMemoryError OnError CompileCommand CompileOnly ControlIntrinsic DisableIntrinsic " +
		"VerifyGCType VerifySubSet"},
}

// aliases are options that set what a flag sets, or what one might: with "=" at the end of the flag
// their value follows without a separator.
var aliases = []struct{ option, flag string }{
	{"-Xmx", "MaxHeapSize="}, {"-mx", "MaxHeapSize="}, {"-Xms", "InitialHeapSize="}, {"-ms", "InitialHeapSize="}, {"-Xmn", "Xmn="},
	{"-Xss", "ThreadStackSize="}, {"-ss", "ThreadStackSize="}, {"-Xmaxjitcodesize", "ReservedCodeCacheSize="},
	{"-Xminf", "MinHeapFreeRatio="}, {"-Xmaxf", "MaxHeapFreeRatio="},
	{"-Xint", "mode=-Xint"}, {"-Xmixed", "mode=-Xmixed"}, {"-Xcomp", "mode=-Xcomp"},
	{"-Xincgc", "+Xincgc"}, {"-Xconcgc", "+Xconcgc"}, {"-Xrs", "+ReduceSignalUsage"},
	{"-Xnoclassgc", "-ClassUnloading"}, {"-noclassgc", "-ClassUnloading"}, {"-Xbatch", "-BackgroundCompilation"},
	{"-noverify", "Xverify=none"}, {"-Xverify:", "Xverify="}, {"-Xshare:", "Xshare="}, {"-Xloggc:", "Xloggc="}, {"-splash:", "splash="},
}

// lastWins are the launcher's options of which the last one wins, with the same name for each spelling.
var lastWins = map[string]string{
	"-cp": "classpath", "-classpath": "classpath", "--class-path": "classpath", "-p": "modulepath", "--module-path": "modulepath",
	"--upgrade-module-path": "upgrade", "--limit-modules": "limit", "--illegal-access": "access", "--finalization": "finalization",
	"--illegal-native-access": "native", "--sun-misc-unsafe-memory-access": "unsafe",
}

// keyOf returns the key of o. Flag names are case-sensitive, as in HotSpot.
func keyOf(o Option) optionKey {
	arg := o.Args[0]
	switch _, debugger := Debugger(arg); {
	case strings.HasPrefix(arg, "-XX:"):
		return flagKey(arg)
	case strings.HasPrefix(arg, "-D"):
		key, value, _ := strings.Cut(arg, "=")
		return optionKey{family: key, name: key, value: value}
	case debugger:
		return optionKey{family: "jdwp", name: "jdwp"}
	}
	for _, a := range aliases {
		value, ok := strings.CutPrefix(arg, a.option)
		if !ok || value != "" && !strings.HasSuffix(a.flag, "=") {
			continue
		}
		if strings.HasSuffix(a.flag, "HeapFreeRatio=") {
			value = percentOf(value)
		}
		id := flagKey("-XX:" + a.flag + value)
		if id.family == "stack" {
			id.traits = sized
		}
		return id
	}
	if len(o.Args) == 2 {
		arg = o.Args[0] + "=" + o.Args[1] // "--add-opens X" is "--add-opens=X"
	}
	option, value, _ := strings.Cut(arg, "=")
	name := lastWins[option]
	if option == "--patch-module" { // the JVM takes one for each module
		module, _, _ := strings.Cut(value, "=")
		name = option + " " + module
	}
	if name != "" {
		return optionKey{family: name, name: name}
	}
	return optionKey{family: arg, value: arg}
}

// percentOf writes a fraction such as 0.4 as a percentage, as HotSpot does; empty for anything else.
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

// flagKey is keyOf for a -XX flag.
func flagKey(arg string) optionKey {
	name, form, value := cutFlag(arg)
	if form != "=" {
		value = form
	}
	if name == "CreateMinidumpOnCrash" { // another name
		name = "CreateCoredumpOnCrash"
	}
	id := optionKey{family: "-XX:" + name, name: name, value: value}
	for _, f := range families {
		if strings.Contains(f.flags, name) && slices.Contains(strings.Fields(f.flags), name) {
			id.family, id.traits = cmp.Or(f.family, id.family), f.traits
		}
	}
	if id.is(accumulates) {
		id.family, id.name = arg, ""
	}
	return id
}

// cutFlag cuts a -XX argument in its name, its form ("+", "-", "=" or nothing) and the value after "=". The
// recorder's two flags may have a colon in place of "=".
func cutFlag(arg string) (name, form, value string) {
	flag := strings.TrimPrefix(arg, "-XX:")
	for _, recorder := range [...]string{"StartFlightRecording", "FlightRecorderOptions"} {
		if rest, ok := strings.CutPrefix(flag, recorder); ok && (rest == "" || rest[0] == ':') {
			return recorder, "=", strings.TrimPrefix(rest, ":")
		}
	}
	name, value, valued := strings.Cut(flag, "=")
	switch {
	case name != "" && (name[0] == '+' || name[0] == '-'):
		return name[1:], name[:1], value
	case valued:
		return name, "=", value
	}
	return name, "", ""
}

// repeatable options are kept once for each different text.
func (id optionKey) repeatable() bool { return id.name == "" }

// overrides reports whether h removes l, where h comes later in the same layer or from
// a higher one. HotSpot's own order does not decide: an absolute heap size beats
// a percentage in any order, and MaxRAM moves the base of every percentage.
func overrides(h, l optionKey, higher bool) bool {
	if higher && h.family == "heap.init" && (l.name == "MinHeapSize" || l.name == "MaxRAM" && h.is(relative)) {
		return true // -Xms sets the minimum too, and MaxRAM would move the base of the percentage
	}
	if h.family != l.family {
		return false
	}
	switch {
	case h.repeatable():
		// An equal later one is effective: "-Xlog:gc -Xlog:disable -Xlog:gc", "-ea -da:x -ea".
		return !hasPrefix(h.value, "-Xlog", "-ea", "-da", "-enableassertions", "-disableassertions", "-esa", "-dsa")
	case h.name == l.name:
		return true
	case h.family == "gc": // "-XX:-UseG1GC" takes back only that one
		return h.value == "+" && l.value == "+" && (higher || !together(h.name, l.name))
	case !higher:
		return h.is(absolute) && l.is(relative) || h.name == "Xmn" && l.family == "young"
	case h.is(fallback):
		return l.is(absolute | fallback)
	case h.name == "MaxRAM":
		return l.name == "MaxHeapSize"
	}
	return true
}

func hasPrefix(s string, prefixes ...string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(s, p) })
}

// together are the collector pairs that JDK 8 accepts.
func together(a, b string) bool {
	pair := func(x, y string) bool { return a == x && b == y || a == y && b == x }
	return pair("UseConcMarkSweepGC", "UseParNewGC") || pair("UseParallelGC", "UseParallelOldGC")
}
