package nats_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stoker-init/stoker/executor"
)

func TestStatesAndResult(t *testing.T) {
	t.Parallel()
	s := startServer(t, nil)
	c := dial(t, s.ClientURL())
	c.setUp(1, nil)
	states, err := c.nc.SubscribeSync("jobs.states")
	if err != nil {
		t.Fatal(err)
	}
	box := startContainer(t, s.ClientURL(), 2, nil)
	trace := "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	c.submit(`{"command":["run","one"],"env":{"PASSWORD":"secret"},"labels":{"a":"b"}}`, "Nats-Msg-Id", "m1", "Traceparent", trace,
		"tracestate", "x=y", "baggage", "q=1")
	r := c.await(1)[0]
	for name, value := range map[string]string{"Stoker-State": "SUCCEEDED", "Stoker-Key": "m1", "Stoker-Container": "box",
		"Stoker-Labels": `{"appid":"7"}`, "traceparent": trace, "tracestate": "x=y", "baggage": "q=1"} {
		if r.Header.Get(name) != value {
			t.Errorf("header %s is %q, want %q", name, r.Header.Get(name), value)
		}
	}
	var job executor.Job
	if err := json.Unmarshal(r.Data, &job); err != nil || job.State != executor.Succeeded || job.Exit == nil || job.Spec.Labels["a"] != "b" {
		t.Errorf("%s, %v", r.Data, err)
	}
	if job.ID.String() != r.Header.Get("Stoker-Job") || strings.Contains(string(r.Data), "secret") {
		t.Errorf("%s", r.Data)
	}
	kept, err := box.jobs.Job("key:m1")
	if err != nil || kept.Spec.Traceparent != trace || kept.Origin.Engine != "nats" {
		t.Errorf("%+v, %v", kept, err)
	}
	poll(t, "the journal notes the report", func() bool { kept, err = box.jobs.Job("key:m1"); return err == nil && kept.Reported })
	last := ""
	for last != "SUCCEEDED" {
		m, err := states.NextMsg(deadline)
		if err != nil {
			t.Fatal(err)
		}
		if now := m.Header.Get("Stoker-State"); now == last {
			t.Errorf("state %s twice", now)
		} else {
			last = now
		}
	}
}

// TestKey holds that a message without an ID is known by its place, and that one ID is one job, also beyond the stream's own window.
func TestKey(t *testing.T) {
	t.Parallel()
	s := startServer(t, nil)
	c := dial(t, s.ClientURL())
	c.setUp(1, func(s *jetstream.StreamConfig, _ *jetstream.ConsumerConfig) { s.Duplicates = 100 * time.Millisecond })
	box := startContainer(t, s.ClientURL(), 4, nil)
	c.submit(`{"command":["run","place"]}`)
	key := c.await(1)[0].Header.Get("Stoker-Key")
	if !strings.HasPrefix(key, "nats/JOBS/1/20") {
		t.Errorf("key %q", key)
	}
	c.submit(`{"command":["run","same"]}`, "Nats-Msg-Id", "id")
	c.await(2)
	poll(t, "the stream forgets the ID", func() bool {
		return !c.submit(`{"command":["run","same"]}`, "Nats-Msg-Id", "id").Duplicate
	})
	c.await(2) // the second result has the ID of the first
	if n := box.host.starts("same"); n != 1 {
		t.Errorf("%d starts", n)
	}
	c.submit(`{"command":["run","other"],"key":"id"}`)
	want(t, c.await(3)[2:], executor.Rejected)
	if n := box.host.starts(""); n != 2 {
		t.Errorf("%d starts", n)
	}
	// A stream that was made again counts from 1 again.
	if err := c.js.DeleteStream(t.Context(), "JOBS"); err != nil {
		t.Fatal(err)
	}
	if err := c.js.DeleteStream(t.Context(), "RESULTS"); err != nil {
		t.Fatal(err)
	}
	c.setUp(1, nil)
	c.submit(`{"command":["run","again"]}`)
	want(t, c.await(1), executor.Succeeded)
}

