package daemon

import (
	"errors"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stoker-init/stoker/internal/listen"
	"github.com/stoker-init/stoker/supervisor"
)

// queuePause is the time between two checks of the queues of a service that does not accept connections.
const queuePause = 250 * time.Millisecond

// sockets opens the listening sockets of services that are to run, closes those of services that rest, and reports queues that are full.
type sockets struct {
	set   *listen.Set
	queue func(service string) ([]listen.Queue, error) // set.Status
	log   hclog.Logger
	// early opens the sockets before the service's turn to start comes, so that clients wait from then on; nil: they are opened with the
	// start, when the network is configured.
	early func(service string)

	mu    sync.Mutex
	state map[string]supervisor.State // of the services that do not rest
	full  map[[2]string]fill          // queues that are full, by service and name
	fills map[[2]string]uint64        // how often they were
	watch *time.Timer                 // nil: no queue is watched
}

// fill is a time for which a queue is full, but for gaps of less than gapTime.
type fill struct{ since, last time.Time }

// gapTime keeps a queue at its limit from being reported again and again.
const gapTime = time.Second

func newSockets(set *listen.Set, log hclog.Logger) *sockets {
	return &sockets{set: set, queue: set.Status, log: log, state: map[string]supervisor.State{}, full: map[[2]string]fill{},
		fills: map[[2]string]uint64{}}
}

// resume closes what an earlier supervisor did not close any more, and goes on with the rest.
func (s *sockets) resume(services []supervisor.Snapshot) {
	for _, snap := range services {
		if !snap.Settled {
			s.entered(snap.Name, snap.State, false)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range s.set.Services() {
		if s.state[name] == "" {
			s.set.Close(name)
		}
	}
}

// open is the Listen of a service's launcher.
func (s *sockets) open(service string, configs []listen.Config, uid, gid int) ([]listen.Socket, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(configs) > 0 && s.state[service] == "" { // its start was given up meanwhile
		return nil, errors.New("cannot open the sockets of a service that is stopped")
	}
	return s.set.Open(service, configs, uid, gid)
}

// entered notes the state that a service enters.
func (s *sockets) entered(service string, st supervisor.State, rests bool) {
	s.mu.Lock()
	if rests {
		delete(s.state, service)
		s.set.Close(service)
	} else {
		s.state[service] = st
	}
	s.mu.Unlock()
	if st == supervisor.Starting && s.early != nil {
		s.early(service)
	}
	if st != supervisor.Running {
		s.watchQueues(service)
	}
}

// entered is the supervisor's Entered.
func (d *daemon) entered(service string, st supervisor.State, rests bool) {
	d.sockets.entered(service, st, rests)
	if rests {
		d.shared.RemoveCopy(service)
	}
}

// openSockets opens the sockets of a service that is to start. An error is left to the start.
func (d *daemon) openSockets(service string) {
	p := d.currentPlan()
	if len(p.Config.Services[service].Listen) == 0 {
		return
	}
	if l := p.launcher(service); l != nil {
		_, _ = l.Sockets()
	}
}

// watchQueues watches the queues of a service until it is RUNNING and none is full.
func (s *sockets) watchQueues(service string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if open, _ := s.check(service); len(open) == 0 || s.watch != nil {
		return
	}
	s.watch = time.AfterFunc(queuePause, s.watchAll)
}

// watchAll is one check of the watch.
func (s *sockets) watchAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	again := false
	for service, st := range s.state {
		if st == supervisor.Running && !s.isFull(service) {
			continue
		}
		open, _ := s.check(service)
		again = again || len(open) > 0 && (st != supervisor.Running || s.isFull(service))
	}
	if s.watch = nil; again {
		s.watch = time.AfterFunc(queuePause, s.watchAll)
	}
}

// isFull reports whether a queue of a service was full at the last check.
func (s *sockets) isFull(service string) bool {
	for key := range s.full {
		if key[0] == service {
			return true
		}
	}
	return false
}

// status returns the open sockets of a service.
func (s *sockets) status(service string) []supervisor.Socket {
	s.mu.Lock()
	defer s.mu.Unlock()
	out, err := s.check(service)
	if err != nil {
		s.log.Debug("the queue of a socket is not shown", "name", service, "error", err)
	}
	if s.watch == nil && s.isFull(service) {
		s.watch = time.AfterFunc(queuePause, s.watchAll)
	}
	return out
}

// check reads the queues of a service, and logs when one begins or ceases to be full; s.mu is held.
func (s *sockets) check(service string) ([]supervisor.Socket, error) {
	queues, err := s.queue(service)
	var out []supervisor.Socket
	now, open := time.Now(), map[[2]string]bool{}
	for _, q := range queues {
		key := [2]string{service, q.Name}
		open[key] = true
		f, was := s.full[key]
		if q.Full() {
			f.last = now
			if !was {
				f.since = now
				s.fills[key]++
				s.log.Warn("the queue of a socket is full: further clients are not answered until there is room", "name", service,
					"socket", q.Name, "address", q.Address, "waiting", q.Waiting, "backlog", q.Backlog, "state", s.state[service])
			}
			s.full[key] = f
		}
		k := supervisor.Socket{Name: q.Name, Address: q.Address, Waiting: q.Waiting, Backlog: q.Backlog, Fills: s.fills[key]}
		if q.Full() {
			k.FullSince = &f.since
		}
		out = append(out, k)
	}
	for key, f := range s.full {
		if err == nil && key[0] == service && (!open[key] || now.Sub(f.last) >= gapTime) {
			delete(s.full, key)
			s.log.Info("the queue of a socket is not full any more", "name", service, "socket", key[1],
				"lasted", f.last.Sub(f.since).Round(10*time.Millisecond))
		}
	}
	return out, err
}
