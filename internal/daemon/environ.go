package daemon

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/stoker-init/stoker/internal/initproto"
)

// environMap cuts NAME=VALUE pairs; the last of a name counts, as for execve's
// readers.
func EnvironMap(environ []string) map[string]string {
	out := make(map[string]string, len(environ))
	for _, kv := range environ {
		if k, v, ok := strings.Cut(kv, "="); ok {
			out[k] = v
		}
	}
	return out
}

// environList is the way back, sorted.
func environList(env map[string]string) []string {
	out := make([]string, 0, len(env))
	for k, v := range env {
		out = append(out, k+"="+v)
	}
	slices.Sort(out)
	return out
}

// The supervisor is started with one processor for Go: hand-overs between threads
// cost it more than a second one gives, and the processors are the application's.
// As a variable this counts from the first instruction on, and spares the runtime
// its own reading of the cgroups. The mark says that it is ours, to be kept from
// the services.
const (
	goProcessors = "GOMAXPROCS"
	goOursMark   = "STOKER_SET_GOMAXPROCS"
)

// oneProcessor adds them, unless the user has set the variable.
func OneProcessor(environ []string) []string {
	if _, set := os.LookupEnv(goProcessors); set {
		return environ
	}
	return append(environ, goProcessors+"=1", goOursMark+"=1")
}

// dropOneProcessor takes them out of our own environment again.
func dropOneProcessor() {
	if os.Getenv(goOursMark) != "" {
		_ = os.Unsetenv(goProcessors) // a name without "=" cannot be refused
		_ = os.Unsetenv(goOursMark)
	}
}

// uniqueID names a process that is no service. The time of its start keeps it
// apart from those of an earlier supervisor.
func uniqueID(kind string) string { return fmt.Sprintf("%s@%d", kind, initproto.BootNow()) }