func TestInvalid(t *testing.T) {
	t.Parallel()
	s := startServer(t, nil)
	c := dial(t, s.ClientURL())
	c.setUp(1, nil)
	terms, err := c.nc.SubscribeSync("$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.JOBS.stoker")
	if err != nil {
		t.Fatal(err)
	}
	box := startContainer(t, s.ClientURL(), 4, nil)
	bodies := []struct{ body, why string }{
		{`nonsense`, "cannot read the spec"},
		{`{"command":["a"],"comand":1}`, "comand: there is no such field"},
		{`{"command":[]}`, "command:"},
		{`{"command":["a"],"nice":99}`, "nice:"},
	}
	for k, b := range bodies {
		c.submit(b.body)
		r := c.await(k + 1)[k]
		if r.Header.Get("Stoker-State") != "REJECTED" || !strings.Contains(string(r.Data), b.why) || r.Header.Get("Stoker-Key") == "" {
			t.Errorf("%s: %v %s", b.body, r.Header, r.Data)
		}
		m, err := terms.NextMsg(deadline)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(m.Data), b.why) {
			t.Errorf("%s: advisory %s", b.body, m.Data)
		}
	}
	if n := box.host.starts(""); n != 0 {
		t.Errorf("%d starts", n)
	}
}

// TestDeliveredAgain holds that a job in progress is not given to anybody else, and that a delivery which comes anyway starts nothing.
func TestDeliveredAgain(t *testing.T) {
	t.Parallel()
	s := startServer(t, nil)
	c := dial(t, s.ClientURL())
	c.setUp(1, func(s *jetstream.StreamConfig, c *jetstream.ConsumerConfig) {
		s.AllowMsgTTL = true                                      // the start deadline that follows from it differs with each delivery
		c.BackOff = []time.Duration{time.Second, 3 * time.Second} // which replace AckWait
	})
	box := startContainer(t, s.ClientURL(), 2, nil)
	c.submit(`{"command":["hold","one"],"key":"one"}`, "Nats-TTL", "1h")
	box.awaitStart("one")
	first := box.reply("one")
	<-time.After(2500 * time.Millisecond)
	if n := c.info().NumRedelivered; n != 0 {
		t.Fatalf("%d messages came again though their jobs are in progress", n)
	}
	if err := c.nc.Publish(first, []byte("-NAK")); err != nil { // as after a lost sign of progress
		t.Fatal(err)
	}
	poll(t, "second delivery", func() bool { return c.info().NumRedelivered == 1 })
	box.host.release("one")
	want(t, c.await(1), executor.Succeeded)
	if n := box.host.starts("one"); n != 1 {
		t.Errorf("%d starts", n)
	}
}

// TestSlots holds that no container takes more than it can start.
func TestSlots(t *testing.T) {
	t.Parallel()
	s := startServer(t, nil)
	c := dial(t, s.ClientURL())
	c.setUp(1, nil)
	for _, name := range strings.Fields("a b c d e f g h") {
		c.submit(`{"command":["hold","` + name + `"]}`)
	}
	one, two := startContainer(t, s.ClientURL(), 2, nil), startContainer(t, s.ClientURL(), 3, nil)
	poll(t, "5 starts", func() bool { return one.host.starts("") == 2 && two.host.starts("") == 3 })
	if info := c.info(); info.NumAckPending != 5 || info.NumPending != 3 {
		t.Errorf("%d messages taken, %d left", info.NumAckPending, info.NumPending)
	}
	// A job from elsewhere takes a slot while a pull waits: the message goes to the container that has one.
	for name := range two.host.held {
		two.host.release(name)
	}
	poll(t, "8 starts", func() bool { return two.host.starts("") == 6 })
	one.finish()
	two.finish()
	want(t, c.await(8), "SUCCEEDED", "SUCCEEDED", "SUCCEEDED", "SUCCEEDED", "SUCCEEDED", "SUCCEEDED", "SUCCEEDED", "SUCCEEDED")
}

// finish releases all jobs.
func (c *container) finish() {
	c.host.mu.Lock()
	defer c.host.mu.Unlock()
	for _, p := range c.host.held {
		p.end(0)
	}
}

