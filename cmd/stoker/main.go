// Command stoker is the first process of an application container. As `stoker run` it is
// the init (internal/pid1), which starts itself again as the supervisor
// (internal/daemon). Every other command is a client of that supervisor, or looks at the
// container by itself.
//
// Init and supervisor run on one processor, and commands need few: the runtime need not read the cgroups at each start.
//
//go:debug containermaxprocs=0
package main

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"

	"github.com/stoker-init/stoker/internal/api"
	"github.com/stoker-init/stoker/internal/daemon"
	"github.com/stoker-init/stoker/internal/display"
	"github.com/stoker-init/stoker/internal/execshim"
	"github.com/stoker-init/stoker/internal/exit"
	"github.com/stoker-init/stoker/internal/layeredyaml"
	"github.com/stoker-init/stoker/internal/pid1"
	"github.com/stoker-init/stoker/internal/program"
	"github.com/stoker-init/stoker/internal/tzdata"
)

// version is set by the build.
var version = "dev"

// The hidden commands by which the init starts the supervisor: that of run, and that of jvm archive.
const (
	superviseCommand        = "supervise"
	superviseArchiveCommand = "supervise-archive"
)

func main() {
	tzdata.Register() // images with a JRE often have no time zones
	role := ""
	if len(os.Args) > 1 {
		role = os.Args[1]
	}
	switch role {
	case "run":
		sigs := pid1.Catch()
		if wantsHelp(os.Args[2:]) {
			break
		}
		args := append([]string{"stoker", superviseCommand}, os.Args[2:]...)
		os.Exit(pid1.Run(sigs, pid1.Options{Args: args, Env: daemon.OneProcessor(os.Environ()), Log: os.Stderr, Version: version,
			Command: func() *pid1.Command { return commandAlone(os.Args[2:]) }}))
	case superviseCommand:
		os.Exit(daemon.Run(daemon.Program{Version: version, Args: append([]string{"run"}, os.Args[2:]...), Parse: parseCommand, Report: report}))
	case superviseArchiveCommand:
		os.Exit(daemon.Run(daemon.Program{Version: version, Args: os.Args[2:], Parse: parseCommand, Report: report}))
	case execshim.Command:
		os.Exit(execshim.Run())
	}
	p := newApp(startInit)
	if err := p.Run(context.Background(), os.Args); err != nil {
		os.Exit(report(err))
	}
}

// startInit makes this process the init of a command that starts services; run is handled in main.
func startInit(o daemon.Options) error {
	if o.Archive == nil {
		return errors.New("cannot run from here")
	}
	os.Exit(pid1.Run(pid1.Catch(), pid1.Options{Args: append([]string{"stoker", superviseArchiveCommand}, os.Args[1:]...),
		Env: daemon.OneProcessor(os.Environ()), Log: os.Stderr, Version: version, Command: func() *pid1.Command { return nil }}))
	return nil
}

func report(err error) int {
	printError(os.Stderr, err)
	return exitCode(err)
}

// wantsHelp says whether the flags before a command ask for help: then there is
// nothing to be the init of.
func wantsHelp(args []string) bool {
	for _, a := range args {
		switch {
		case a == "--help" || a == "-h":
			return true
		case a == "--" || a == "" || a[0] != '-':
			return false
		}
	}
	return false
}

func exitCode(err error) int {
	var coded *exit.Error
	var problems layeredyaml.Problems
	var refused *api.StatusError
	var start *program.StartError
	switch {
	case errors.As(err, &coded) && coded.Code != 0:
		return coded.Code
	case errors.As(err, &problems):
		return exit.BadConfig
	case errors.As(err, &refused):
		byCode := map[string]int{"refused": exit.BadConfig, api.CodeNotNow: exit.TryLater, api.CodeTimeout: exit.TryLater,
			api.CodeNoRoom: exit.CannotWrite, api.CodeFileExists: exit.CannotWrite, "bad-parameter": exit.Usage,
			api.CodeConsoleOff: exit.Unavailable}
		byStatus := map[int]int{http.StatusUnauthorized: exit.Refused, http.StatusForbidden: exit.Refused, http.StatusNotFound: exit.NotFound,
			http.StatusTooManyRequests: exit.TryLater}
		return cmp.Or(byCode[refused.Code], byStatus[refused.Status], exit.Failed)
	case errors.Is(err, api.ErrNoSocket):
		return exit.Unavailable
	case errors.As(err, &start):
		return start.Code()
	}
	return exit.Failed
}

// printError prints an error, and a hint what to do next.
func printError(f *os.File, err error) {
	w := display.New(f)
	var coded *exit.Error
	var refused *api.StatusError
	var hinted *api.HintedError
	if errors.As(err, &coded) && coded.Err == nil {
		return
	}
	fmt.Fprintf(w, "stoker: %v\n", err)
	hint := ""
	switch {
	case errors.As(err, &coded) && coded.Hint != "":
		hint = coded.Hint
	case errors.As(err, &refused) && refused.Status == http.StatusUnauthorized:
		hint = "--token-file FILE has the token for it, --cert and --key a client certificate"
	case errors.As(err, &refused) && refused.Hint != "":
		hint = refused.Hint
	case errors.As(err, new(x509.UnknownAuthorityError)):
		hint = "--ca FILE names the authorities that are trusted"
	case errors.As(err, &hinted):
		hint = hinted.Hint
	case errors.Is(err, api.ErrNoSocket):
		hint = "is `stoker run` the container's first process? If the API is off, its log says why. STOKER_SOCKET names another socket"
	}
	if hint != "" {
		fmt.Fprintln(w, "hint: "+hint)
	}
}
