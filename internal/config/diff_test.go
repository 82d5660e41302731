package config

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stoker-init/stoker/internal/layeredyaml"
	"github.com/stoker-init/stoker/jvm"
	"github.com/stoker-init/stoker/netinit"
	"github.com/stoker-init/stoker/supervisor"
)

// TestEveryChangeIsKnown refuses a misspelt tag.
func TestEveryChangeIsKnown(t *testing.T) {
	for _, l := range append(leavesOf[Config](), leavesOf[Service]()...) {
		if !slices.Contains([]string{changeLive, changeRestart, changeJVM, changeContainer}, l.Change) {
			t.Errorf("%s has the tag change %q", l.Path, l.Change)
		}
	}
}

// valueAt returns the value at a path of the schema that leads through sections only.
func valueAt(t *testing.T, v reflect.Value, path string) reflect.Value {
	t.Helper()
	for _, l := range layeredyaml.Leaves(v.Type(), "") {
		if l.Path == path {
			value, _ := l.Get(v)
			return value
		}
	}
	t.Fatalf("there is no %s", path)
	return v
}

// TestDiffOfManyServices: what is found out about the schema is not found out for each
// service again. It was 2.6 MB a service, most of the supervisor's largest memory.
func TestDiffOfManyServices(t *testing.T) {
	many := func(n int) Config {
		c := Config{Services: map[string]Service{}}
		for k := range n {
			c.Services[fmt.Sprint("s", k)] = Service{Config: supervisor.Config{Command: []string{"x"}}}
		}
		return c
	}
	cost := func(n int) float64 {
		old, next := many(n), many(n)
		return testing.AllocsPerRun(3, func() { Diff(old, next) })
	}
	if each := (cost(200) - cost(100)) / 100; each > 300 {
		t.Errorf("a service that has not changed takes %.0f allocations", each)
	}
}

func sample() Config {
	return Config{Main: "cat", Netinit: netinit.Config{Source: "/net.yaml"}, Services: map[string]Service{
		"cat": {Kind: KindTomcat, Config: supervisor.Config{ProcessConfig: supervisor.ProcessConfig{Env: map[string]string{"A": "1", "B": "2"}}}},
		"web": {Config: supervisor.Config{Command: []string{"x"}}},
	}}
}

// TestEveryFieldIsCompared changes each value on its own: Diff tells of it and of
// nothing else that needs more, and the fingerprint changes when a restart follows.
func TestEveryFieldIsCompared(t *testing.T) {
	old := WithDefaults(sample())
	for _, l := range leavesOf[Service]() {
		path := l.Path
		changed := WithDefaults(sample())
		s := changed.Services["cat"]
		n := 1000
		fill(t, valueAt(t, reflect.ValueOf(&s).Elem(), path), &n)
		changed.Services["cat"] = s
		got := Diff(old, changed)
		want := ActionUpdate
		if l.Change == changeRestart {
			want = ActionRestart
		}
		if path == "oneshot" || path == "autostart" || strings.HasSuffix(path, "thread_dump") {
			// fill knows only true, which some have by default.
			b := !reflect.Indirect(valueAt(t, reflect.ValueOf(old.Services["cat"]), path)).Bool()
			reflect.Indirect(valueAt(t, reflect.ValueOf(&s).Elem(), path)).SetBool(b)
			changed.Services["cat"] = s
			got = Diff(old, changed)
		}
		if len(got) != 1 || got[0].Service != "cat" || got[0].Action != want ||
			!slices.ContainsFunc(got[0].Fields, func(field string) bool { return strings.HasPrefix(field, "services.cat."+path) }) {
			t.Errorf("%s: got %v, want %s", path, got, want)
		}
		if differs := fingerprint(old, "cat") != fingerprint(changed, "cat"); differs != (l.Change == changeRestart) {
			t.Errorf("%s: the fingerprint differs: %v", path, differs)
		}
	}
	for _, l := range leavesOf[Config]() {
		path := l.Path
		if l.Change != changeJVM {
			continue
		}
		changed := WithDefaults(sample())
		n := 1000
		fill(t, valueAt(t, reflect.ValueOf(&changed).Elem(), path), &n)
		if got := Diff(old, changed); len(got) != 1 || got[0].String() != "restart cat ("+path+" changed)" {
			t.Errorf("%s: got %v", path, got)
		}
		if fingerprint(old, "cat") == fingerprint(changed, "cat") || fingerprint(old, "web") != fingerprint(changed, "web") {
			t.Errorf("%s: the fingerprint of the JVM has to change, and no other", path)
		}
	}
	for _, l := range leavesOf[Config]() {
		path := l.Path
		if l.Change == changeJVM {
			continue
		}
		changed := WithDefaults(sample())
		n := 1000
		fill(t, valueAt(t, reflect.ValueOf(&changed).Elem(), path), &n)
		switch path { // true already
		case "reload.watch":
			*changed.Reload.Watch = false
		case "jvm.check":
			*changed.JVM.Check = false
		case "netinit.required":
			*changed.Netinit.Required = false
		}
		want := map[string]Action{changeLive: ActionUpdate, changeContainer: ActionRenew}[l.Change]
		got := Diff(old, changed)
		if len(got) != 1 || got[0].Service != "" || got[0].Action != want || !strings.HasPrefix(got[0].Fields[0], path) {
			t.Errorf("%s: got %v, want %s", path, got, want)
		}
	}
}

