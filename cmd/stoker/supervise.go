package main

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
	"github.com/stoker-init/stoker/internal/initproto"
	"github.com/stoker-init/stoker/internal/logs"
	"github.com/stoker-init/stoker/internal/memory"
	"github.com/stoker-init/stoker/internal/proc"
	"github.com/stoker-init/stoker/internal/signals"
	"github.com/stoker-init/stoker/supervisor"
)

// runOptions are the arguments of run.
type runOptions struct {
	file         string
	set          []string
	withServices bool
	force        bool // also where a stoker runs services already
	command      []string
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

// supervise is the supervisor's main. Signals that somebody sends to it directly
// are ignored, once there is time to ask for them; those of the container come
// from the init, which has also seen to it that none is ignored or blocked here.
func supervise(args []string) int {
	sigs := make(chan os.Signal, 16)
	signal.Notify(sigs, syscall.SIGPIPE) // a reader of stdout that goes away must not end us
	dropOneProcessor()
	debug.SetGCPercent(startPercent)
	outlets := logs.StdSinks()
	queue := newLogQueue(outlets[1])
	log := hclog.New(&hclog.LoggerOptions{Name: "stoker", Output: queue, Level: hclog.Info})
	m, rec, err := proc.Connect(initproto.SocketFD, proc.Options{Sinks: outlets,
		Warn: func(msg string) { log.Warn(msg) }, OOMRaise: oomRaise})
	if err != nil {
		complain(os.Stderr, &hintError{err, "this is a command of stoker's own; use stoker run", 0})
		return codeUsage
	}
	go func() { // ends with the process
		for s := range sigs {
			log.Debug("signal to the supervisor ignored; send it to the init", "signal", s, "init", m.InitPid())
		}
	}()
	code := runSupervisor(m, rec, log, queue, sigs, args)
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
func runSupervisor(m *proc.Manager, rec *proc.Recovered, log hclog.Logger, queue *logQueue, sigs chan os.Signal, args []string) ending {
	opts, help, err := parseRun(args)
	if help && err == nil {
		return ending{}
	}
	r := &reloader{m: m, log: log, opts: opts, journal: newJournal(m, rec, log)}
	r.hooks = newHookRunner(log, r.journal)
	if err == nil {
		err = r.begin(rec)
	}
	if err != nil {
		complain(os.Stderr, err)
		return ending{code: exitCode(err)}
	}
	r.level()
	if opts.alone() { // the init can run it with less
		m.OnLack(func(err error) {
			log.Error("the command cannot be started here", "error", err)
			queue.flush(flushTime)
			os.Exit(codeNotNow)
		})
	}
	r.hooks.begin(m, rec, r)
	r.sup = supervisor.New(m, rec, r.plan().set(), supervisor.Options{Command: len(opts.command) > 0, Log: log,
		Reload: func() { r.api.keep(); r.reloadFor("SIGHUP") }, OOM: oomCount, LogAfter: queue.after, Stops: r.journal.stopping,
		Companion: r.hooks})
	r.jvms = newRunningJVMs(r.sup, r.plan, log)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	b := &backend{Supervisor: r.sup, upgrades: newUpgrades(m, log), jvmTools: newJVMTools(r.sup, r.plan().attacher, log), reloader: r}
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
	return &hintError{fmt.Errorf("cannot run: no command is given, no service is configured, and there is no Tomcat to run: %s", why),
		"stoker run -- CMD ARGS, or write /etc/stoker/stoker.yaml" + hint, codeUsage}
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