// TestOtherJobs holds that a message is given back if jobs from elsewhere took the slot that its pull was made for.
func TestOtherJobs(t *testing.T) {
	t.Parallel()
	s := startServer(t, nil)
	c := dial(t, s.ClientURL())
	c.setUp(1, nil)
	one := startContainer(t, s.ClientURL(), 1, nil)
	poll(t, "a pull", func() bool { return c.info().NumWaiting == 1 })
	local, _, err := one.jobs.Submit(t.Context(), executor.Spec{Command: []string{"hold", "local"}}, "test")
	if err != nil {
		t.Fatal(err)
	}
	c.submit(`{"command":["run","far"]}`)
	poll(t, "it is given back", func() bool { return c.info().NumRedelivered == 1 || c.info().NumAckPending == 1 })
	if n := one.host.starts("far"); n != 0 {
		t.Errorf("%d starts", n)
	}
	if all, err := one.jobs.Jobs(executor.Filter{}); err != nil || len(all) != 1 || all[0].ID != local.ID {
		t.Errorf("%+v, %v", all, err)
	}
	startContainer(t, s.ClientURL(), 1, nil)
	want(t, c.await(1), executor.Succeeded)
}

// TestPriorities holds that work goes to the emptiest container.
func TestPriorities(t *testing.T) {
	t.Parallel()
	s := startServer(t, nil)
	c := dial(t, s.ClientURL())
	c.setUp(1, func(_ *jetstream.StreamConfig, c *jetstream.ConsumerConfig) {
		c.PriorityPolicy, c.PriorityGroups = jetstream.PriorityPolicyPrioritized, []string{"jobs"}
	})
	memory := func(used int64) func(*container) {
		return func(c *container) { c.memory = func() (int64, int64) { return used, 100 } }
	}
	full, empty := startContainer(t, s.ClientURL(), 4, memory(90)), startContainer(t, s.ClientURL(), 4, memory(10))
	full.awaitStatus("attached to JOBS/stoker;")
	empty.awaitStatus("attached to JOBS/stoker;")
	for _, name := range []string{"a", "b", "c"} { // with priorities 0, 2 and 3 against 4
		poll(t, "both wait for a message", func() bool { return c.info().NumWaiting >= 2 })
		c.submit(`{"command":["hold","` + name + `"]}`)
		empty.awaitStart(name)
	}
	empty.finish()
	c.await(3)
}

func TestBadConsumers(t *testing.T) {
	t.Parallel()
	s := startServer(t, nil)
	c := dial(t, s.ClientURL())
	box := startContainer(t, s.ClientURL(), 4, nil)
	box.awaitStatus("cannot find the stream JOBS")
	c.setUp(1, func(_ *jetstream.StreamConfig, c *jetstream.ConsumerConfig) { c.MaxDeliver = 5 })
	box.awaitStatus("max_deliver is 5")
	good := jetstream.ConsumerConfig{Durable: "stoker", AckPolicy: jetstream.AckExplicitPolicy, AckWait: 2 * time.Second}
	bad := good
	bad.MaxAckPending = 3
	c.consumer(bad)
	box.awaitStatus("max_ack_pending is 3")
	c.consumer(good)
	box.awaitStatus("attached to JOBS/stoker; no priorities")
	c.submit(`{"command":["run","a"]}`)
	want(t, c.await(1), executor.Succeeded)
	if err := c.js.DeleteConsumer(t.Context(), "JOBS", "stoker"); err != nil {
		t.Fatal(err)
	}
	box.awaitStatus("cannot find the consumer stoker")
	if err := c.js.DeleteStream(t.Context(), "RESULTS"); err != nil {
		t.Fatal(err)
	}
	c.consumer(good)
	box.awaitStatus("results jobs.results")
}

