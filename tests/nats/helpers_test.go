// Package nats_test tests package natsjob with real NATS servers. It is a module of its own, so that the product does not need the
// server's code.
package nats_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stoker-init/stoker/executor"
	"github.com/stoker-init/stoker/executor/natsjob"
	"github.com/stoker-init/stoker/internal/fdstore"
	"github.com/stoker-init/stoker/internal/freeport"
	"github.com/stoker-init/stoker/internal/lifecycle"
	"github.com/stoker-init/stoker/internal/proc"
)

// deadline bounds every wait of a test.
const deadline = 30 * time.Second

// startServer starts a server with JetStream that ends with the test.
func startServer(t *testing.T, change func(*server.Options)) *server.Server {
	t.Helper()
	o := &server.Options{Host: "127.0.0.1", Port: freeport.For(t), JetStream: true, StoreDir: t.TempDir(), NoLog: true, NoSigs: true}
	if change != nil {
		change(o)
	}
	s, err := server.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	go s.Start() // ends with Shutdown
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(deadline) {
		t.Fatal("the server does not start")
	}
	return s
}

// client is a user of NATS.
type client struct {
	t  *testing.T
	nc *nats.Conn
	js jetstream.JetStream
}

func dial(t *testing.T, url string, options ...nats.Option) *client {
	t.Helper()
	nc, err := nats.Connect(url, append(options, nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}),
		nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(deadline))
	if err != nil {
		t.Fatal(err)
	}
	return &client{t, nc, js}
}

// setUp makes the streams JOBS and RESULTS and the consumer.
func (c *client) setUp(replicas int, change func(*jetstream.StreamConfig, *jetstream.ConsumerConfig)) {
	c.t.Helper()
	stream := jetstream.StreamConfig{Name: "JOBS", Subjects: []string{"jobs.new"}, Retention: jetstream.WorkQueuePolicy, Replicas: replicas}
	consumer := jetstream.ConsumerConfig{Durable: "stoker", AckPolicy: jetstream.AckExplicitPolicy, AckWait: 2 * time.Second}
	if change != nil {
		change(&stream, &consumer)
	}
	for _, s := range []jetstream.StreamConfig{stream, {Name: "RESULTS", Subjects: []string{"jobs.results"}, Replicas: replicas}} {
		retry(c, func(ctx context.Context) (jetstream.Stream, error) { return c.js.CreateStream(ctx, s) })
	}
	c.consumer(consumer)
}

// consumer makes the consumer, or makes it again.
func (c *client) consumer(config jetstream.ConsumerConfig) {
	c.t.Helper()
	_ = c.js.DeleteConsumer(c.t.Context(), "JOBS", "stoker")
	retry(c, func(ctx context.Context) (jetstream.Consumer, error) { return c.js.CreateConsumer(ctx, "JOBS", config) })
}

// submit publishes a job, with headers as pairs.
func (c *client) submit(body string, headers ...string) *jetstream.PubAck {
	c.t.Helper()
	m := nats.NewMsg("jobs.new")
	m.Data = []byte(body)
	for k := 0; k < len(headers); k += 2 {
		m.Header.Set(headers[k], headers[k+1])
	}
	ack, err := c.js.PublishMsg(c.t.Context(), m)
	if err != nil {
		c.t.Fatal(err)
	}
	return ack
}

// retry repeats a request while a cluster has no leader.
func retry[T any](c *client, ask func(ctx context.Context) (T, error)) (out T) {
	c.t.Helper()
	var err error
	for end := time.Now().Add(deadline); time.Now().Before(end); <-time.After(10 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(c.t.Context(), 2*time.Second)
		out, err = ask(ctx)
		cancel()
		if err == nil {
			return out
		}
	}
	c.t.Fatal(err)
	return out
}

// results are the messages on jobs.results so far.
func (c *client) results() (out []*jetstream.RawStreamMsg) {
	c.t.Helper()
	stream := c.stream("RESULTS")
	for seq := uint64(1); seq <= stream.CachedInfo().State.LastSeq; seq++ {
		out = append(out, retry(c, func(ctx context.Context) (*jetstream.RawStreamMsg, error) { return stream.GetMsg(ctx, seq) }))
	}
	return out
}

