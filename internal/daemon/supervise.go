// Package daemon is the composition root of the supervisor process: it makes the
// services, hooks and plugins of the configuration, reloads it, and serves the API.
package daemon

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stoker-init/stoker/internal/config"
	"github.com/stoker-init/stoker/internal/exit"
	"github.com/stoker-init/stoker/internal/initproto"
	"github.com/stoker-init/stoker/internal/logs"
	"github.com/stoker-init/stoker/internal/memory"
	"github.com/stoker-init/stoker/internal/proc"
	"github.com/stoker-init/stoker/internal/signals"
	"github.com/stoker-init/stoker/jvm/launch"
	"github.com/stoker-init/stoker/supervisor"
)

// Options are the arguments of stoker run.
type Options struct {
	File         string // of the configuration; empty: the default
	Set          []string
	WithServices bool
	Force        bool // also where a stoker runs services already
	Command      []string
}

// Alone says whether the command is all that is to run.
func (o Options) Alone() bool { return len(o.Command) > 0 && !o.WithServices }

// Program is what the supervisor process takes from the command that it is.
type Program struct {
	Version string
	Args    []string // of run
	// Parse reads arguments of run. It returns nil if they only ask for help, which it
	// prints.
	Parse func(args []string) (*Options, error)
	// Report prints an error, and returns its exit code.
	Report func(error) int
}

// Bag items of this file.
const (
	configItem = "config"
	apiItem    = "api"
)

// flushTime is what the output that is still to be passed on gets at the end.
const flushTime = 300 * time.Millisecond

// settleTime is after the start, when most of what it needed is not needed again.
const settleTime = 2 * time.Second

// With one service the collector does not run while the supervisor starts: the heap is
// then below the least at which it does. With many it keeps the largest memory small,
// which counts in a small container. Later garbage is cheaper than pages.
const (
	startPercent = 100
	laterPercent = 50
)

// apiDelay is how much later than the services the API starts.
const apiDelay = 5 * time.Millisecond

// Run is the supervisor's main. Signals that somebody sends to it directly
// are ignored, once there is time to ask for them; those of the container come
// from the init, which has also seen to it that none is ignored or blocked here.
func Run(program Program) int {
	sigs := make(chan os.Signal, 16)
	signal.Notify(sigs, syscall.SIGPIPE) // a reader of stdout that goes away must not end us
	dropOneProcessor()
	debug.SetGCPercent(startPercent)
	outlets := logs.StdSinks()
	queue := newLogQueue(outlets[1])
	log := hclog.New(&hclog.LoggerOptions{Name: "stoker", Output: queue, Level: hclog.Info})
	m, rec, err := proc.Connect(initproto.SocketFD, proc.Options{Sinks: outlets,
		Warn: func(msg string) { log.Warn(msg) }, OOMRaise: launch.OOMRaise})
	if err != nil {
		return program.Report(&exit.Error{Err: err, Hint: "this is a command of stoker's own; use stoker run", Code: exit.Usage})
	}
	go func() { // ends with the process
		for s := range sigs {
			log.Debug("signal to the supervisor ignored; send it to the init", "signal", s, "init", m.InitPid())
		}
	}()
	code := runSupervisor(m, rec, log, queue, sigs, program)
	m.Logs.Flush(flushTime)
	queue.flush(flushTime)
	m.Final(code.code, code.grace)
	return 0 // the init has the word, also after our end
}

// ending is how the container ends.
type ending struct {
	code  int
	grace time.Duration
}

// runSupervisor runs the services until the container ends.
func runSupervisor(m *proc.Manager, rec *proc.Recovered, log hclog.Logger, queue *logQueue, sigs chan os.Signal, program Program) ending {
	opts, err := program.Parse(program.Args)
	if err != nil {
		return ending{code: program.Report(err)}
	}
	if opts == nil {
		return ending{}
	}
	r := &reloader{m: m, log: log, program: program, opts: *opts, journal: newJournal(m, rec, log)}
	r.hooks = newHookRunner(log, r.journal)
	if err := r.begin(rec); err != nil {
		return ending{code: program.Report(err)}
	}
	r.level()
	if opts.Alone() { // the init can run it with less
		m.OnLack(func(err error) {
			log.Error("the command cannot be started here", "error", err)
			queue.flush(flushTime)
			os.Exit(exit.TryLater)
		})
	}
	r.hooks.begin(m, rec, r)
	r.sup = supervisor.New(m, rec, r.plan().set(), supervisor.Options{Command: len(opts.Command) > 0, Log: log,
		Reload: func() { r.api.keep(); r.reloadFor("SIGHUP") }, OOM: launch.OOMCount, LogAfter: queue.after, Stops: r.journal.stopping,
		Listener: r.hooks})
	r.jvms = launch.NewDrift(r.sup, func() map[string]*launch.Launcher { return r.plan().jvmLaunchers() }, log)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	b := &backend{Supervisor: r.sup, upgrades: newUpgrades(m, program.Version, log), jvmTools: newJVMTools(r.sup, r.plan().jvms.Attacher, log), reloader: r}
	r.api = newAPIServer(ctx, b, log)
	serve := func() { r.api.begin(rec) }
	if rec.Starts > 1 || r.hooks.any() {
		serve() // somebody may be waiting for it, and hooks may ask it
	} else {
		time.AfterFunc(apiDelay, serve) // the services first
	}
	time.AfterFunc(settleTime, func() {
		signals.NotifyFirst(sigs)
		signals.NotifyRest(sigs)
		r.watch(ctx)
		r.api.keep()
		debug.SetGCPercent(laterPercent)
		memory.ReleaseStartup()
		time.AfterFunc(supervisor.DebuggerTime, memory.ReleaseStartup) // what the search for debuggers has used
	})
	code := r.sup.Run(ctx, rec)
	return ending{code: code, grace: r.sup.Grace()}
}

// nothingToRun says so, and why Tomcat does not count.
func nothingToRun(noTomcat error) error {
	why, hint, _ := strings.Cut(noTomcat.Error(), "\nhint: ")
	if hint != "" {
		hint = ", or " + hint
	}
	return &exit.Error{Err: fmt.Errorf("cannot run: no command is given, no service is configured, and there is no Tomcat to run: %s", why),
		Hint: "stoker run -- CMD ARGS, or write /etc/stoker/stoker.yaml" + hint, Code: exit.Usage}
}

// commandName is the service's name of `run -- CMD`.
func commandName(argv []string) string {
	name := ""
	for _, r := range filepath.Base(argv[0]) {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || name != "" && (r == '-' || r == '_' || r == '.') {
			name += string(r)
		}
	}
	if name == "" || name == config.AllServices {
		return "command"
	}
	return name[:min(len(name), 64)]
}
