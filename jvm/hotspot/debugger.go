package hotspot

import (
	"path/filepath"
	"slices"
	"strconv"
	"strings"
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
	for _, name := range optionVariables() {
		if name != "" {
			args = append(args, strings.Fields(env(name))...)
		}
	}
	for _, arg := range args {
		if options, ok := jdwpOptions(arg); ok {
			return readJDWP(options), true
		}
	}
	return d, false
}

// ownArguments are those before the main class.
func ownArguments(args []string) (own []string) {
	valued := []string{"-cp", "-classpath", "--class-path", "-p", "--module-path", "--upgrade-module-path", "--add-modules", "--add-reads",
		"--add-exports", "--add-opens", "--limit-modules", "--patch-module", "--enable-native-access"}
	for k := 0; k < len(args); k++ {
		switch {
		case slices.Contains(valued, args[k]):
			k++
		case args[k] == "-jar", args[k] == "-m", args[k] == "--module", !strings.HasPrefix(args[k], "-") && !strings.HasPrefix(args[k], "@"):
			return own
		default:
			own = append(own, args[k])
		}
	}
	return own
}

// jdwpOptions are the options of the agent, if an argument loads it.
func jdwpOptions(arg string) (options string, ok bool) {
	if path, ok := strings.CutPrefix(arg, "-agentpath:"); ok {
		path, options, _ := strings.Cut(path, "=")
		return options, strings.HasSuffix(path, "/libjdwp.so")
	}
	for prefix, sep := range map[string]string{"-agentlib:jdwp": "=", "-Xrunjdwp": ":"} {
		if rest, ok := strings.CutPrefix(arg, prefix); ok && (rest == "" || strings.HasPrefix(rest, sep)) {
			return strings.TrimPrefix(rest, sep), true
		}
	}
	return "", false
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
