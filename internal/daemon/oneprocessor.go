package daemon

import "os"

// The supervisor is started with one processor for Go: hand-overs between threads
// cost it more than a second one gives, and the processors are the application's.
// As a variable this counts from the first instruction on, and spares the runtime
// its own reading of the cgroups. The mark says that it is ours, to be kept from
// the services.
const (
	goProcessors = "GOMAXPROCS"
	goOursMark   = "STOKER_SET_GOMAXPROCS"
)

// OneProcessor adds them, unless the user has set the variable.
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