func TestCancel(t *testing.T) {
	t.Parallel()
	s := startServer(t, nil)
	c := dial(t, s.ClientURL())
	c.setUp(1, nil)
	one, two := startContainer(t, s.ClientURL(), 2, nil), startContainer(t, s.ClientURL(), 2, nil)
	c.submit(`{"command":["hold","a"],"key":"a"}`)
	c.submit(`{"command":["hold","b"],"key":"b"}`)
	poll(t, "both run", func() bool { return one.host.starts("")+two.host.starts("") == 2 })
	ask := func(what string) (*nats.Msg, error) {
		return c.nc.Request("jobs.cancel", []byte(what), 500*time.Millisecond)
	}
	answer, err := ask("key:a")
	if err != nil || answer.Header.Get("Stoker-Key") != "a" {
		t.Fatalf("%+v, %v", answer, err)
	}
	results := c.awaitResults(1)
	want(t, results, executor.Killed)
	if !strings.Contains(string(results[0].Data), `"by":"nats"`) {
		t.Errorf("%s", results[0].Data)
	}
	if answer, err = ask("key:a"); err != nil || answer.Header.Get("Stoker-State") != "KILLED" {
		t.Errorf("a job that has ended: %+v, %v", answer, err)
	}
	if answer, err = ask("key:nothing"); err == nil {
		t.Errorf("no such job: %s", answer.Data)
	}
	local, _, err := one.jobs.Submit(t.Context(), executor.Spec{Command: []string{"hold", "local"}, Key: "local"}, "test")
	if err != nil {
		t.Fatal(err)
	}
	if answer, err = ask(local.ID.String()); err == nil {
		t.Errorf("a job from elsewhere was stopped: %s", answer.Data)
	}
	id := ""
	for _, box := range []*container{one, two} {
		if job, err := box.jobs.Job("key:b"); err == nil {
			id = job.ID.String()
		}
	}
	if err := c.nc.Publish("jobs.cancel", []byte(id)); err != nil {
		t.Fatal(err)
	}
	want(t, c.await(2), executor.Killed, executor.Killed)
}

// awaitResults waits for results.
func (c *client) awaitResults(n int) []*jetstream.RawStreamMsg {
	c.t.Helper()
	poll(c.t, "results", func() bool { return len(c.results()) == n })
	return c.results()
}

// TestExpiryAndSchedule holds the headers that set times.
func TestExpiryAndSchedule(t *testing.T) {
	t.Parallel()
	s := startServer(t, nil)
	c := dial(t, s.ClientURL())
	c.setUp(1, func(s *jetstream.StreamConfig, c *jetstream.ConsumerConfig) {
		s.AllowMsgTTL, s.AllowMsgSchedules = true, true
		s.Subjects = append(s.Subjects, "jobs.at.>")
		c.FilterSubject = "jobs.new"
	})
	box := startContainer(t, s.ClientURL(), 2, func(c *container) { c.host.begun = make(chan time.Time, 10) })
	c.submit(`{"command":["hold","first"],"serial":"s"}`)
	box.awaitStart("first")
	c.submit(`{"command":["run","late"],"key":"late","serial":"s"}`, "Nats-TTL", "1s")
	want(t, c.awaitResults(1), executor.Skipped) // the other one has the serial key
	box.host.release("first")
	want(t, c.await(2), executor.Skipped, executor.Succeeded)
	// The server publishes it at the time.
	m := nats.NewMsg("jobs.at.1")
	m.Data = []byte(`{"command":["run","planned"]}`)
	at := time.Now().Add(time.Second)
	m.Header.Set("Nats-Schedule", "@at "+at.UTC().Format(time.RFC3339Nano))
	m.Header.Set("Nats-Schedule-Target", "jobs.new")
	if _, err := c.js.PublishMsg(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	c.await(3)
	<-box.host.begun
	if started := <-box.host.begun; started.Before(at) {
		t.Errorf("started %v before its time", at.Sub(started))
	}
	at = time.Now().Add(time.Second)
	c.submit(`{"command":["run","later"],"not_before":"` + at.UTC().Format(time.RFC3339Nano) + `"}`)
	poll(t, "it is given back", func() bool { return c.info().Delivered.Consumer == 4 && c.info().NumWaiting > 0 })
	if all, err := box.jobs.Jobs(executor.Filter{Engine: "nats", Unreported: true}); err != nil || len(all) != 0 {
		t.Errorf("%+v, %v", all, err)
	}
	c.await(4)
	if started := <-box.host.begun; started.Before(at) {
		t.Errorf("started %v before its time", at.Sub(started))
	}
	if n := box.host.starts("late"); n != 0 {
		t.Errorf("%d starts of the job that was late", n)
	}
}
