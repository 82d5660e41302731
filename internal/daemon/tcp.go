package daemon

import (
	"context"
	"encoding/json"
	"net"
	"slices"
	"time"

	"github.com/stoker-init/stoker/internal/access"
	"github.com/stoker-init/stoker/internal/filewatch"
	"github.com/stoker-init/stoker/internal/proc"
	"golang.org/x/sys/unix"
)

// tcpListener is the API's listener of TCP; apiServer.mu guards it. Without api.listen it is empty.
type tcpListener struct {
	listener *net.TCPListener   // nil: not open
	address  string             // scheme and api.listen that it was opened for
	served   bool               // false: it waits for good files
	files    []string           // that are watched
	unwatch  context.CancelFunc // of the files; nil: they are not watched
	problem  string             // the last logged one
	retry    *time.Timer        // nil: none was needed
}

// filesPause is the delay before the files of api are read again while one cannot be used: a chmod, which may be what is missing, causes no
// event.
const filesPause = 5 * time.Second

// configureTCP applies the present configuration, and reads its files again.
func (a *apiServer) configureTCP() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ctx.Err() == nil {
		a.openTCP()
	}
}

// openTCP opens, replaces or closes the listener as it is configured; mu is held.
func (a *apiServer) openTCP() {
	t, cfg := &a.tcp, a.daemon.currentPlan().Config.API.Config
	if cfg.Listen == "" && t.listener == nil && t.files == nil {
		return
	}
	if files := cfg.Files(); !slices.Equal(files, t.files) {
		t.files = files
		a.watchTCP() // before they are read
	}
	err := a.daemon.gate.Configure(cfg)
	address := cfg.Scheme() + "://" + cfg.Listen
	if t.listener != nil && t.address != address {
		stopListening(t.listener)
		t.listener, t.served = nil, false
		a.daemon.m.FDStore().Delete(tcpItem)
	}
	if t.address = address; cfg.Listen == "" {
		a.daemon.m.FDStore().Delete(loginItem)
		return
	}
	hint := "repair it; it is tried again every few seconds, and until then what was read before is in force, but no token of a removed file"
	if a.daemon.gate.Ready() && !t.served {
		openErr := a.serveTCP(cfg.Listen)
		a.daemon.gate.NotServed(openErr)
		if openErr != nil {
			err, hint = openErr, "ss -ltnp shows which process has a port; api.listen can name another one; it is tried again every few seconds"
		}
	}
	if err == nil {
		t.problem = ""
		return
	}
	if t.retry == nil {
		t.retry = time.AfterFunc(filesPause, a.configureTCP)
	}
	t.retry.Reset(filesPause)
	if err.Error() != t.problem {
		t.problem = err.Error()
		a.log.Error("API over TCP: a file or the address cannot be used", "listen", cfg.Listen, "error", err, "hint", hint)
	}
}

// stopListening closes a listener, and ends its queue for all that have a copy: the init, until it has deleted its own, would keep the
// port in use.
func stopListening(l *net.TCPListener) {
	f, err := l.File()
	_ = l.Close() // first, so that its server sees a listener that was closed
	if err == nil {
		_ = unix.Shutdown(int(f.Fd()), unix.SHUT_RDWR)
		f.Close()
	}
}

// serveTCP answers on the listener of the supervisor before, or on a new one; mu is held.
func (a *apiServer) serveTCP(listen string) error {
	t := &a.tcp
	if t.listener == nil {
		var config net.ListenConfig
		config.SetMultipathTCP(false) // its sockets lack options that the console sets
		l, err := config.Listen(a.ctx, "tcp", listen)
		if err != nil {
			return err
		}
		t.listener = l.(*net.TCPListener)
		if err := a.daemon.m.FDStore().PutFile(tcpItem, []byte(t.address), t.listener); err != nil {
			a.log.Warn("the TCP listener is not kept for the next supervisor: clients are refused until that one has opened its own",
				"error", err)
		}
	}
	t.served = true
	a.log.Info("the API is served over TCP", "address", t.address)
	a.answer(t.listener)
	return nil
}

// watchTCP watches the files of api, and no others any more; mu is held.
func (a *apiServer) watchTCP() {
	t := &a.tcp
	if t.unwatch != nil {
		t.unwatch()
		t.unwatch = nil
	}
	if len(t.files) == 0 {
		return
	}
	w, err := filewatch.New(filewatch.FileSet{Files: t.files})
	if err != nil {
		a.log.Warn("the files of api are not watched; HUP reads them again", "error", err)
		return
	}
	var ctx context.Context
	ctx, t.unwatch = context.WithCancel(a.ctx)
	go func() { // ends with ctx
		if err := w.Run(ctx, a.configureTCP); err != nil {
			a.log.Warn("the files of api are not watched any more; HUP reads them again", "error", err)
		}
	}()
}

// newGate makes the gate of the API, with the logins of the supervisor before. The console's sessions ask it too, at once: a gate that
// knew nothing would end them.
func newGate(d *daemon, rec *proc.Recovered) *access.Gate {
	log := d.log.Named("api")
	g := &access.Gate{Refusals: access.Refusals{Log: log},
		Keep: func(logins any) error { return d.m.FDStore().PutJSON(loginItem, logins) }}
	_ = g.Configure(d.currentPlan().Config.API.Config) // openTCP does it again, and says what is wrong
	var logins json.RawMessage
	found, err := rec.TakeJSON(loginItem, &logins)
	if found && err == nil {
		err = g.Restore(logins)
	}
	if err != nil {
		log.Warn("pages have to log in again", "error", err)
	}
	return g
}
