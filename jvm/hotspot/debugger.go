package hotspot

import (
	"path/filepath"
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
	args := ownArguments(argv[1:])
	for _, name := range optionVariables {
		if name != "" {
			args = append(args, strings.Fields(env(name))...)
		}
	}
	for _, arg := range args {
		if options, ok := jvm.Debugger(arg); ok {
			return readJDWP(options), true
		}
	}
	return d, false
}

// ownArguments are those before the main class.
func ownArguments(args []string) (own []string) {
	for k := 0; k < len(args); k++ {
		switch {
		case jvm.TakesValue(args[k]):
			k++
		case args[k] == "-jar", args[k] == "-m", args[k] == "--module", !strings.HasPrefix(args[k], "-") && !strings.HasPrefix(args[k], "@"):
			return own
		default:
			own = append(own, args[k])
		}
	}
	return own
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
