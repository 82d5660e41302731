package jvm

import "strings"

// identity is what an option sets, whatever its spelling.
type identity struct {
	// family: a higher layer's option beats every lower one of its family.
	family string
	// name: within a layer the last option of a name wins, as in the JVM.
	// Empty: repeatable, nothing is beaten.
	name string
	// value as written after the name or "=".
	value string
	// size: value is a number of bytes.
	size bool
}

// prefixed returns the -X forms whose value follows without a separator.
func prefixed() [7]struct{ prefix, family, name string } {
	return [...]struct{ prefix, family, name string }{
		{"-Xmx", "heap.max", "MaxHeapSize"}, {"-mx", "heap.max", "MaxHeapSize"},
		{"-Xms", "heap.init", "InitialHeapSize"}, {"-ms", "heap.init", "InitialHeapSize"},
		{"-Xmn", "young", "Xmn"},
		{"-Xss", "stack", "ThreadStackSize"}, {"-ss", "stack", "ThreadStackSize"},
	}
}

// identify returns what o sets. Flag names are case-sensitive, as in HotSpot.
func identify(o Option) identity {
	arg := o.Args[0]
	switch {
	case strings.HasPrefix(arg, "-XX:"):
		return identifyFlag(strings.TrimPrefix(arg, "-XX:"))
	case strings.HasPrefix(arg, "-D"):
		key, value, _ := strings.Cut(arg, "=")
		return identity{family: key, name: key, value: value}
	case strings.HasPrefix(arg, "-agentlib:jdwp"), strings.HasPrefix(arg, "-Xrunjdwp"):
		return identity{family: "jdwp", name: "jdwp"}
	case arg == "-Xint", arg == "-Xmixed", arg == "-Xcomp":
		return identity{family: "mode", name: "mode", value: arg}
	case arg == "-Xincgc", arg == "-Xconcgc":
		return identity{family: "gc", name: arg, value: "+"}
	}
	for _, p := range prefixed() {
		if value, ok := strings.CutPrefix(arg, p.prefix); ok {
			return identity{family: p.family, name: p.name, value: value, size: true}
		}
	}
	name, _, _ := strings.Cut(arg, "=")
	switch name {
	case "-cp", "-classpath", "--class-path":
		return identity{family: "classpath", name: "classpath"}
	case "-p", "--module-path":
		return identity{family: "modulepath", name: "modulepath"}
	case "--upgrade-module-path", "--limit-modules", "--illegal-access", "-Xshare", "-Xverify":
		return identity{family: name, name: name}
	}
	if strings.HasPrefix(arg, "-Xshare:") || strings.HasPrefix(arg, "-Xverify:") || strings.HasPrefix(arg, "-Xloggc:") {
		name, value, _ := strings.Cut(arg, ":")
		return identity{family: name, name: name, value: value}
	}
	return identity{family: o.String(), value: arg}
}

// identifyFlag is identify for what follows -XX:.
func identifyFlag(flag string) identity {
	name, value, valued := strings.Cut(flag, "=")
	if !valued && name != "" && (name[0] == '+' || name[0] == '-') {
		name, value = name[1:], name[:1]
	}
	id := identity{family: "-XX:" + name, name: name, value: value}
	switch name {
	case "MaxHeapSize":
		id.family, id.size = "heap.max", true
	case "MaxRAMPercentage", "MaxRAMFraction":
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
	case "ThreadStackSize": // a number of KiB
		id.family = "stack"
	case "MaxMetaspaceSize", "MetaspaceSize", "ReservedCodeCacheSize", "InitialCodeCacheSize",
		"MaxDirectMemorySize", "CompressedClassSpaceSize", "MinHeapSize", "SoftMaxHeapSize", "G1HeapRegionSize":
		id.size = true
	case "OnOutOfMemoryError", "OnError", "CompileCommand":
		return identity{family: "-XX:" + flag, value: value} // these accumulate
	}
	if collector(name) {
		id.family = "gc"
	}
	return id
}

// collector says whether a flag selects a garbage collector.
func collector(name string) bool {
	switch name {
	case "UseSerialGC", "UseParallelGC", "UseParallelOldGC", "UseG1GC", "UseZGC", "UseShenandoahGC",
		"UseEpsilonGC", "UseConcMarkSweepGC", "UseParNewGC":
		return true
	}
	return false
}

// repeatable options are kept once for each different text.
func (id identity) repeatable() bool { return id.name == "" }

// beats says whether h removes l, where h comes later in the same layer or from
// a higher one. HotSpot's own order does not decide: an absolute heap size beats
// a percentage in any order, and MaxRAM moves the base of every percentage.
func beats(h, l identity, higher bool) bool {
	if h.family == "heap.init" && l.name == "MinHeapSize" {
		// -Xms sets the minimum too; the two together may refuse to start.
		return higher
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
		return h.family == "heap.max" && h.name == "MaxHeapSize"
	case h.name == "MaxRAM":
		return l.name == "MaxHeapSize"
	}
	return true
}

// orderMatters are repeatables of which an equal later one is not superfluous:
// "-Xlog:gc -Xlog:disable -Xlog:gc", "-ea -da:x -ea".
func orderMatters(arg string) bool {
	for _, p := range []string{"-Xlog", "-ea", "-da", "-enableassertions", "-disableassertions", "-esa", "-dsa"} {
		if strings.HasPrefix(arg, p) {
			return true
		}
	}
	return false
}

// together are the collector pairs that JDK 8 accepts.
func together(a, b string) bool {
	pair := func(x, y string) bool { return a == x && b == y || a == y && b == x }
	return pair("UseConcMarkSweepGC", "UseParNewGC") || pair("UseParallelGC", "UseParallelOldGC")
}
