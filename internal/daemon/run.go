// Package daemon is the composition root of the supervisor process: it makes the services, hooks and plugins of the configuration,
// reloads it, and serves the API.
package daemon

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stoker-init/stoker/internal/config"
	"github.com/stoker-init/stoker/internal/exit"
	"github.com/stoker-init/stoker/internal/initproto"
	"github.com/stoker-init/stoker/internal/lifecycle"
	"github.com/stoker-init/stoker/internal/logqueue"
	"github.com/stoker-init/stoker/internal/logs"
	"github.com/stoker-init/stoker/internal/memory"
	"github.com/stoker-init/stoker/internal/network"
	"github.com/stoker-init/stoker/internal/proc"
	"github.com/stoker-init/stoker/internal/redact"
	"github.com/stoker-init/stoker/internal/service"
	"github.com/stoker-init/stoker/internal/signals"
	"github.com/stoker-init/stoker/jvm/launch"
	"github.com/stoker-init/stoker/jvm/training"
	"github.com/stoker-init/stoker/supervisor"
)

// Options are the arguments of stoker run.
type Options struct {
	File         string // the configuration file; empty: the default
	Set          []string
	WithServices bool
	Force        bool // run beside services of another stoker
	Command      []string
	Archive      *training.Options // make a class archive instead; nil: run
}

// Alone reports whether only the command runs.
func (o Options) Alone() bool { return len(o.Command) > 0 && !o.WithServices }

// Program is the command line interface of the supervisor process.
type Program struct {
	Version string
	Args    []string // the command, run or jvm archive, with its arguments
	// Parse parses Args, or those of another stoker. It returns nil after printing help.
	Parse func(args []string) (*Options, error)
	// Report prints an error and returns its exit code.
	Report func(error) int
}

// Items of the fd store.
const (
	configItem = "config"
	apiItem    = "api"
	tcpItem    = "api-tcp"
	loginItem  = "api-logins"
)

// flushTime bounds the forwarding of remaining output at the end.
const flushTime = 300 * time.Millisecond

// settleTime is when memory used only by the start is released.
const settleTime = 2 * time.Second

// With few services the garbage collector is off during the start, as the heap is then below its minimum size. With many services it
// bounds the peak memory, which matters in a small container. Later collections are cheaper than page faults.
const (
	startPercent = 100
	laterPercent = 50
)

// startDelay, and 1 ms for each service, is when the rest starts: the API, and what no service needs.
const startDelay = 5 * time.Millisecond

// Run is the main function of the supervisor process. It ignores signals sent to it directly; the container's signals come from the
// init, which has unblocked and reset all signals of this process.
func Run(program Program) int {
	sigs := make(chan os.Signal, 16)
	signal.Notify(sigs, syscall.SIGPIPE) // a closed stdout must not end the process
	oneProcessor()
	debug.SetGCPercent(startPercent)
	outlets := logs.StdSinks()
	queue := logqueue.New(outlets[1], logLines)
	log := hclog.New(&hclog.LoggerOptions{Name: "stoker", Output: redactedLog{queue}, Level: hclog.Info})
	m, rec, err := proc.Connect(initproto.SocketFD, proc.Options{Sinks: outlets,
		Warn: func(msg string) { log.Warn(msg) }, OOMRaise: launch.OOMRaise})
	if err != nil {
		return program.Report(&exit.Error{Err: err, Hint: "this is a command of stoker's own; use stoker run", Code: exit.Usage})
	}
	go func() { // ends with the process
		for s := range sigs {
			log.Debug("signal to the supervisor ignored; send it to the init", "signal", s, "init", m.Init().Pid)
		}
	}()
	code, grace := runSupervisor(m, rec, log, queue, sigs, program)
	m.Logs.Flush(flushTime)
	queue.Flush(flushTime)
	m.Final(code, grace)
	return 0 // the init ends the container
}

// logLines bounds the log lines queued for a blocked stderr.
const logLines = 512

// redactedLog writes stoker's log without secrets; hclog calls Write once per line.
type redactedLog struct{ *logqueue.Queue }

func (l redactedLog) Write(line []byte) (int, error) {
	_, err := l.Queue.Write([]byte(redact.Text(string(line))))
	return len(line), err
}

