package daemon

import (
	"context"
	"net"
	"os"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stoker-init/stoker/internal/api"
	"github.com/stoker-init/stoker/internal/filewatch"
	"github.com/stoker-init/stoker/internal/proc"
	"golang.org/x/sys/unix"
)

// apiServer serves the API and restores its socket when it is removed. Services run without it.
type apiServer struct {
	ctx    context.Context
	daemon *daemon
	log    hclog.Logger
	server func() *api.Server // made when it is first needed

	mu        sync.Mutex   // guards the fields below
	listener  net.Listener // nil: not listening
	path      string       // empty: never opened
	file      unix.Stat_t  // the socket at path
	lastError string       // the last logged open error
	retry     *time.Timer  // opens it after openPause
	watched   bool
	tcp       tcpListener
}

func newAPIServer(ctx context.Context, d *daemon) *apiServer {
	a := &apiServer{ctx: ctx, daemon: d, log: d.log}
	a.retry = time.AfterFunc(time.Hour, func() {
		if ctx.Err() == nil {
			a.reopenAndWatch()
		}
	})
	a.retry.Stop()
	a.server = sync.OnceValue(func() *api.Server {
		return api.New(api.Options{Backend: apiBackend(d), Version: d.program.Version, Log: d.log.Named("api"),
			Viewers: func() []int { return d.currentPlan().viewers },
			Labels:  func() map[string]string { return d.currentPlan().Config.Labels }, Events: d.journal.events, Member: d.confinedOwner,
			Gate: d.gate, Sessions: d.console, Recordings: d.recordings})
	})
	return a
}

// begin takes the listening sockets from the fd store: clients that connected while no supervisor ran have waited in their queues. It
// opens a new unix socket if the path leads elsewhere.
func (a *apiServer) begin(rec *proc.Recovered) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if l, path := takeListener(rec, apiItem); l != nil {
		a.serve(l, path)
		if conn, err := net.Dial("unix", a.path); err == nil {
			conn.Close()
		} else {
			a.file = unix.Stat_t{} // the socket at the path is not this one
		}
	}
	a.open()
	if l, address := takeListener(rec, tcpItem); l != nil {
		a.tcp.listener, _ = l.(*net.TCPListener)
		a.tcp.address = address
	}
	a.openTCP()
}

// takeListener takes a listening socket and its address from the fd store; nil: it has none.
func takeListener(rec *proc.Recovered, item string) (l net.Listener, address string) {
	f, data, err := rec.TakeFile(item)
	if err != nil {
		return nil, ""
	}
	defer f.Close()
	l, _ = net.FileListener(f)
	return l, string(data)
}

// serve serves a listener at a path; mu is held.
func (a *apiServer) serve(l net.Listener, path string) {
	a.listener, a.path, a.file = l, path, unix.Stat_t{}
	_ = unix.Lstat(path, &a.file) // a missing socket is reopened
	a.daemon.socketPath.Store(&path)
	a.answer(l)
}

// answer answers on a listener until ctx ends, or the listener is closed.
func (a *apiServer) answer(l net.Listener) {
	go func() { // ends with ctx, or when l is closed
		if err := a.server().Serve(a.ctx, l); err != nil {
			a.log.Error("the API has stopped", "error", err)
		}
	}()
}

// drainTime is how long a replaced socket still accepts the connections in its queue.
const drainTime = time.Second

// openPause is the delay before another attempt to open the socket: the removal of an obstacle need not cause a file event.
const openPause = time.Second

// open opens the socket unless it is at its path; mu is held. A file that is not stoker's is left there.
func (a *apiServer) open() {
	var now unix.Stat_t
	if a.listener != nil && unix.Lstat(a.path, &now) == nil && now.Dev == a.file.Dev && now.Ino == a.file.Ino {
		return
	}
	wanted := a.path
	if wanted == "" {
		wanted = a.daemon.currentPlan().Config.API.Socket
	}
	l, path, err := api.Listen(wanted, os.Getenv)
	if err != nil {
		if err.Error() != a.lastError {
			a.lastError = err.Error()
			a.log.Warn("the API is off: status, stop and logs will not work", "error", err, "hint",
				"repair it; it is opened again within a second or two")
		}
		a.retry.Reset(openPause)
		return
	}
	if a.listener != nil {
		a.log.Warn("the API socket had been removed; it is open again", "socket", path)
		old := a.listener
		time.AfterFunc(drainTime, func() { old.Close() })
	}
	a.lastError = ""
	a.serve(l, path)
	if err := a.daemon.m.FDStore().PutFile(apiItem, []byte(path), l.(*net.UnixListener)); err != nil {
		// The next supervisor opens a new socket.
		a.log.Warn("the API's socket is not kept for the next supervisor: clients are refused until that one has opened its own",
			"error", err)
	}
}

// reopenAndWatch opens the socket if needed. The first call starts the watch of its path.
func (a *apiServer) reopenAndWatch() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.open()
	if a.watched || a.path == "" {
		return
	}
	w, err := filewatch.NewPath(a.path)
	if err != nil {
		a.log.Warn("the API's socket is not watched: where it is removed, HUP opens it again", "error", err)
		return
	}
	a.watched = true
	go func() { // ends with ctx
		if err := w.Run(a.ctx, a.reopenAndWatch); err != nil {
			a.log.Warn("the API's socket is not watched any more: where it is removed, HUP opens it again", "error", err)
		}
	}()
	a.open() // it may have been removed before the watch began
}
