package nats_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/stoker-init/stoker/executor"
	"github.com/stoker-init/stoker/executor/natsjob"
)

// TestDeliveredAgainWithoutRoom holds that a delivery of a job that is here stays here, also if nothing more can start.
func TestDeliveredAgainWithoutRoom(t *testing.T) {
	t.Parallel()
	for name, fill := range map[string]func(*container) error{
		"other jobs": func(box *container) error {
			_, _, err := box.jobs.Submit(context.Background(), executor.Spec{Command: []string{"hold", "local"}}, "test")
			return err
		},
		"paused":  func(box *container) error { return box.jobs.ControlExecutor(executor.Pause, "test") },
		"drained": func(box *container) error { return box.jobs.ControlExecutor(executor.Drain, "test") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startServer(t, nil)
			c := dial(t, s.ClientURL())
			c.setUp(1, nil)
			box := startContainer(t, s.ClientURL(), 2, nil)
			c.submit(`{"command":["hold","one"],"key":"one"}`)
			box.awaitStart("one")
			first := box.reply("one")
			poll(t, "another pull", func() bool { return c.info().NumWaiting == 1 })
			if err := fill(box); err != nil {
				t.Fatal(err)
			}
			if err := c.nc.Publish(first, []byte("-NAK")); err != nil { // as after a lost sign of progress
				t.Fatal(err)
			}
			poll(t, "second delivery", func() bool { return c.info().Delivered.Consumer >= 2 && c.info().NumWaiting == 0 })
			other := startContainer(t, s.ClientURL(), 2, nil)
			poll(t, "the other one waits for a message", func() bool { return c.info().NumWaiting == 1 })
			box.host.release("one")
			want(t, c.await(1), executor.Succeeded)
			if here, there := box.host.starts("one"), other.host.starts("one"); here != 1 || there != 0 {
				t.Errorf("%d starts here and %d there", here, there)
			}
		})
	}
}

// TestTooLarge holds that a result which the servers do not take is published without its large parts.
func TestTooLarge(t *testing.T) {
	t.Parallel()
	const most = 8 << 10
	s := startServer(t, func(o *server.Options) { o.MaxPayload = most })
	c := dial(t, s.ClientURL())
	c.setUp(1, nil)
	states, err := c.nc.SubscribeSync("jobs.states")
	if err != nil {
		t.Fatal(err)
	}
	terms, err := c.nc.SubscribeSync("$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.JOBS.stoker")
	if err != nil {
		t.Fatal(err)
	}
	startContainer(t, s.ClientURL(), 2, nil)
	c.submit(`{"command":["run","` + strings.Repeat("x", most-200) + `","one"],"key":"large","labels":{"a":"b"},"artifacts":[{"path":"p"}]}`)
	r := c.await(1)[0]
	var job executor.Job
	if err := json.Unmarshal(r.Data, &job); err != nil {
		t.Fatal(err)
	}
	if job.State != executor.Succeeded || job.Spec.Key != "large" || job.Exit == nil || job.Spec.Command != nil || job.Spec.Labels != nil ||
		job.Spec.Artifacts != nil || job.Artifacts != nil || !strings.Contains(strings.Join(job.Notes, " "), "too large") {
		t.Errorf("%s", r.Data)
	}
	for last := ""; last != "SUCCEEDED"; {
		m, err := states.NextMsg(deadline)
		if err != nil {
			t.Fatal(err)
		}
		last = m.Header.Get("Stoker-State")
	}
	long := strings.Repeat("ä", 3000/2)
	for k, test := range []struct{ body, id string }{
		{`{"command":["a"],"` + long + `":1}`, "field"},
		{`{"command":[],"key":"` + strings.Repeat("k", 6000) + `"}`, ""},
		{`{"command":[]}`, strings.Repeat("i", 6000)},
		{`{"command":["a"],"nice":99,"baggage":"` + strings.Repeat("b", 6000) + `"}`, "baggage"},
	} {
		c.submit(test.body, "Nats-Msg-Id", test.id, "traceparent", strings.Repeat("t", 1000))
		r := c.await(k + 2)[k+1]
		if err := json.Unmarshal(r.Data, &job); err != nil || job.State != executor.Rejected || len(job.Reason) > 2000 || job.Reason == "" {
			t.Errorf("%.100s: %v %s", test.body, err, r.Data)
		}
		m, err := terms.NextMsg(deadline)
		if err != nil {
			t.Fatal(err)
		}
		var advisory struct{ Reason string }
		if err := json.Unmarshal(m.Data, &advisory); err != nil || !utf8.ValidString(advisory.Reason) || strings.ContainsRune(advisory.Reason, utf8.RuneError) {
			t.Errorf("%.100s: %v %s", test.body, err, m.Data)
		}
	}
}

