package natsjob

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stoker-init/stoker/executor"
)

func TestConfig(t *testing.T) {
	good := Config{URL: "nats://a:4222, tls://b:4222", Stream: "JOBS", Results: "jobs.results", States: "jobs.states", Cancel: "jobs.cancel"}
	for _, test := range []struct {
		name   string
		change func(*Config)
		field  string // empty: nothing is wrong
	}{
		{"good", func(*Config) {}, ""},
		{"none", func(c *Config) { *c = Config{} }, ""},
		{"no url", func(c *Config) { c.URL = "" }, "url"},
		{"scheme", func(c *Config) { c.URL = "http://a" }, "url"},
		{"no host", func(c *Config) { c.URL = "nats://a,nats:" }, "url"},
		{"no stream", func(c *Config) { c.Stream = "" }, "stream"},
		{"stream", func(c *Config) { c.Stream = "a.b" }, "stream"},
		{"consumer", func(c *Config) { c.Consumer = "a b" }, "consumer"},
		{"wildcard", func(c *Config) { c.Results = "jobs.*" }, "results"},
		{"empty part", func(c *Config) { c.States = "jobs..a" }, "states"},
		{"end", func(c *Config) { c.Cancel = "jobs." }, "cancel"},
		{"same subject", func(c *Config) { c.States = c.Results }, "states"},
		{"two credentials", func(c *Config) { c.CredsFile, c.TokenFile = "/a", "/b" }, "creds_file"},
		{"no key", func(c *Config) { c.CertFile = "/a" }, "cert_file"},
	} {
		c := good
		test.change(&c)
		var fields []string
		for _, f := range c.Validate() {
			fields = append(fields, f.Field)
		}
		if got := strings.Join(fields, " "); got != test.field {
			t.Errorf("%s: %q is wrong, want %q", test.name, got, test.field)
		}
	}
	c := good
	c.URL = "http://user:secret@host"
	if why := c.Validate()[0].Why; strings.Contains(why, "secret") {
		t.Error(why)
	}
}

func TestTerms(t *testing.T) {
	good := jetstream.ConsumerConfig{AckPolicy: jetstream.AckExplicitPolicy, AckWait: 30 * time.Second, MaxDeliver: -1, MaxAckPending: 1000}
	for _, test := range []struct {
		change func(*jetstream.ConsumerConfig)
		wrong  string
		want   terms
	}{
		{func(*jetstream.ConsumerConfig) {}, "", terms{progress: 10 * time.Second, pull: pullTime}},
		{func(c *jetstream.ConsumerConfig) { c.MaxAckPending = -1 }, "", terms{progress: 10 * time.Second, pull: pullTime}},
		{func(c *jetstream.ConsumerConfig) { c.BackOff = []time.Duration{3 * time.Second, time.Minute} }, "",
			terms{progress: time.Second, pull: pullTime}},
		{func(c *jetstream.ConsumerConfig) { c.MaxRequestExpires = time.Second }, "", terms{progress: 10 * time.Second, pull: time.Second}},
		{func(c *jetstream.ConsumerConfig) {
			c.PriorityPolicy, c.PriorityGroups = jetstream.PriorityPolicyPrioritized, []string{"g"}
		}, "", terms{progress: 10 * time.Second, pull: pullTime, group: "g", ranked: true}},
		{func(c *jetstream.ConsumerConfig) {
			c.PriorityPolicy, c.PriorityGroups = jetstream.PriorityPolicyOverflow, []string{"g"}
		}, "", terms{progress: 10 * time.Second, pull: pullTime, group: "g"}},
		{func(c *jetstream.ConsumerConfig) { c.PriorityPolicy = jetstream.PriorityPolicyPinned }, "priority_policy", terms{}},
		{func(c *jetstream.ConsumerConfig) { c.AckPolicy = jetstream.AckAllPolicy }, "ack_policy", terms{}},
		{func(c *jetstream.ConsumerConfig) { c.MaxDeliver = 3 }, "max_deliver", terms{}},
		{func(c *jetstream.ConsumerConfig) { c.MaxAckPending = 3 }, "max_ack_pending", terms{}},
		{func(c *jetstream.ConsumerConfig) { c.AckWait = time.Millisecond }, "ack_wait", terms{}},
		{func(c *jetstream.ConsumerConfig) { c.BackOff = []time.Duration{time.Minute, time.Millisecond} }, "backoff", terms{}},
		{func(c *jetstream.ConsumerConfig) { c.DeliverSubject = "x" }, "deliver_subject", terms{}},
		{func(c *jetstream.ConsumerConfig) { c.HeadersOnly = true }, "headers_only", terms{}},
	} {
		c := good
		test.change(&c)
		got, err := termsOf(&c, 4)
		if err == nil && (test.wrong != "" || got != test.want) {
			t.Errorf("%+v: %+v, want %+v %s", c, got, test.want, test.wrong)
		}
		if err != nil && (test.wrong == "" || !strings.HasPrefix(err.Error(), test.wrong+" ")) {
			t.Errorf("%+v: %v, want %q", c, err, test.wrong)
		}
	}
	for version, note := range map[string]string{"2.10.22": "NATS 2.10.22 has none", "2.11.0": "has none", "2.12.0": "not prioritized", "3.0.1": "not prioritized"} {
		if got := (&terms{progress: time.Minute}).note(version); !strings.Contains(got, note) {
			t.Errorf("%s: %q", version, got)
		}
	}
	if got := (&terms{progress: time.Minute, ranked: true}).note("2.15.3"); got != "" {
		t.Error(got)
	}
	if got := (&terms{progress: time.Second, ranked: true}).note("2.15.3"); !strings.Contains(got, "backoff of 3s") {
		t.Error(got)
	}
}