// runSupervisor runs the services until the container ends.
func runSupervisor(m *proc.Manager, rec *proc.Recovered, log hclog.Logger, queue *logqueue.Queue, sigs chan os.Signal,
	program Program) (code int, grace time.Duration) {
	opts, err := program.Parse(program.Args)
	if err != nil {
		return program.Report(err), 0
	}
	if opts == nil {
		return 0, 0
	}
	d := &daemon{m: m, log: log, program: program, opts: *opts, journal: newJournal(m, rec, log)}
	d.hooks = newHookRunner(log, d.journal)
	if err := d.begin(rec); err != nil {
		return program.Report(err), 0
	}
	if opts.Archive != nil {
		return d.runTraining(rec)
	}
	d.setLogLevel()
	d.leaveOnShortage(queue)
	d.hooks.start(m, rec, d)
	d.startExecutor(rec)
	d.gate = newGate(d, rec)
	d.startConsole(rec)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	d.network = network.New(ctx, network.Options{Log: log.Named("netinit"), Folder: NetworkFolder(), Env: service.EnvironMap(os.Environ()),
		Drifted: func(differences string) { d.hooks.containerEvent(lifecycle.NetworkDrift, differences) }, Save: m.FDStore().PutJSON})
	opening := d.network.Opening(d.currentPlan().network())
	d.sockets = newSockets(m.Listeners, log)
	d.sup = supervisor.New(m, rec, d.currentPlan().supervisorSet(), supervisor.Options{Command: len(opts.Command) > 0, Log: log,
		Reload: func() { d.api.reopenAndWatch(); d.reloadAndLog("SIGHUP"); d.api.configureTCP() }, OOM: launch.OOMCount, LogAfter: queue.After,
		Stops:    d.journal.stopping,
		Entered:  d.entered,
		StopJobs: d.stopJobs,
		Listener: d.hooks, Network: opening})
	if opening != nil && d.sup.Opened(rec) {
		d.network.Resume(d.currentPlan().network(), rec.Items)
	}
	d.sockets.resume(d.sup.Services())
	if opening == nil {
		d.sockets.early = d.openSockets
	}
	d.jvms = launch.NewDrift(d.sup, func() map[string]*launch.Launcher { return d.currentPlan().jvmLaunchers() },
		launch.Cuts(rec.Items), log)
	d.engines = d.startEngines(ctx)
	d.api = newAPIServer(ctx, d)
	afterStart := func() { d.afterStart(ctx, rec, sigs) }
	if rec.Starts > 1 || d.hooks.hasHooks() || opening != nil || len(d.currentPlan().jvmLaunchers()) > 0 {
		afterStart() // clients may be waiting, hooks may use the API, the network may take its time, and JVMs are started with the limits
	} else {
		services := time.Duration(len(d.currentPlan().definitions))
		time.AfterFunc(startDelay+services*time.Millisecond, afterStart) // the services start first
	}
	code = d.sup.Run(ctx, rec)
	return code, d.sup.Grace()
}

// leaveOnShortage ends this process if a command alone cannot be started: the init can run it with less memory.
func (d *daemon) leaveOnShortage(queue *logqueue.Queue) {
	if d.opts.Alone() {
		d.m.OnShortage(func(err error) {
			d.log.Error("the command cannot be started here", "error", err)
			queue.Flush(flushTime)
			os.Exit(exit.TryLater)
		})
	}
}

// afterStart begins what no service needs for its start, and ends the start later.
func (d *daemon) afterStart(ctx context.Context, rec *proc.Recovered, sigs chan os.Signal) {
	d.api.begin(rec)
	d.saveFirstConfig()
	limits := knownLimits(rec.Items)
	time.AfterFunc(settleTime, func() {
		signals.NotifyFirst(sigs)
		signals.NotifyRest(sigs)
		d.watch(ctx)
		d.watchLimits(ctx, limits)
		d.api.reopenAndWatch()
		debug.SetGCPercent(laterPercent)
		memory.ReleaseStartup()
		time.AfterFunc(supervisor.DebuggerTime, memory.ReleaseStartup) // memory used by the debugger search
	})
}

// errNothingToRun explains why there is nothing to run, Tomcat included.
func errNothingToRun(noTomcat error) error {
	why, hint, _ := strings.Cut(noTomcat.Error(), "\nhint: ")
	if hint != "" {
		hint = ", or " + hint
	}
	return &exit.Error{Err: fmt.Errorf("cannot run: no command is given, no service is configured, and there is no Tomcat to run: %s", why),
		Hint: "stoker run -- CMD ARGS, or write /etc/stoker/stoker.yaml" + hint, Code: exit.Usage}
}

// commandName returns the service name of `run -- CMD`.
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

// The supervisor runs with GOMAXPROCS=1. Switches between threads cost it more than a second processor gains, and the processors are the
// application's. And while the one processor is in a clone no other goroutine runs, so none sees the child before it executes its program:
// until then it has the pipes of other processes open, and would be taken for a member of theirs. As an environment variable the setting
// applies from the first instruction. The mark tells oneProcessor to hide the variable from the services.
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

// oneProcessor removes both variables from the environment of this process. GOMAXPROCS of the user is for the services alone.
func oneProcessor() {
	if os.Getenv(goOursMark) != "" {
		_ = os.Unsetenv(goProcessors) // fails only for a name with "="
		_ = os.Unsetenv(goOursMark)
	} else {
		runtime.GOMAXPROCS(1)
	}
}