// TestTooLargeForStream holds the same for the limit of the stream of results.
func TestTooLargeForStream(t *testing.T) {
	t.Parallel()
	s := startServer(t, nil)
	c := dial(t, s.ClientURL())
	c.setUp(1, nil)
	config := c.stream("RESULTS").CachedInfo().Config
	config.MaxMsgSize = 2 << 10
	if _, err := c.js.UpdateStream(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	startContainer(t, s.ClientURL(), 2, nil)
	c.submit(`{"command":["run","` + strings.Repeat("x", 4<<10) + `","one"]}`)
	if r := c.await(1)[0]; !strings.Contains(string(r.Data), "too large") {
		t.Errorf("%s", r.Data)
	}
}

// TestEndsWhileIll holds that the adapter ends at once though a server does not answer.
func TestEndsWhileIll(t *testing.T) {
	t.Parallel()
	s := startServer(t, func(o *server.Options) { o.JetStream = false })
	c := dial(t, s.ClientURL())
	asked, err := c.nc.SubscribeSync("$JS.API.>")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.nc.Flush(); err != nil {
		t.Fatal(err)
	}
	box := startContainer(t, s.ClientURL(), 2, nil)
	if _, err := asked.NextMsg(deadline); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	box.die()
	if took := time.Since(begun); took > 2*time.Second {
		t.Errorf("it took %v", took)
	}
}

// slowStop is an executor that stops one job only when it may.
type slowStop struct {
	natsjob.Executor
	key     string
	begun   chan struct{}
	release chan struct{}
}

func (s *slowStop) StopJob(ctx context.Context, id executor.ID, r executor.StopRequest) (executor.Job, error) {
	if job, err := s.Job(id.String()); err == nil && job.Spec.Key == s.key {
		close(s.begun)
		<-s.release
	}
	return s.Executor.StopJob(ctx, id, r)
}

// TestCancelDoesNotWait holds that a stop which takes its time does not hold others up.
func TestCancelDoesNotWait(t *testing.T) {
	t.Parallel()
	s := startServer(t, nil)
	c := dial(t, s.ClientURL())
	c.setUp(1, nil)
	slow := &slowStop{key: "a", begun: make(chan struct{}), release: make(chan struct{})}
	box := startContainer(t, s.ClientURL(), 2, func(c *container) {
		c.wrap = func(x natsjob.Executor) natsjob.Executor { slow.Executor = x; return slow }
	})
	for _, name := range []string{"a", "b"} {
		c.submit(`{"command":["hold","` + name + `"],"key":"` + name + `"}`)
		box.awaitStart(name)
	}
	if err := c.nc.Publish("jobs.cancel", []byte("key:a")); err != nil {
		t.Fatal(err)
	}
	<-slow.begun
	answer, err := c.nc.RequestMsg(&nats.Msg{Subject: "jobs.cancel", Data: []byte("key:b")}, 5*time.Second)
	if err != nil || answer.Header.Get("Stoker-Key") != "b" {
		t.Errorf("%+v, %v", answer, err)
	}
	close(slow.release)
	want(t, c.await(2), executor.Killed, executor.Killed)
}
