// Package natsjob takes jobs from a NATS JetStream consumer. A message is a Spec; its key makes each further delivery the same job. The
// message is acknowledged when the job has ended, its end is on disk, and its result is published.
//
// The package starts nothing: the Executor does, and keeps in its journal what is left to be reported.
package natsjob

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stoker-init/stoker/executor"
)

// Engine is the Origin.Engine of the jobs.
const Engine = "nats"

// Executor runs the jobs; an *executor.Executor is one.
type Executor interface {
	Submitter
	Jobs(f executor.Filter) ([]executor.Job, error)
	AwaitJob(ctx context.Context, id executor.ID, changed func(executor.Job)) (executor.Job, error)
	StopJob(ctx context.Context, id executor.ID, r executor.StopRequest) (executor.Job, error)
	Reported(id executor.ID) error
}

// Submitter accepts jobs.
type Submitter interface {
	SubmitFrom(ctx context.Context, spec executor.Spec, by string, from executor.Origin) (job executor.Job, created bool, err error)
	Job(name string) (executor.Job, error)
	Free() (slots int, changed <-chan struct{})
	ExecutorStatus() executor.Status
}

// Options are those of an Adapter.
type Options struct {
	Config   Config
	Executor Executor
	Log      hclog.Logger
	Host     string            // names the container in messages
	Labels   map[string]string // of the container
	// Memory returns the memory that the container uses and its limit, in bytes; limit 0: unknown, or there is none.
	Memory func() (used, limit int64)
}

// Adapter takes jobs from a consumer. It is safe for concurrent use.
type Adapter struct {
	opts   Options
	labels string // JSON
	nc     *nats.Conn
	js     jetstream.JetStream
	awake  chan struct{}  // has an element when the connection is there again
	work   sync.WaitGroup // what ends when Run does
	room   struct {       // take's
		read        time.Time
		slots       int
		used, limit int64
	}
	resumed bool // the jobs of an earlier life are known

	mu     sync.Mutex // guards what follows
	status string
	well   bool      // attached was said last
	logged []string  // the kinds of problems since then, or since the start
	made   time.Time // when the stream was made; zero: it is not known yet
	looked time.Time // when that was looked up
	terms  terms
	jobs   map[executor.ID]*origin // whose ends are not reported, with their latest deliveries
}

// origin is Origin.Data: a delivery of a message.
type origin struct {
	Reply string    `json:"reply"` // the subject of acknowledgements
	Made  time.Time `json:"made"`  // when the stream was made; another one of its name has other messages
}

// New returns an Adapter, which does nothing before Run.
func New(o Options) *Adapter {
	labels, err := json.Marshal(o.Labels)
	if err != nil || len(o.Labels) == 0 {
		labels = nil
	}
	return &Adapter{opts: o, labels: string(labels), awake: make(chan struct{}, 1), status: "not connected yet",
		jobs: map[executor.ID]*origin{}}
}

// Status says in one line what the adapter does, or what is wrong.
func (a *Adapter) Status() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return fmt.Sprintf("%s; %d jobs not reported", a.status, len(a.jobs))
}

// say replaces the status. Of each kind of problem one is logged, until the adapter is attached again.
func (a *Adapter) say(kind, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	a.mu.Lock()
	news := !slices.Contains(a.logged, kind)
	if a.status = text; kind == attached {
		news, a.logged = !a.well, nil
	} else if news {
		a.logged = append(a.logged, kind)
	}
	a.well = kind == attached
	a.mu.Unlock()
	switch {
	case news && kind == attached:
		a.opts.Log.Info("NATS: " + text)
	case news:
		a.opts.Log.Warn("NATS: " + text)
	}
}

// Kinds of status.
const (
	attached   = "attached" // there are no problems
	connecting = "connect"
	serverSays = "server"
)

// Times.
const (
	requestTime = 5 * time.Second // for an answer of a server
	pullTime    = 5 * time.Second
	leastPause  = 250 * time.Millisecond // after a failure, doubled after each further one
	mostPause   = 15 * time.Second
	reportPause = 2 * time.Second // at most, for and after an attempt to report: AckWait must not be over when a cluster has a leader again
	checkEvery  = 5 * time.Minute // the settings of the consumer are looked at
	reportTime  = time.Second     // for reports of ended jobs, when the adapter ends
)

// Run takes jobs until ctx is done, and then reports for a moment the ends of jobs that have ended. No problem ends it.
func (a *Adapter) Run(ctx context.Context) {
	inner, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	for pause := leastPause; ctx.Err() == nil; {
		err := a.step(ctx, inner)
		if err == nil || ctx.Err() != nil {
			pause = leastPause
			continue
		}
		kind := err.Error()
		if a.nc == nil || !a.nc.IsConnected() {
			kind = connecting
		}
		a.say(kind, "%v", err)
		select {
		case <-ctx.Done():
		case <-a.awake: // connected again
		case <-time.After(pause):
		}
		pause = min(2*pause, mostPause)
	}
	a.drain()
	stop()
	a.work.Wait()
	if a.nc != nil {
		a.nc.Close()
	}
}