func (c *client) stream(name string) jetstream.Stream {
	c.t.Helper()
	return retry(c, func(ctx context.Context) (jetstream.Stream, error) { return c.js.Stream(ctx, name) })
}

// await waits for the nth result, and until no message of a job is left.
func (c *client) await(n int) []*jetstream.RawStreamMsg {
	c.t.Helper()
	poll(c.t, fmt.Sprintf("%d results", n), func() bool { return c.stream("RESULTS").CachedInfo().State.LastSeq >= uint64(n) })
	poll(c.t, "all messages are acknowledged", func() bool { return c.info().NumAckPending == 0 && c.left() == 0 })
	got := c.results()
	if len(got) != n {
		c.t.Fatalf("%d results, want %d", len(got), n)
	}
	return got
}

// left is the number of messages in the stream of jobs.
func (c *client) left() uint64 {
	c.t.Helper()
	return c.stream("JOBS").CachedInfo().State.Msgs
}

func (c *client) info() *jetstream.ConsumerInfo {
	c.t.Helper()
	return retry(c, func(ctx context.Context) (*jetstream.ConsumerInfo, error) {
		consumer, err := c.js.Consumer(ctx, "JOBS", "stoker")
		if err != nil {
			return nil, err
		}
		return consumer.CachedInfo(), nil
	})
}

// want checks the states of results, in any order.
func want(t *testing.T, results []*jetstream.RawStreamMsg, states ...executor.State) {
	t.Helper()
	count := map[executor.State]int{}
	for _, r := range results {
		count[executor.State(r.Header.Get("Stoker-State"))]++
	}
	wanted := map[executor.State]int{}
	for _, s := range states {
		wanted[s]++
	}
	if !maps.Equal(count, wanted) {
		t.Fatalf("results %v, want %v", count, wanted)
	}
}

// poll waits until ok.
func poll(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(deadline); !ok(); <-time.After(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it did not happen: %s", what)
		}
	}
}

// host runs jobs that are no processes, except "true". "hold" runs until it gets a signal or the test releases it, the others end at
// once; each start is in the ledger.
type host struct {
	mu     sync.Mutex
	ledger map[string]int // starts by the last argument
	begun  chan time.Time // gets the time of each start; nil: of none
	held   map[string]*process
}

type process struct {
	exited chan struct{}
	once   sync.Once
	exit   proc.Exit
}

func newHost() *host {
	return &host{ledger: map[string]int{}, held: map[string]*process{}}
}

func (h *host) Prepare(executor.Job, string) (executor.Launch, error) { return executor.Launch{}, nil }

func (h *host) Start(_ context.Context, spec proc.Spec) (executor.Process, error) {
	name := spec.Argv[len(spec.Argv)-1]
	p := &process{exited: make(chan struct{})}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ledger[name]++
	if spec.Argv[0] == "true" {
		cmd := exec.Command("true")
		if err := cmd.Start(); err != nil {
			return nil, err
		}
		go func() { _ = cmd.Wait() }() // ends with the process
	}
	if h.begun != nil {
		h.begun <- time.Now()
	}
	if spec.Argv[0] == "hold" {
		h.held[name] = p
	} else {
		p.end(0)
	}
	return p, nil
}

func (h *host) Room() (int64, bool)              { return 0, false }
func (h *host) OOMKills([]string) (uint64, bool) { return 0, false }
func (h *host) Publish(lifecycle.Occurrence)     {}
func (h *host) Put(string, []byte, ...int) error { return nil }
func (h *host) Delete(string)                    {}

// starts is how often a job was started; "": all of them.
func (h *host) starts(name string) (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for have, count := range h.ledger {
		if name == "" || name == have {
			n += count
		}
	}
	return n
}

// release ends a job.
func (h *host) release(name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.held[name].end(0)
}

func (p *process) end(code int) {
	p.once.Do(func() { p.exit = proc.Exit{Code: code}; close(p.exited) })
}

