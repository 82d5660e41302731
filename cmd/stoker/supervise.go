package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stoker-init/stoker/internal/api"
	"github.com/stoker-init/stoker/internal/config"
	"github.com/stoker-init/stoker/internal/pid1"
	"github.com/stoker-init/stoker/internal/proc"
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

// The collector runs seldom while the supervisor starts: hardly anything of that is
// garbage yet, and the heap is a few MiB. Later garbage is cheaper than pages.
const (
	startPercent = 400
	laterPercent = 50
)

// The threads that the supervisor may need at once are made while there are pids
// for them; see pid1.SpareThreads.
const (
	spareThreads = 8
	spareDelay   = 100 * time.Millisecond
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
	outlets := proc.StdOutlets()
	queue := newLogQueue(outlets[1])
	log := hclog.New(&hclog.LoggerOptions{Name: "stoker", Output: queue, Level: hclog.Info})
	m, rec, err := proc.Connect(pid1.SocketFD, proc.Options{Outlets: outlets,
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
	m.Flush(flushTime)
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
	r.hooks.begin(m, rec, r)
	r.sup = supervisor.New(m, rec, r.plan().set(), supervisor.Options{Command: len(opts.command) > 0, Log: log,
		Reload: func() { r.reloadFor("SIGHUP") }, OOM: oomCount, LogAfter: queue.after, Stops: r.journal.stopping, Companion: r.hooks})
	r.jvms = newRunningJVMs(r.sup, r.plan, log)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	b := &backend{Supervisor: r.sup, upgrades: newUpgrades(m, log), jvmTools: newJVMTools(r.sup, r.plan().attacher, log), reloader: r}
	serve := func() { serveAPI(ctx, m, rec, b, log) }
	if rec.Starts > 1 || r.hooks.any() {
		serve() // somebody may be waiting for it, and hooks may ask it
	} else {
		time.AfterFunc(apiDelay, serve) // the services first
	}
	time.AfterFunc(spareDelay, func() { pid1.SpareThreads(spareThreads) })
	time.AfterFunc(settleTime, func() {
		pid1.CatchInto(sigs)
		pid1.CatchRest(sigs)
		r.watch(ctx)
		debug.SetGCPercent(laterPercent)
		pid1.ReturnStartup()
		time.AfterFunc(supervisor.DebuggerTime, pid1.ReturnStartup) // what the search for debuggers has used
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

// serveAPI opens the API; without it the application still runs.
func serveAPI(ctx context.Context, m *proc.Manager, rec *proc.Recovered, b *backend, log hclog.Logger) {
	l, path, err := apiListener(m, rec, b.reloader.plan().config.API.Socket)
	if err != nil {
		log.Warn("the API is off: status, stop and logs will not work", "error", err)
		return
	}
	log.Debug("api", "socket", path)
	b.reloader.socketPath.Store(&path)
	server := api.New(api.Options{Backend: b, Version: version, Log: log.Named("api"),
		Viewers: func() []int { return b.reloader.plan().viewers() }, Events: b.reloader.journal.events, Member: b.confinedService})
	go func() { // ends with ctx
		if err := server.Serve(ctx, l); err != nil {
			log.Error("the API has stopped", "error", err)
		}
	}()
}

// apiListener takes the listening socket out of the bag, so that a client which
// connects while no supervisor works waits instead of being refused, or opens one.
func apiListener(m *proc.Manager, rec *proc.Recovered, configured string) (net.Listener, string, error) {
	if fds := rec.Files[apiItem]; len(fds) == 1 {
		f := os.NewFile(uintptr(fds[0]), "api")
		l, err := net.FileListener(f)
		f.Close()
		if err == nil {
			return l, string(rec.Blobs[apiItem]), nil
		}
	}
	l, path, err := api.Listen(configured, os.Getenv)
	if err != nil {
		return nil, "", err
	}
	raw, err := l.(*net.UnixListener).SyscallConn()
	if err != nil {
		return l, path, err
	}
	var putErr error // not by File: its Fd would make the socket a blocking one
	err = raw.Control(func(fd uintptr) { putErr = m.Put(apiItem, []byte(path), int(fd)) })
	return l, path, errors.Join(err, putErr)
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
