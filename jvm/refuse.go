package jvm

import (
	"fmt"
	"strconv"
	"strings"
)

// refuse says why an argument cannot be in a layer: it is no JVM option, it
// ends the JVM at once, or it hides other options from the merge. The code is
// empty for what may pass.
func refuse(o Option) (code, why string) {
	arg := o.Args[0]
	name, _, _ := strings.Cut(arg, "=")
	switch {
	case strings.ContainsRune(o.String(), 0):
		return BadValue, "a NUL byte cannot be passed to a program"
	case arg == "":
		return NotAJVMOption, "an empty argument would be taken as the main class"
	case arg[0] == '@', len(o.Args) == 2 && strings.HasPrefix(o.Args[1], "@"):
		return Bypass, "an argument file hides its options; name it in the layer's files"
	case arg[0] != '-' || arg == "-" || arg == "--":
		return NotAJVMOption, "a bare word would be taken as the main class"
	case terminal(name):
		return NotAJVMOption, "it makes java do something else than run the service"
	case strings.HasPrefix(arg, "-XX:Flags="), strings.HasPrefix(arg, "-XX:VMOptionsFile="):
		return Bypass, "a flags file hides its options; name it in the layer's files"
	case incomplete(o):
		return BadValue, "its value is missing"
	case arg == "-XX:" || arg == "-D" || strings.HasPrefix(arg, "-D="):
		return BadValue, "it has no name"
	}
	return refuseValue(o)
}

// terminal options print something and exit with 0, which would look like a
// clean stop, or start another program than the service.
func terminal(name string) bool {
	switch name {
	case "-version", "--version", "-fullversion", "--full-version", "-help", "--help", "-h", "-?",
		"--help-extra", "-X", "-jar", "-m", "--module", "--list-modules", "-d", "--describe-module",
		"--validate-modules", "--dry-run", "--source", "-Xshare:dump", "-XX:+PrintFlagsInitial":
		return true
	}
	return false
}

// refuseValue checks the values that HotSpot would refuse or misread.
func refuseValue(o Option) (code, why string) {
	id := identify(o)
	if !id.size {
		if id.name == "ThreadStackSize" {
			if n, err := sizeOf(id.value); err != nil || n > 1<<20 {
				return BadValue, "the value is a number of KiB, such as 256"
			}
		}
		if id.name == "ActiveProcessorCount" {
			if _, err := strconv.Atoi(id.value); err != nil {
				return BadValue, "the value is a number of CPUs"
			}
		}
		return "", ""
	}
	n, err := sizeOf(id.value)
	switch {
	case err != nil:
		return BadValue, fmt.Sprintf("%q is no size: a whole number with k, m or g, such as 512m", id.value)
	case id.name == "MaxHeapSize" && n < 2*mib:
		return BadValue, "the smallest heap is 2m; a number without a unit is bytes"
	case strings.HasPrefix(o.Args[0], "-Xss") && n > 1<<30:
		return BadValue, "the largest thread stack is 1g"
	}
	return "", ""
}

// removal is an option that a JVM of a later version refuses to start with.
type removal struct {
	name  string
	since int // the first version known to refuse it
	hint  string
}

// removals returns options that were seen to be fatal: 17 and 25 were tried,
// so "since" is the first tried version that refuses and not always the first
// that does.
func removals() []removal {
	const unified = "use -Xlog:gc*"
	return []removal{
		{"PermSize", 17, "use MetaspaceSize"},
		{"MaxPermSize", 17, "use MaxMetaspaceSize"},
		{"UseConcMarkSweepGC", 17, "use UseG1GC"},
		{"UseParNewGC", 17, "use UseG1GC"},
		{"UseParallelOldGC", 17, "use UseParallelGC"},
		{"PrintGCDateStamps", 17, unified},
		{"PrintGCTimeStamps", 17, unified},
		{"UseGCLogFileRotation", 17, "use -Xlog:gc*:file=NAME::filecount=N,filesize=N"},
		{"TraceClassLoading", 17, "use -Xlog:class+load"},
		{"AggressiveOpts", 17, "leave it out"},
		{"UseFastAccessorMethods", 17, "leave it out"},
		{"UnlockCommercialFeatures", 17, "leave it out"},
		{"UseCGroupMemoryLimitForHeap", 17, "leave it out: limits are respected"},
		{"-Xincgc", 17, "use UseG1GC"},
		{"MaxRAMFraction", 25, "use MaxRAMPercentage"},
		{"InitialRAMFraction", 25, "use InitialRAMPercentage"},
		{"UseBiasedLocking", 25, "leave it out"},
		{"UseContainerCpuShares", 25, "leave it out"},
		{"PreferContainerQuotaForCPUCount", 25, "leave it out"},
	}
}

// checkRemoved fails for options that the target is known to refuse.
func checkRemoved(r *Result, major int) {
	for _, o := range r.Options {
		id := identify(o)
		for _, gone := range removals() {
			if id.name == gone.name && major >= gone.since {
				r.Errors = append(r.Errors, Problem{RemovedOption, fmt.Sprintf(
					"cannot use %q (%s): Java %d no longer has it; %s", o, o.origin(), major, gone.hint)})
			}
		}
	}
}