func (p *process) Pid() int                           { return 1 << 30 }
func (p *process) SignalGroup(s syscall.Signal) error { p.end(128 + int(s)); return nil }
func (p *process) Members() []int                     { return nil }
func (p *process) Exited() <-chan struct{}            { return p.exited }
func (p *process) Exit() (proc.Exit, bool)            { return p.exit, true }
func (p *process) Ack()                               {}
func (p *process) Done()                              {}

// container is an executor with an adapter.
type container struct {
	t       *testing.T
	jobs    *executor.Executor
	adapter *natsjob.Adapter
	host    *host
	config  natsjob.Config
	dir     string
	stop    context.CancelFunc
	done    chan struct{}
	memory  func() (used, limit int64)
	wrap    func(natsjob.Executor) natsjob.Executor // nil: the adapter has the executor itself
}

func (c *container) configure(url string) {
	c.config = natsjob.Config{URL: url, Stream: "JOBS", Results: "jobs.results", States: "jobs.states", Cancel: "jobs.cancel"}
}

// startContainer starts a container that ends with the test.
func startContainer(t *testing.T, url string, slots int, change func(*container)) *container {
	t.Helper()
	c := &container{t: t, host: newHost(), dir: t.TempDir(), done: make(chan struct{})}
	c.configure(url)
	if change != nil {
		change(c)
	}
	log := hclog.New(&hclog.LoggerOptions{Output: os.Stderr, Level: hclog.LevelFromString(os.Getenv("NATS_TEST_LOG")), Name: t.Name()})
	if os.Getenv("NATS_TEST_LOG") == "" {
		log = hclog.NewNullLogger()
	}
	c.jobs = executor.New(executor.Options{Config: executor.Config{Slots: slots, Queue: 10, Journal: c.dir, Timeout: time.Hour,
		StopGrace: time.Minute, OutputCap: "64KiB", WorkspaceCap: "1MiB", Brake: 5,
		Keep: executor.Keep{For: time.Hour, Jobs: 100000, Size: "1GiB"}}, Host: c.host, Store: c.host, Log: log, Items: fdstore.NewItems()})
	var jobs natsjob.Executor = c.jobs
	if c.wrap != nil {
		jobs = c.wrap(jobs)
	}
	c.adapter = natsjob.New(natsjob.Options{Config: c.config, Executor: jobs, Log: log, Host: "box", Labels: map[string]string{"appid": "7"},
		Memory: c.memory})
	ctx, stop := context.WithCancel(context.Background())
	c.stop = stop
	go func() { // ends with ctx
		defer close(c.done)
		c.adapter.Run(ctx)
	}()
	t.Cleanup(c.die)
	return c
}

// die ends the adapter. The executor goes on, but nothing sees it any more.
func (c *container) die() {
	c.stop()
	<-c.done
}

// successor is a container that has the journal as it is now, as after kill -9 of the whole container.
func (c *container) successor(change func(*container)) *container {
	c.t.Helper()
	dir := c.t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(c.dir)); err != nil {
		c.t.Fatal(err)
	}
	return startContainer(c.t, c.config.URL, c.jobs.ExecutorStatus().Slots, func(next *container) {
		next.dir = dir
		if change != nil {
			change(next)
		}
	})
}

// awaitStatus waits for a text in the status.
func (c *container) awaitStatus(text string) {
	c.t.Helper()
	for end := time.Now().Add(deadline); !strings.Contains(c.adapter.Status(), text); <-time.After(5 * time.Millisecond) {
		if time.Now().After(end) {
			c.t.Fatalf("status %q, want %q", c.adapter.Status(), text)
		}
	}
}

// awaitStart waits for the start of a job.
func (c *container) awaitStart(name string) {
	c.t.Helper()
	poll(c.t, "start of "+name, func() bool { return c.host.starts(name) > 0 })
}

// reply is the subject of acknowledgements that the journal has for a job.
func (c *container) reply(key string) string {
	c.t.Helper()
	job, err := c.jobs.Job("key:" + key)
	if err != nil {
		c.t.Fatal(err)
	}
	var from struct{ Reply string }
	if err := json.Unmarshal([]byte(job.Origin.Data), &from); err != nil {
		c.t.Fatal(err)
	}
	return from.Reply
}
