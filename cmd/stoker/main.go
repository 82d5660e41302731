// Command stoker is the first process of an application container. As `stoker
// run` it is the init (internal/pid1), which starts itself again as the
// supervisor; everything else is a client of that supervisor or looks at the
// container by itself.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/stoker-init/stoker/internal/api"
	"github.com/stoker-init/stoker/internal/daemon"
	"github.com/stoker-init/stoker/internal/execshim"
	"github.com/stoker-init/stoker/internal/exit"
	"github.com/stoker-init/stoker/internal/layeredyaml"
	"github.com/stoker-init/stoker/internal/pid1"
	"github.com/stoker-init/stoker/internal/proc"
)

// version is set by the build.
var version = "dev"

// superviseCommand is the hidden command by which the init starts the supervisor.
const superviseCommand = "supervise"

func main() {
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
		os.Exit(daemon.Run(supervisorProgram(os.Args[2:])))
	case execshim.Command:
		os.Exit(execshim.Run())
	}
	if err := runApp(context.Background(), os.Args); err != nil {
		complain(os.Stderr, err)
		os.Exit(exitCode(err))
	}
}

// supervisorProgram is this command as the supervisor process with the arguments of run.
func supervisorProgram(args []string) daemon.Program {
	return daemon.Program{Version: version, RefuseSecond: refuseSecond,
		Parse: func() (*daemon.Options, error) {
			opts, help, err := parseRun(args)
			if err != nil || help {
				return nil, err
			}
			return &opts, nil
		},
		Report: func(err error) int {
			complain(os.Stderr, err)
			return exitCode(err)
		}}
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

// Exit codes of stoker itself.
const (
	codeFailed   = exit.Failed
	codeUsage    = exit.Usage
	codeRefused  = exit.Refused
	codeNoThing  = exit.NotFound
	codeNoSocket = exit.Unavailable
	codeNoFile   = exit.CannotWrite
	codeNotNow   = exit.TryLater
	codeConfig   = exit.BadConfig
)

// hintError is an error that knows what to try.
type hintError struct {
	error
	hint string
	code int
}

func (e *hintError) Unwrap() error { return e.error }

// exitCode maps an error to the code of the process.
func exitCode(err error) int {
	var hint *hintError
	var coded *exit.Error
	var problems layeredyaml.Problems
	var refused *api.RefusedError
	var start *proc.StartError
	switch {
	case errors.As(err, &hint) && hint.code != 0:
		return hint.code
	case errors.As(err, &coded) && coded.Code != 0:
		return coded.Code
	case errors.As(err, &problems):
		return codeConfig
	case errors.As(err, &refused) && refused.Code == "refused":
		return codeConfig
	case errors.As(err, &refused) && (refused.Code == api.CodeNotNow || refused.Code == api.CodeTimeout):
		return codeNotNow
	case errors.As(err, &refused) && (refused.Code == api.CodeNoRoom || refused.Code == api.CodeFileExists):
		return codeNoFile
	case errors.As(err, &refused) && refused.Code == "bad-parameter":
		return codeUsage
	case errors.As(err, &refused) && refused.Status == 403:
		return codeRefused
	case errors.As(err, &refused) && refused.Status == 404:
		return codeNoThing
	case errors.Is(err, api.ErrNoSocket):
		return codeNoSocket
	case errors.As(err, &start):
		return start.Code()
	}
	return codeFailed
}

// complain tells a person: the error, then what to try.
func complain(f *os.File, err error) {
	w := newDisplay(f)
	fmt.Fprintf(w, "stoker: %v\n", err)
	var hint *hintError
	var coded *exit.Error
	var refused *api.RefusedError
	switch {
	case errors.As(err, &hint) && hint.hint != "":
		fmt.Fprintf(w, "hint: %s\n", hint.hint)
	case errors.As(err, &coded) && coded.Hint != "":
		fmt.Fprintf(w, "hint: %s\n", coded.Hint)
	case errors.As(err, &refused) && refused.Hint != "":
		fmt.Fprintf(w, "hint: %s\n", refused.Hint)
	case errors.Is(err, api.ErrNoSocket):
		fmt.Fprintln(w, "hint: is `stoker run` the container's first process? If the API is off, its log says why. "+
			"STOKER_SOCKET names a socket elsewhere")
	}
}
