package jvm

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Rejected reports whether no layer may have the option.
func (o Option) Rejected() bool {
	code, _ := reject(o)
	return code != ""
}

// reject tells why an argument cannot be in a layer: it is no JVM option, it ends the JVM at
// once, or it hides other options from the merge. An empty code: it may be.
func reject(o Option) (code, why string) {
	arg := o.Args[0]
	name, _, _ := strings.Cut(arg, "=")
	switch {
	case strings.ContainsRune(o.String(), 0):
		return BadValue, "a NUL byte cannot be passed to a program"
	case misquoted(o) != "":
		return BadValue, misquoted(o)
	case arg == "":
		return NotAJVMOption, "an empty argument would be taken as the main class"
	case arg == "@" || strings.HasPrefix(arg, "@@"):
		return NotAJVMOption, "it would be taken as a main class that begins with @"
	case arg[0] == '@', len(o.Args) == 2 && strings.HasPrefix(o.Args[1], "@"):
		return Bypass, "an argument file hides its options; name it in the layer's files"
	case arg[0] != '-' || arg == "-" || arg == "--":
		return NotAJVMOption, "a bare word would be taken as the main class"
	case endsJVM(name), arg == "-Xlog:help", strings.HasPrefix(arg, "-agentlib:jdwp=help"), strings.HasPrefix(arg, "-Xrunjdwp:help"):
		return NotAJVMOption, "it makes java do something else than run the service"
	case strings.HasPrefix(arg, "-XXaltjvm"), strings.HasPrefix(arg, "-version:"), strings.HasSuffix(arg, "jre-restrict-search"):
		return Bypass, "another JVM would run than the one that was found and checked"
	case strings.HasPrefix(arg, "-XX:Flags="), strings.HasPrefix(arg, "-XX:VMOptionsFile="):
		return Bypass, "a flags file hides its options; name it in the layer's files"
	case incomplete(o):
		return BadValue, "its value is missing"
	case strings.HasPrefix(arg, "-XX:") && strings.HasSuffix(name, ":"):
		return BadValue, "write = for :=, which hides what is set"
	case arg == "-XX:" || arg == "-D" || strings.HasPrefix(arg, "-D="):
		return BadValue, "it has no name"
	}
	return rejectValue(o)
}

// endsJVM options print something and exit with 0, which would look like a
// clean stop, or start another program than the service.
func endsJVM(name string) bool {
	return slices.Contains([]string{"-version", "--version", "-fullversion", "--full-version", "-help", "--help", "-h", "-?",
		"--help-extra", "-X", "-jar", "-m", "--module", "--list-modules", "-d", "--describe-module",
		"--validate-modules", "--dry-run", "--source", "-Xshare:dump", "-Xinternalversion",
		"-XX:+PrintFlagsInitial", "-XX:+DumpSharedSpaces"}, name)
}

// leastStack is the smallest thread stack of any port, in bytes: 17 and 25 reject
// less on x86_64, older versions and other machines more than that.
const leastStack = 136 << 10

// rejectValue checks values that every version of HotSpot would reject or misread.
func rejectValue(o Option) (code, why string) {
	id := keyOf(o)
	n, err := sizeOf(id.value)
	switch {
	case (strings.HasPrefix(o.Args[0], "-Xminf") || strings.HasPrefix(o.Args[0], "-Xmaxf")) && (err != nil || n > 100):
		return BadValue, "the value is a fraction from 0 to 1"
	case id.name == "ThreadStackSize" && !id.is(sized) && (err != nil || n > 1<<20):
		return BadValue, "the value is a number of KiB, such as 256"
	case id.name == "ThreadStackSize" && !id.is(sized) && n > 0 && n < leastStack>>10:
		return BadValue, "the smallest thread stack is 136 KiB"
	case id.name == "ActiveProcessorCount":
		if _, err := strconv.Atoi(id.value); err != nil {
			return BadValue, "the value is a number of CPUs"
		}
	case !id.is(sized):
	case err != nil:
		return BadValue, fmt.Sprintf("%q is no size: a whole number with k, m or g, such as 512m", id.value)
	case id.name == "MaxHeapSize" && n < 2*mib:
		return BadValue, "the smallest heap is 2m; a number without a unit is bytes"
	case id.name == "InitialHeapSize" && n > 0 && n < mib:
		return BadValue, "the smallest initial heap is 1m; a number without a unit is bytes"
	case id.name == "ThreadStackSize" && n > 1<<30:
		return BadValue, "the largest thread stack is 1g"
	case id.name == "ThreadStackSize" && n > 0 && n < leastStack:
		return BadValue, "the smallest thread stack is 136k; a number without a unit is bytes"
	}
	return "", ""
}