func TestDiff(t *testing.T) {
	change := func(f func(c *Config)) Config {
		c := sample()
		f(&c)
		return c
	}
	service := func(name string, f func(s *Service)) Config {
		return change(func(c *Config) {
			s := c.Services[name]
			f(&s)
			c.Services[name] = s
		})
	}
	none := change(func(c *Config) { c.Services = nil; c.Main = "" })
	for _, tc := range []struct {
		name     string
		old, new Config
		want     string
	}{
		{"nothing", sample(), WithDefaults(sample()), ""},
		{"both empty", Config{}, Config{}, ""},
		{"an empty list is none", sample(), service("web", func(s *Service) { s.EnvFiles, s.Ready.Exec = []string{}, []string{} }), ""},
		{"an empty map is none", sample(), service("web", func(s *Service) { s.Env, s.Rlimits = map[string]string{}, map[string]string{} }), ""},
		{"no groups are not the user's groups", sample(), service("web", func(s *Service) { s.Groups = []string{} }),
			"restart web (services.web.groups changed)"},
		{"0 is not absent", sample(), service("web", func(s *Service) { s.Nice = new(int) }), "restart web (services.web.nice changed)"},
		{"a default that is written", sample(), service("web", func(s *Service) { s.Restart.Policy = supervisor.Always }), ""},
		{"keys", sample(), service("cat", func(s *Service) { s.Env = map[string]string{"A": "9", "C D": "secret"} }),
			`restart cat (services.cat.env.A, services.cat.env.B, services.cat.env."C D" changed)`},
		{"both kinds", sample(), service("web", func(s *Service) { s.Command, s.Ready.TCP = []string{"y"}, "h:1" }),
			"restart web (services.web.command, services.web.ready.tcp changed)"},
		{"many", sample(), service("web", func(s *Service) {
			s.Env = map[string]string{"1": "", "2": "", "3": "", "4": "", "5": "", "6": "", "7": ""}
		}), "restart web (services.web.env.1, services.web.env.2, services.web.env.3, services.web.env.4, services.web.env.5 and 2 more " +
			"changed)"},
		{"add and remove", change(func(c *Config) { delete(c.Services, "web") }), change(func(c *Config) {
			delete(c.Services,
				"cat")
			c.Main = "web"
		}),
			"update the container (main changed)|remove cat|add web"},
		{"all", none, sample(), "update the container (main changed)|add cat|add web"},
		{"the container's stop is the services'", sample(), change(func(c *Config) { c.Stop.Timeout = 20 * time.Second }),
			"update the container (stop.timeout changed)|update cat (services.cat.stop.requests, services.cat.stop.timeout changed)|" +
				"update web (services.web.stop.timeout changed)"},
		{"the socket", sample(), change(func(c *Config) { c.API.Socket, c.Labels = "/x", map[string]string{"a.b": "1"} }),
			`update the container (labels."a.b" changed)|nothing until there is a new container (api.socket changed)`},
		{"a process becomes a java", sample(), service("web", func(s *Service) { s.Kind, s.Command, s.Java.Jar = KindJava, nil, "/x.jar" }),
			"restart web (services.web.command, services.web.java.jar, services.web.kind, services.web.restart.limit.uncounted_codes, " +
				"services.web.stop.thread_dump and 1 more changed)"},
		{"options of no JVM", none, change(func(c *Config) {
			c.Main, c.Services, c.JVM.User = "", nil, jvm.LayerConfig{Options: []jvm.Inline{{Option: "-Xmx1g"}}}
		}), ""},
	} {
		var got []string
		for _, c := range Diff(tc.old, tc.new) {
			got = append(got, c.String())
		}
		if text := strings.Join(got, "|"); text != tc.want {
			t.Errorf("%s:\ngot  %s\nwant %s", tc.name, text, tc.want)
		}
	}
}