// step connects, goes on with the jobs of an earlier life, and takes jobs until ctx is done, there is an error, or the consumer is to be
// looked at again.
func (a *Adapter) step(ctx, inner context.Context) error {
	if a.nc == nil {
		if err := a.connect(inner); err != nil {
			return fmt.Errorf("cannot connect: %w", err)
		}
	}
	if !a.resumed {
		if err := a.resume(inner); err != nil {
			return fmt.Errorf("cannot list the jobs that are not reported: %w", err)
		}
		a.resumed = true
	}
	c, err := a.attach(ctx)
	if err == nil {
		err = a.take(ctx, inner, c)
	}
	if err != nil {
		return fmt.Errorf("cannot take jobs: %w", err)
	}
	return nil
}

// connect makes the connection, which then lasts as long as Run.
func (a *Adapter) connect(ctx context.Context) error {
	c := &a.opts.Config
	options, err := c.options(a.opts.Host)
	if err != nil {
		return err
	}
	wake := func(*nats.Conn) {
		select {
		case a.awake <- struct{}{}:
		default:
		}
	}
	lost := func(_ *nats.Conn, err error) {
		if err != nil {
			a.say(connecting, "cannot connect: %v", err)
		}
	}
	nc, err := nats.Connect(c.URL, append(options, nats.ConnectHandler(wake), nats.ReconnectHandler(wake),
		nats.DisconnectErrHandler(lost), nats.ReconnectErrHandler(lost),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { a.say(serverSays, "a server reports: %v", err) }))...)
	if err != nil {
		return err
	}
	if a.js, err = jetstream.New(nc, jetstream.WithDefaultTimeout(requestTime)); err == nil && c.Cancel != "" {
		_, err = nc.Subscribe(c.Cancel, func(m *nats.Msg) {
			go a.cancel(ctx, m) // ends when the stop is on disk, or with ctx
		})
	}
	if err != nil {
		nc.Close()
		return err
	}
	a.nc = nc
	a.work.Go(func() { a.keepInProgress(ctx) }) // ends with ctx
	return nil
}

// resume goes on with the jobs whose ends are not reported.
func (a *Adapter) resume(ctx context.Context) error {
	jobs, err := a.opts.Executor.Jobs(executor.Filter{Engine: Engine, Unreported: true, Limit: math.MaxInt})
	for _, job := range jobs {
		var from origin
		if json.Unmarshal([]byte(job.Origin.Data), &from) == nil {
			a.follow(ctx, job.ID, from)
		}
	}
	return err
}

// attach finds the consumer and checks it.
func (a *Adapter) attach(ctx context.Context) (jetstream.Consumer, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	if !a.nc.IsConnected() {
		return nil, cmp.Or(a.nc.LastError(), errors.New("no server answers yet"))
	}
	c := &a.opts.Config
	stream, err := a.stream(ctx)
	if err != nil {
		return nil, err
	}
	consumer, err := stream.Consumer(ctx, c.consumer())
	if err != nil {
		return nil, fmt.Errorf("cannot find the consumer %s of the stream %s: %w", c.consumer(), c.Stream, err)
	}
	t, err := termsOf(&consumer.CachedInfo().Config, a.opts.Executor.ExecutorStatus().Slots)
	if err != nil {
		return nil, fmt.Errorf("consumer %s: %w", c.consumer(), err)
	}
	if c.Results != "" {
		if _, err := a.js.StreamNameBySubject(ctx, c.Results); err != nil {
			return nil, fmt.Errorf("results %s: %w; a stream must store them", c.Results, err)
		}
	}
	a.mu.Lock()
	a.terms = t
	a.mu.Unlock()
	note := t.note(a.nc.ConnectedServerVersion())
	a.say(attached, "attached to %s/%s%s", c.Stream, c.consumer(), note)
	return consumer, nil
}

// stream finds the stream.
func (a *Adapter) stream(ctx context.Context) (jetstream.Stream, error) {
	name := a.opts.Config.Stream
	stream, err := a.js.Stream(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("cannot find the stream %s: %w", name, err)
	}
	a.mu.Lock()
	a.made, a.looked = stream.CachedInfo().Created, time.Now()
	a.mu.Unlock()
	return stream, nil
}

// drain waits until the ends of all jobs that have ended are reported, but not long.
func (a *Adapter) drain() {
	tick := time.NewTicker(drainCheck)
	defer tick.Stop()
	for end := time.Now().Add(reportTime); a.toReport() > 0 && time.Now().Before(end); {
		<-tick.C
	}
}

const drainCheck = 10 * time.Millisecond

// toReport is the number of jobs that have ended and are not reported.
func (a *Adapter) toReport() (n int) {
	a.mu.Lock()
	ids := slices.Collect(maps.Keys(a.jobs))
	a.mu.Unlock()
	for _, id := range ids {
		if job, err := a.opts.Executor.Job(id.String()); err == nil && job.State.Final() {
			n++
		}
	}
	return n
}
