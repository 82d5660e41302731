package daemon

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stoker-init/stoker/internal/fdstore"
	"github.com/stoker-init/stoker/internal/initproto"
	"github.com/stoker-init/stoker/internal/listen"
	"github.com/stoker-init/stoker/supervisor"
)

// queues are a service's sockets whose queue the test sets.
type queues struct {
	*sockets
	log     strings.Builder
	waiting int
	closed  bool
	checks  int
}

func newQueues() *queues {
	q := &queues{}
	set := listen.New(fdstore.New(func(*initproto.Msg) error { return nil }), fdstore.NewItems(), nil)
	q.sockets = newSockets(set, hclog.New(&hclog.LoggerOptions{Output: &q.log, DisableTime: true}))
	q.queue = func(service string) ([]listen.Queue, error) {
		q.checks++
		if q.closed || service != "web" {
			return nil, nil
		}
		return []listen.Queue{{Name: "http", Address: ":8080", Waiting: q.waiting, Backlog: 4}}, nil
	}
	return q
}

// play has a number of connections wait for a time.
func (q *queues) play(waiting int, during time.Duration) {
	q.mu.Lock()
	q.waiting = waiting
	q.mu.Unlock()
	time.Sleep(during)
	synctest.Wait()
}

func (q *queues) logged(text string) int { return strings.Count(q.log.String(), text) }

const (
	saysFull = "the queue of a socket is full"
	saysRoom = "the queue of a socket is not full any more"
)

// A queue that fills while the service does not accept is logged once, and its end with how long it lasted.
func TestQueueThatFills(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueues()
		q.entered("web", supervisor.Starting, false)
		q.play(0, 1100*time.Millisecond) // between two checks
		q.play(4, time.Second)           // there is room for one more: the kernel takes backlog + 1
		if q.logged(saysFull) != 0 {
			t.Fatalf("not full, and logged:\n%s", &q.log)
		}
		q.play(5, 3*time.Second)
		if q.logged(saysFull) != 1 || !strings.Contains(q.log.String(), "state=STARTING") {
			t.Fatalf("full for 3 s:\n%s", &q.log)
		}
		if got := q.status("web"); len(got) != 1 || got[0].Waiting != 5 || got[0].FullSince == nil || got[0].Fills != 1 {
			t.Errorf("status %+v", got)
		}
		q.entered("web", supervisor.Running, false)
		q.play(5, time.Second)
		q.play(0, 600*time.Millisecond)
		q.play(5, time.Second) // the gap is short
		q.play(0, 2*time.Second)
		if q.logged(saysFull) != 1 || q.logged(saysRoom) != 1 || !strings.Contains(q.log.String(), "lasted=5.25s") {
			t.Errorf("after its end:\n%s", &q.log)
		}
		checks := q.checks
		q.play(0, time.Minute)
		if q.checks != checks || q.watch != nil {
			t.Errorf("%d checks while it runs", q.checks-checks)
		}
		// A status finds a full queue of a service that is RUNNING, which is watched from then on.
		q.play(5, time.Second)
		if got := q.status("web"); got[0].FullSince == nil || got[0].Fills != 2 {
			t.Errorf("status %+v", got)
		}
		q.play(0, 2*time.Second)
		if q.logged(saysFull) != 2 || q.logged(saysRoom) != 2 || q.watch != nil {
			t.Errorf("found by a status:\n%s", &q.log)
		}
	})
}

// The sockets of a service that rests are not watched, and not opened by a start that was given up.
func TestQueueOfAServiceThatRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueues()
		configs := []listen.Config{{Name: "http", TCP: "127.0.0.1:0", Backlog: 4}}
		q.entered("web", supervisor.Backoff, false)
		q.play(5, time.Second)
		q.mu.Lock()
		q.closed = true
		q.mu.Unlock()
		q.entered("web", supervisor.Stopped, true)
		if q.logged(saysRoom) != 1 || len(q.status("web")) != 0 {
			t.Errorf("closed:\n%s", &q.log)
		}
		if _, err := q.open("web", configs, 0, 0); err == nil {
			t.Error("a socket of a service that is STOPPED was opened")
		}
		q.play(5, time.Second)
		if q.watch != nil {
			t.Error("a service that rests is watched")
		}
	})
}

// A supervisor that takes over closes the sockets of services that rest or are not there any more, and keeps the rest.
func TestSocketsOfTheSupervisorBefore(t *testing.T) {
	q := newQueues()
	q.queue = q.set.Status
	dir := t.TempDir()
	dials := func(service string) bool {
		conn, err := net.Dial("unix", filepath.Join(dir, service))
		if err == nil {
			conn.Close()
		}
		return err == nil
	}
	all := []string{"running", "backoff", "stopped", "gone"}
	for _, name := range all {
		if _, err := q.set.Open(name, []listen.Config{{Name: "s", Unix: filepath.Join(dir, name)}}, os.Getuid(), os.Getgid()); err != nil {
			t.Fatal(err)
		}
	}
	q.resume([]supervisor.Snapshot{{Name: "running", State: supervisor.Running}, {Name: "backoff", State: supervisor.Backoff},
		{Name: "stopped", State: supervisor.Stopped, Settled: true}})
	for _, name := range all {
		if want := name == "running" || name == "backoff"; dials(name) != want {
			t.Errorf("%s: the socket is open: %v", name, !want)
		}
	}
	if q.watch == nil {
		t.Fatal("the queue of a service in BACKOFF is not watched")
	}
	q.watch.Stop()
}