// TestFingerprintStays pins the value: where it changes, an upgrade restarts
// every service that it takes over.
func TestFingerprintStays(t *testing.T) {
	c := sample()
	c.JVM.Flavor = jvm.Flavor{CPUs: 1.5, Memory: "1GiB"}
	s := c.Services["web"]
	s.Nice, s.Groups = new(int), []string{}
	s.Env = map[string]string{}
	for i := range 30 {
		s.Env[fmt.Sprint("NAME", i)] = fmt.Sprint("value\n", i)
	}
	c.Services["web"] = s
	const want = "web=a0a39b6405087a6c13b53ada447681f3 cat=132cc7f7435fae495d78fded63ab7bab none="
	prints := func(c Config) string {
		return fmt.Sprintf("web=%s cat=%s none=%s", fingerprint(c, "web"), fingerprint(c, "cat"), fingerprint(c, "none"))
	}
	if os.Getenv("STOKER_CI_FINGERPRINT") != "" {
		fmt.Println(prints(c))
		return
	}
	for range 20 {
		if got := prints(c); got != want {
			t.Fatalf("got %s, want %s", got, want)
		}
	}
	if got := prints(WithDefaults(c)); got != want {
		t.Errorf("with defaults %s", got)
	}
	data, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	var kept Config
	if err := json.Unmarshal(data, &kept); err != nil {
		t.Fatal(err)
	}
	if got := prints(kept); got != want {
		t.Errorf("out of JSON %s", got)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestFingerprintStays$")
	cmd.Env = append(os.Environ(), "STOKER_CI_FINGERPRINT=1")
	if out, err := cmd.Output(); err != nil || !strings.HasPrefix(string(out), want) {
		t.Errorf("in another process: %v %s", err, out)
	}
}

// FuzzDiff loads two files. Diff says restart exactly where the fingerprints
// differ, and nothing for the same file.
func FuzzDiff(f *testing.F) {
	f.Add([]byte("services: {a: {command: [x]}}"), []byte("services: {a: {command: [x], env: {A: b}}}"))
	f.Add([]byte("services: {a: {kind: tomcat}}\njvm: {flavor: {cpus: 2}}"), []byte("services: {a: {kind: tomcat, groups: []}}"))
	f.Fuzz(func(t *testing.T, one, two []byte) {
		load := func(data []byte) Config {
			l := layeredyaml.New(schema)
			l.Bytes("x", data)
			var c Config
			if len(l.Problems()) == 0 {
				l.Decode(&c)
			}
			return c
		}
		a, b := load(one), load(two)
		if d := Diff(a, load(one)); len(d) > 0 {
			t.Fatalf("the same differs: %v", d)
		}
		restarts := map[string]bool{}
		for _, c := range Diff(a, b) {
			if strings.ContainsAny(c.String(), "\n\x00") {
				t.Fatalf("not one line: %q", c)
			}
			restarts[c.Service] = c.Action == ActionRestart
		}
		for name := range a.Services {
			if _, both := b.Services[name]; both && (fingerprint(a, name) != fingerprint(b, name)) != restarts[name] {
				t.Fatalf("%q: restart is %v", name, restarts[name])
			}
		}
	})
}

// fingerprint is that of one service; empty: there is no such service.
func fingerprint(cfg Config, service string) string { return Fingerprints(cfg)[service] }

// An executor that was not started with the container waits for another one; the rest is as it was.
func TestPostpone(t *testing.T) {
	next := sample()
	next.Executor.Slots, next.Executor.Journal, next.Log.Level = 7, "/elsewhere", "debug"
	next.Services = map[string]Service{"new": next.Services["web"]}
	before := Diff(sample(), next)
	after := Postpone(before, "executor")
	if len(after) != len(before) || after[0].Action != ActionRenew ||
		!slices.Equal(after[0].Fields, []string{"executor.slots", "executor.journal"}) ||
		after[1].Action != ActionUpdate || !slices.Equal(after[1].Fields, []string{"log.level"}) ||
		!reflect.DeepEqual(after[2:], before[2:]) {
		t.Errorf("%v, and before %v", after, before)
	}
	if same := Diff(sample(), sample()); len(Postpone(same, "executor")) > 0 {
		t.Error("nothing has changed")
	}
	next = sample()
	next.Executor.Slots = 7
	if got := Postpone(Diff(sample(), next), "executor"); len(got) != 1 || got[0].Action != ActionRenew {
		t.Errorf("%v", got)
	}
}
