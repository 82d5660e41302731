package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stoker-init/stoker/executor"
	"github.com/stoker-init/stoker/internal/api"
	"github.com/stoker-init/stoker/supervisor"
)

// fakeContainer answers as a stoker does, and runs nothing: a job waits for a slot, or runs for ever.
type fakeContainer struct {
	server *httptest.Server

	mu       sync.Mutex // guards what follows
	labels   map[string]string
	status   executor.Status
	room     int64 // 0: no limit
	jobs     []executor.Job
	nextID   executor.ID
	submits  int
	services []supervisor.Snapshot
	ready    bool
	metrics  string
	before   func(w http.ResponseWriter, r *http.Request) (handled bool) // nil: nothing special
	restarts []string

	conns, mostConns int // now, and the most at once
}

// newFleet makes a folder without containers.
func newFleet(t testing.TB) (*Fleet, string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "agent") // t.TempDir() may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	f, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return f, dir
}

// startFake starts a container of the application 1 with some slots.
func startFake(t testing.TB, dir, name string, slots int) *fakeContainer {
	t.Helper()
	c := &fakeContainer{labels: map[string]string{"appid": "1"}, status: executor.Status{Slots: slots, QueueMax: 100}, ready: true,
		nextID: executor.ID(time.Now().UnixNano()), services: []supervisor.Snapshot{{Name: "app", State: supervisor.Running, Starts: 1}}}
	if err := os.MkdirAll(filepath.Join(dir, name), 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", filepath.Join(dir, name, SocketName))
	if err != nil {
		t.Fatal(err)
	}
	config := &http.Server{Handler: http.HandlerFunc(c.serve), Protocols: new(http.Protocols),
		HTTP2: &http.HTTP2Config{MaxConcurrentStreams: connStreams}}
	config.ConnState = func(_ net.Conn, s http.ConnState) {
		switch s {
		case http.StateNew:
			c.set(func() { c.conns++; c.mostConns = max(c.mostConns, c.conns) })
		case http.StateClosed:
			c.set(func() { c.conns-- })
		}
	}
	config.Protocols.SetHTTP1(true)
	config.Protocols.SetUnencryptedHTTP2(true)
	c.server = &httptest.Server{Listener: l, Config: config}
	c.server.Start()
	t.Cleanup(func() { c.server.CloseClientConnections(); c.server.Close() })
	return c
}

func (c *fakeContainer) set(change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change()
}

func (c *fakeContainer) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.jobs)
}

func refuse(w http.ResponseWriter, status int, code string) {
	var e api.Error
	e.Error.Code, e.Error.Message = code, "refused: "+code
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(e)
}

func (c *fakeContainer) serve(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	before := c.before
	c.mu.Unlock()
	if before != nil && before(w, r) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	rest, aJob := strings.CutPrefix(r.URL.EscapedPath(), "/v1/jobs/")
	switch path := r.URL.Path; {
	case path == "/v1/services":
		json.NewEncoder(w).Encode(api.Status{Version: "7", Ready: c.ready, Labels: c.labels, Services: c.services})
	case strings.HasPrefix(path, "/v1/services/"):
		c.restarts = append(c.restarts, path+"?"+r.URL.RawQuery)
		c.services[0].Starts++
		json.NewEncoder(w).Encode(c.services[0])
	case path == "/v1/limits":
		io.WriteString(w, `{"effective_cpus": 2}`)
	case path == "/metrics":
		io.WriteString(w, c.metrics)
	case path == "/v1/health":
		io.WriteString(w, "{}")
	case c.status.Slots == 0:
		refuse(w, 404, executor.CodeNoExecutor)
	case path == "/v1/executor":
		json.NewEncoder(w).Encode(c.present())
	case path == "/v1/jobs" && r.Method == "POST":
		c.submit(w, r)
	case path == "/v1/jobs":
		json.NewEncoder(w).Encode(api.JobList{Jobs: c.jobs})
	case aJob:
		c.oneJob(w, rest)
	default:
		w.WriteHeader(404)
	}
}

// present is the state with the jobs that there are. mu is held.
func (c *fakeContainer) present() executor.Status {
	st := c.status
	var memory executor.MemoryStatus
	for _, j := range c.jobs {
		var need int64
		fmt.Sscanf(j.Spec.Memory, "%dMiB", &need)
		if need <<= 20; j.State == executor.Running {
			st.Running++
			memory.Running += need
		} else {
			st.Waiting++
			memory.Waiting += need
		}
	}
	if memory.Room = c.room; c.room > 0 {
		st.Memory = &memory
	}
	return st
}

func (c *fakeContainer) submit(w http.ResponseWriter, r *http.Request) {
	c.submits++
	spec, err := api.ReadSpec(w, r)
	if err != nil {
		refuse(w, 422, executor.CodeBadSpec)
		return
	}
	for _, j := range c.jobs {
		if j.Spec.Key == spec.Key {
			if strings.Join(j.Spec.Command, " ") != strings.Join(spec.Command, " ") {
				refuse(w, 409, executor.CodeConflict)
				return
			}
			json.NewEncoder(w).Encode(j)
			return
		}
	}
	st := c.present()
	if st.Running+st.Waiting >= st.Slots+st.QueueMax {
		refuse(w, 429, executor.CodeFull)
		return
	}
	c.nextID++
	j := executor.Job{ID: c.nextID, Spec: spec, State: executor.Queued}
	var need int64
	fmt.Sscanf(spec.Memory, "%dMiB", &need)
	if st.Running < st.Slots && (st.Memory == nil || need == 0 || st.Memory.Waiting == 0 && st.Memory.Running+need<<20 <= st.Memory.Room) {
		j.State = executor.Running
	}
	c.jobs = append(c.jobs, j)
	w.WriteHeader(201)
	json.NewEncoder(w).Encode(j)
}

func (c *fakeContainer) oneJob(w http.ResponseWriter, path string) {
	name, rest, _ := strings.Cut(path, "/")
	name, _ = url.PathUnescape(name)
	for _, j := range c.jobs {
		if name == j.ID.String() || name == "key:"+j.Spec.Key {
			if rest != "" {
				fmt.Fprintf(w, "%s of %s", rest, j.Spec.Key)
				return
			}
			json.NewEncoder(w).Encode(j)
			return
		}
	}
	refuse(w, 404, executor.CodeNoJob)
}

// serveFleet serves the agent and returns its socket.
func serveFleet(t *testing.T, f *Fleet, dir string) string {
	t.Helper()
	socket := filepath.Join(dir, ".agent", "agent.sock")
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan error, 1)
	go func() { over <- f.Serve(ctx, socket, hclog.NewNullLogger()) }() // ends with ctx
	t.Cleanup(func() {
		cancel()
		if err := <-over; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	for end := time.Now().Add(5 * time.Second); ; {
		if conn, err := net.Dial("unix", socket); err == nil {
			conn.Close()
			return socket
		}
		if time.Now().After(end) {
			t.Fatal("the agent does not listen")
		}
		<-time.After(5 * time.Millisecond)
	}
}

// app is a job of the application 1.
func app(key, memory string) executor.Spec {
	return executor.Spec{Key: key, Command: []string{"true"}, Memory: memory, Labels: map[string]string{"appid": "1"}}
}

// unixClient asks the agent at a socket.
func unixClient(socket string) *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
}
