package daemon

import "os"

// The supervisor runs with GOMAXPROCS=1: switches between threads cost it more than a second processor gains, and the processors are
// the application's. As an environment variable the setting applies from the first instruction and saves the runtime its reading of
// the cgroups. The mark tells dropOneProcessor to hide the variable from the services.
const (
	goProcessors = "GOMAXPROCS"
	goOursMark   = "STOKER_SET_GOMAXPROCS"
)

// OneProcessor adds both variables unless the user has set GOMAXPROCS.
func OneProcessor(environ []string) []string {
	if _, set := os.LookupEnv(goProcessors); set {
		return environ
	}
	return append(environ, goProcessors+"=1", goOursMark+"=1")
}

// dropOneProcessor removes both variables from the environment of this process.
func dropOneProcessor() {
	if os.Getenv(goOursMark) != "" {
		_ = os.Unsetenv(goProcessors) // fails only for a name with "="
		_ = os.Unsetenv(goOursMark)
	}
}
