package hotspot

import (
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/stoker-init/stoker/jvm"
)

// Debugger is the configuration of a JVM's jdwp agent.
type Debugger struct {
	Port    int  // that it listens on or connects to; 0: it chooses one
	Server  bool // it listens; else it connects to the debugger
	Suspend bool // it waits for a debugger where it would listen
}

// FindDebugger looks for the agent in a JVM's command line and in the variables that
// it reads itself.
func FindDebugger(argv []string, env func(name string) string) (d Debugger, found bool) {
	if len(argv) == 0 || filepath.Base(argv[0]) != "java" {
		return d, false
	}
	for _, arg := range ownOptions(argv, env) {
		if options, ok := jvm.Debugger(arg); ok {
			return readJDWP(options), true
		}
	}
	return d, false
}

// ownOptions are the options of a JVM in the order in which it takes them: of its variables, and of its command line
// before the main class.
func ownOptions(argv []string, env func(name string) string) []string {
	var own []string
	for k := 1; k < len(argv); k++ {
		arg := argv[k]
		if arg == "-jar" || arg == "-m" || arg == "--module" || !strings.HasPrefix(arg, "-") && !strings.HasPrefix(arg, "@") {
			break
		}
		if own = append(own, arg); jvm.TakesValue(arg) {
			k++
		}
	}
	before, after := env("JAVA_TOOL_OPTIONS")+" "+env("JDK_JAVA_OPTIONS"), env("_JAVA_OPTIONS")
	return slices.Concat(strings.Fields(before), own, strings.Fields(after))
}

func readJDWP(options string) Debugger {
	d := Debugger{Suspend: true}
	onDemand := false
	for option := range strings.SplitSeq(options, ",") {
		switch name, value, _ := strings.Cut(option, "="); name {
		case "server":
			d.Server = value == "y"
		case "suspend":
			d.Suspend = value == "y"
		case "onjcmd":
			onDemand = value == "y"
		case "address":
			d.Port, _ = strconv.Atoi(value[strings.LastIndexByte(value, ':')+1:]) // 0: not TCP
		}
	}
	d.Suspend = d.Suspend && !onDemand // a debugger that attaches later finds a running JVM
	return d
}