func TestPriority(t *testing.T) {
	for _, test := range []struct {
		free, slots int
		used, limit int64
		want        uint8
	}{
		{4, 4, 0, 0, 0}, {2, 4, 0, 0, 5}, {1, 4, 0, 0, 7}, {0, 4, 0, 0, 9}, {4, 4, 50, 100, 2}, {1, 4, 10, 100, 4}, {0, 4, 200, 100, 9},
		{5, 4, 0, 0, 0}, {0, 0, 0, 0, 9},
	} {
		if got := priority(test.free, test.slots, test.used, test.limit); got != test.want {
			t.Errorf("%+v: %d", test, got)
		}
	}
}

// counted is an executor of which the status is counted.
type counted struct {
	Executor
	asked int
}

func (c *counted) ExecutorStatus() executor.Status {
	c.asked++
	return executor.Status{Slots: 4}
}

func TestRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := &counted{}
		a := New(Options{Executor: x})
		a.terms.ranked = true
		for range 3 {
			if p := a.priority(2); p != 5 {
				t.Errorf("priority %d", p)
			}
		}
		if x.asked != 1 {
			t.Errorf("asked %d times", x.asked)
		}
		time.Sleep(roomAge + 1)
		if a.priority(2); x.asked != 2 {
			t.Errorf("asked %d times after a while", x.asked)
		}
	})
}

// TestSay holds that an outage is logged once, whatever it looks like in between, and its end too.
func TestSay(t *testing.T) {
	var out strings.Builder
	a := New(Options{Log: hclog.New(&hclog.LoggerOptions{Output: &out, DisableTime: true})})
	for _, kind := range []string{"connect", attached, attached, "connect", "x", "connect", "x", serverSays, "connect", attached, "connect"} {
		a.say(kind, "%s", kind)
	}
	got := strings.NewReplacer("NATS: ", "", "[INFO] ", "", "[WARN] ", "", "\n", ",", " ", "").Replace(out.String())
	if want := "connect,attached,connect,x,server,attached,connect,"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestCut(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"", ""}, {"short", "short"}, {"a\xffb", "a?b"}, {strings.Repeat("x", maxText), strings.Repeat("x", maxText)},
		{strings.Repeat("x", maxText+1), strings.Repeat("x", maxText)},
		{"x" + strings.Repeat("ä", maxText), "x" + strings.Repeat("ä", maxText/2-1)},
	} {
		if got := cut(test.text); got != test.want {
			t.Errorf("%.20q: %d bytes, want %d", test.text, len(got), len(test.want))
		}
	}
}

func meta() *jetstream.MsgMetadata {
	m := &jetstream.MsgMetadata{Stream: "JOBS", Timestamp: time.Unix(1000, 5).UTC()}
	m.Sequence.Stream = 7
	return m
}

func TestSpec(t *testing.T) {
	const place = "nats/JOBS/7/1970-01-01T00:16:40.000000005Z"
	now := time.Unix(1010, 5)
	for _, test := range []struct {
		name   string
		body   string
		header nats.Header
		check  func(executor.Spec) bool
		wrong  string
	}{
		{"place", `{"command":["a"]}`, nil, func(s executor.Spec) bool { return s.Key == place && s.StartWithin == 0 && s.NotBefore.IsZero() }, ""},
		{"id", `{"command":["a"]}`, nats.Header{"nats-msg-id": {"m"}}, func(s executor.Spec) bool { return s.Key == "m" }, ""},
		{"key", `{"command":["a"],"key":"k"}`, nats.Header{"Nats-Msg-Id": {"m"}}, func(s executor.Spec) bool { return s.Key == "k" }, ""},
		{"trace", `{"command":["a"],"baggage":"own"}`, nats.Header{"Traceparent": {"t"}, "tracestate": {"s"}, "Baggage": {"b"}},
			func(s executor.Spec) bool { return s.Traceparent == "t" && s.Tracestate == "s" && s.Baggage == "own" }, ""},
		{"ttl", `{"command":["a"]}`, nats.Header{"Nats-TTL": {"1m"}}, func(s executor.Spec) bool { return time.Duration(s.StartWithin) == 50*time.Second }, ""},
		{"seconds", `{"command":["a"]}`, nats.Header{"Nats-TTL": {"60"}}, func(s executor.Spec) bool { return time.Duration(s.StartWithin) == 50*time.Second }, ""},
		{"over", `{"command":["a"]}`, nats.Header{"Nats-TTL": {"1s"}}, func(s executor.Spec) bool { return s.StartWithin == 1 }, ""},
		{"never", `{"command":["a"]}`, nats.Header{"Nats-TTL": {"never"}}, func(s executor.Spec) bool { return s.StartWithin == 0 }, ""},
		{"own", `{"command":["a"],"start_within":"5s"}`, nats.Header{"Nats-TTL": {"1m"}},
			func(s executor.Spec) bool { return time.Duration(s.StartWithin) == 5*time.Second }, ""},
		{"at", `{"command":["a"]}`, nats.Header{"Nats-Schedule": {"@at 2030-01-02T03:04:05Z"}},
			func(s executor.Spec) bool { return s.NotBefore.Equal(time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)) }, ""},
		{"cron", `{"command":["a"]}`, nats.Header{"Nats-Schedule": {"@daily"}}, nil, "Nats-Schedule"},
		{"bad ttl", `{"command":["a"]}`, nats.Header{"Nats-TTL": {"-1s"}}, nil, "Nats-TTL"},
		{"no json", `x`, nats.Header{"Nats-Msg-Id": {"m"}}, nil, "cannot read the spec"},
		{"unknown", `{"command":["a"],"cmd":1}`, nil, nil, "cmd"},
	} {
		s, err := specOf([]byte(test.body), test.header, meta(), now)
		switch {
		case test.wrong == "" && (err != nil || !test.check(s)):
			t.Errorf("%s: %+v, %v", test.name, s, err)
		case test.wrong != "" && (err == nil || !strings.Contains(err.Error(), test.wrong)):
			t.Errorf("%s: %+v, %v", test.name, s, err)
		case s.Key == "":
			t.Errorf("%s: no key", test.name)
		}
	}
}

// FuzzSpec holds that any message has a key, a start deadline that is not negative, and the same job with its second delivery.
func FuzzSpec(f *testing.F) {
	f.Add(`{"command":["a"]}`, "id", "90s", "@at 2030-01-02T03:04:05Z")
	f.Add(`{"command":["a"],"key":"k"}`, "", "5", "")
	f.Add(`nonsense`, "", "9999999999", "@every 1s")
	f.Fuzz(func(t *testing.T, body, id, ttl, at string) {
		h := nats.Header{"Nats-Msg-Id": {id}, "Nats-TTL": {ttl}, "Nats-Schedule": {at}}
		s, err := specOf([]byte(body), h, meta(), time.Unix(1001, 0))
		again, _ := specOf([]byte(body), h, meta(), time.Unix(1001, 0))
		if s.Key == "" || s.Key != again.Key || err == nil && s.StartWithin < 0 {
			t.Errorf("%+v, %v", s, err)
		}
	})
}
