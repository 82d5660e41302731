package plugin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stoker-init/stoker/hooks"
	"github.com/stoker-init/stoker/internal/lifecycle"
	"github.com/stoker-init/stoker/jvm"
)

// fixture is a set of plugins in a folder, with manifests that are given as values.
type fixture struct {
	t         *testing.T
	dir       string
	manifests map[string]*Manifest
	saved     []byte
	changes   []string
	warnings  []string
	hooks     []hooks.ResolvedHook
	plugins   *Set
}

func newFixture(t *testing.T) *fixture {
	return &fixture{t: t, dir: t.TempDir(), manifests: map[string]*Manifest{}}
}

// add makes a plugin with one fragment.
func (s *fixture) add(m Manifest, fragment string) {
	s.t.Helper()
	dir := filepath.Join(s.dir, "plugins", m.Name)
	if err := os.MkdirAll(filepath.Join(dir, "jvm.d"), 0o755); err != nil {
		s.t.Fatal(err)
	}
	if fragment != "" {
		s.write(filepath.Join(dir, "jvm.d/50-a.opts"), fragment)
	}
	s.manifests[m.Name] = &m
}

func (s *fixture) write(path, text string) {
	s.t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

func (s *fixture) restore(state any) (found bool, err error) {
	if s.saved == nil {
		return false, nil
	}
	return true, json.Unmarshal(s.saved, state)
}

// start starts a supervisor, with the state that another has saved.
func (s *fixture) start(cfg Config, facts hooks.Facts) *Set {
	s.plugins = New(Options{Version: "0.5.0", Stoker: "/bin/stoker", StateFile: filepath.Join(s.dir, "state/plugins.json"),
		StateDirs: []string{filepath.Join(s.dir, "state/plugins")}, Restore: s.restore,
		Reader: Reader{Manifest: func(path string) (*Manifest, error) {
			m := s.manifests[filepath.Base(filepath.Dir(path))]
			if m == nil {
				return nil, errors.New(path + ": it cannot be read")
			}
			return m, nil
		}},
		Save:     func(state any) (err error) { s.saved, err = json.Marshal(state); return err },
		OnChange: func(p Info) { s.changes = append(s.changes, fmt.Sprint(p.Name, " ", p.State)) },
		OnHooks:  func(list []hooks.ResolvedHook) { s.hooks = list },
		Warn:     func(text string) { s.warnings = append(s.warnings, text) }})
	cfg.Dir = filepath.Join(s.dir, "plugins")
	s.plugins.Configure(cfg, facts)
	return s.plugins
}

// state is the state of a plugin, and why it is not active.
func (s *fixture) state(name string) string {
	s.t.Helper()
	p, err := s.plugins.Get(name)
	if err != nil {
		s.t.Fatal(err)
	}
	return strings.TrimSpace(string(p.State) + " " + p.Why)
}

func (s *fixture) want(name, want string) {
	s.t.Helper()
	if got := s.state(name); !strings.HasPrefix(got, want) {
		s.t.Errorf("%s is %q, want %q", name, got, want)
	}
}

func (s *fixture) options() string {
	var out []string
	for _, c := range s.plugins.JVMOptions(nil) {
		for _, layer := range layers {
			for _, o := range c.Options[layer] {
				out = append(out, fmt.Sprintf("%s %s %s", layer, strings.Join(o.Args, "|"), o.Source))
			}
		}
	}
	return strings.Join(out, "\n")
}

func yes() *bool { v := true; return &v }
func no() *bool  { v := false; return &v }

func TestStates(t *testing.T) {
	moon := jvm.When{Terms: jvm.Terms{Env: map[string]jvm.StringList{"PLACE": {"moon"}}}}
	gold := jvm.When{Terms: jvm.Terms{Labels: map[string]jvm.StringList{"tier": {"gold"}}}}
	small := jvm.When{Terms: jvm.Terms{Flavor: jvm.StringList{"small"}}}
	port := map[string]Param{"port": {Type: TypePort, Required: true}}
	for _, tc := range []struct {
		name string
		m    Manifest
		use  Override
		want string
	}{
		{"a folder is enough", Manifest{}, Override{}, "active"},
		{"off by manifest", Manifest{Enabled: no()}, Override{}, "inactive off by its manifest"},
		{"on by configuration", Manifest{Enabled: no()}, Override{On: yes()}, "active"},
		{"off by configuration", Manifest{Enabled: yes()}, Override{On: no()}, "inactive switched off by the configuration"},
		{"condition of the manifest", Manifest{When: moon}, Override{On: yes()}, "inactive condition: env PLACE is not moon"},
		{"condition of the configuration", Manifest{}, Override{When: gold}, "inactive condition: label tier is not gold"},
		{"flavor", Manifest{When: small}, Override{}, "active"},
		{"version", Manifest{Requires: Requires{Stoker: ">=0.6"}}, Override{}, "failed it needs stoker >=0.6, and this is 0.5.0"},
		{"required parameter", Manifest{Params: port}, Override{}, "failed the parameter port is required and not set"},
		{"off before that", Manifest{Params: port}, Override{On: no()}, "inactive"},
		{"given", Manifest{Params: port}, Override{Set: map[string]string{"port": "1"}}, "active"},
		{"wrong", Manifest{Params: port}, Override{Set: map[string]string{"port": "http"}},
			`failed the parameter port of the configuration: "http" is not a whole number`},
		{"unknown", Manifest{}, Override{Set: map[string]string{"x": "1"}}, `failed the configuration sets "x", and there is no such parameter`},
		{"a label that is missing", Manifest{Params: map[string]Param{"id": {Default: text("${label.appid}")}}}, Override{},
			"failed params.id.default: label appid is not set"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newFixture(t)
			tc.m.Name = "p"
			s.add(tc.m, "")
			s.start(Config{Enabled: map[string]Override{"p": tc.use}}, hooks.Facts{Env: map[string]string{"PLACE": "earth"},
				Labels: map[string]string{"tier": "iron"}, Flavor: func() string { return "small" }})
			s.want("p", tc.want)
		})
	}
}

func TestJVMOptionsInOrder(t *testing.T) {
	s := newFixture(t)
	s.add(Manifest{Name: "b", Params: map[string]Param{"v": {Default: text("two words")}}},
		"# layer: enforced\n-Db=${params.v}\n--add-opens java.base/java.lang=${params.v}\n")
	s.add(Manifest{Name: "a", JVM: ManifestJVM{Layer: "user"}}, "-Da=${plugin_dir} ${state_dir}\n\n# comment\n--add-modules\njdk.x\n")
	s.add(Manifest{Name: "c", Enabled: no()}, "-Dc=1")
	s.start(Config{}, hooks.Facts{})
	a, state := filepath.Join(s.dir, "plugins/a"), filepath.Join(s.dir, "state/plugins/a")
	want := "user -Da=" + a + " " + state + " plugin a (jvm.d/50-a.opts:1)\nuser --add-modules|jdk.x plugin a (jvm.d/50-a.opts:4)\n" +
		"enforced -Db=two words plugin b (jvm.d/50-a.opts:2)\nenforced --add-opens|java.base/java.lang=two words plugin b (jvm.d/50-a.opts:3)"
	if got := s.options(); got != want {
		t.Errorf("options\n%s\nwant\n%s", got, want)
	}
	if info, err := os.Stat(state); err != nil || !info.IsDir() {
		t.Errorf("the state folder: %v", err)
	}
	if got := s.plugins.JVMOptions([]string{"a"}); len(got) != 1 || got[0].Name != "b" {
		t.Errorf("without a: %v", got)
	}
}

func TestBadFragments(t *testing.T) {
	for fragment, want := range map[string]string{
		"-Da=${params.x}":  "50-a.opts:1: there is no parameter",
		"# c\nnonsense":    "50-a.opts:2: \"nonsense\" does not begin with -",
		"# layer: mine\n":  "50-a.opts:1: \"mine\" is no layer",
		"-Da=\x00":         "it has a NUL byte",
		"-Da=${params.se}": "secret, and everybody can read a command line",
	} {
		s := newFixture(t)
		s.add(Manifest{Name: "p", Params: map[string]Param{"se": {Secret: true}}}, fragment)
		s.start(Config{}, hooks.Facts{})
		if got := s.state("p"); !strings.HasPrefix(got, "failed") || !strings.Contains(got, want) {
			t.Errorf("%q: %s, want %s", fragment, got, want)
		}
		if s.options() != "" {
			t.Errorf("%q is options: %s", fragment, s.options())
		}
	}
}

func TestRequiredPluginBlocks(t *testing.T) {
	s := newFixture(t)
	s.add(Manifest{Name: "p", Required: yes(), Params: map[string]Param{"x": {Required: true}}}, "")
	s.add(Manifest{Name: "q", Params: map[string]Param{"x": {Required: true}}}, "")
	s.start(Config{}, hooks.Facts{})
	if err := s.plugins.Blocked(); err == nil || !strings.Contains(err.Error(),
		"the plugin p is required and has failed: the parameter x is required") {
		t.Errorf("%v", err)
	}
	s.plugins.Configure(Config{Dir: filepath.Join(s.dir, "plugins"), Enabled: map[string]Override{"p": {On: no()}}}, hooks.Facts{})
	if err := s.plugins.Blocked(); err != nil {
		t.Errorf("a plugin that is off blocks: %v", err)
	}
}

// A plugin whose options cannot be read is required, unless its manifest says otherwise.
func TestEnforcedOptionsAreRequired(t *testing.T) {
	inPlugin := func(path string) func(s *fixture, dir string) {
		return func(s *fixture, dir string) { s.write(filepath.Join(dir, path), "-Dx=${params.none}") }
	}
	const enforced = "# layer: enforced\n-Dpolicy=1"
	for _, c := range []struct {
		name     string
		m        Manifest
		fragment string
		harm     func(s *fixture, dir string) // what befalls it
		blocks   bool
	}{
		{"nothing", Manifest{}, enforced, func(*fixture, string) {}, false},
		{"a second file is broken", Manifest{}, enforced, inPlugin("jvm.d/60-b.opts"), true},
		{"a second file, and the layer is the manifest's", Manifest{JVM: ManifestJVM{Layer: "enforced"}}, "-Dpolicy=1",
			inPlugin("jvm.d/60-b.opts"), true},
		{"its manifest is gone", Manifest{}, enforced, func(s *fixture, _ string) { delete(s.manifests, "p") }, true},
		{"its manifest is gone, and the layer may have stood there", Manifest{JVM: ManifestJVM{Layer: "enforced"}}, "-Dpolicy=1",
			func(s *fixture, _ string) { delete(s.manifests, "p") }, true},
		{"its file is one that cannot be read", Manifest{}, enforced, func(s *fixture, dir string) {
			s.try(os.Remove(filepath.Join(dir, "jvm.d/50-a.opts")), os.Symlink("/nowhere", filepath.Join(dir, "jvm.d/50-a.opts")))
		}, true},
		{"its folder is one that cannot be read", Manifest{}, enforced, func(s *fixture, dir string) {
			s.try(os.RemoveAll(filepath.Join(dir, "jvm.d")), os.Symlink("/nowhere", filepath.Join(dir, "jvm.d")))
		}, true},
		{"all of it is one that cannot be read", Manifest{}, enforced, func(s *fixture,
			dir string) {
			s.try(os.RemoveAll(dir), os.Symlink("/nowhere", dir))
		}, true},
		{"the folder of all is one that cannot be read", Manifest{}, enforced, func(s *fixture, dir string) {
			s.try(os.RemoveAll(filepath.Dir(dir)), os.WriteFile(filepath.Dir(dir), nil, 0o600))
		}, true},
		{"it is switched off", Manifest{Enabled: no()}, enforced, inPlugin("jvm.d/60-b.opts"), false},
		{"it is not required", Manifest{Required: no()}, enforced, inPlugin("jvm.d/60-b.opts"), false},
		{"it enforces nothing", Manifest{}, "-Dx=1", inPlugin("jvm.d/60-b.opts"), false},
		{"it needs another stoker", Manifest{Requires: Requires{Stoker: ">=9"}}, enforced, func(*fixture, string) {}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newFixture(t)
			c.m.Name = "p"
			s.add(c.m, c.fragment)
			c.harm(s, filepath.Join(s.dir, "plugins/p"))
			s.start(Config{}, hooks.Facts{})
			if err := s.plugins.Blocked(); (err != nil) != c.blocks {
				t.Errorf("%v, want an error: %v", err, c.blocks)
			}
		})
	}
	s := newFixture(t)
	s.add(Manifest{Name: "p"}, enforced)
	s.start(Config{}, hooks.Facts{})
	s.plugins.SetStartedWith("app", []string{"p"})
	if why := s.plugins.DisableSuspects("app", Exit{Named: []string{"p"}, Reason: "crash"}); why != "" {
		t.Errorf("a JVM that dies is started without it: %s", why)
	}
	s.plugins.OnHookFailure("p", lifecycle.PreStart, "no")
	s.want("p", "active")
}

func (s *fixture) try(errs ...error) {
	s.t.Helper()
	if err := errors.Join(errs...); err != nil {
		s.t.Fatal(err)
	}
}

func TestSwitchPersists(t *testing.T) {
	s := newFixture(t)
	s.add(Manifest{Name: "p", Enabled: no(), Params: map[string]Param{"v": {Pattern: "[a-z]+", Default: text("a")}}}, "-Dv=${params.v}")
	p := s.start(Config{Enabled: map[string]Override{"p": {On: no(), Set: map[string]string{"v": "conf"}}}}, hooks.Facts{})
	s.want("p", "inactive switched off by the configuration")
	if unsaved, err := p.Switch("p", SwitchRequest{Enabled: yes(), Params: map[string]*string{"v": text("said")}},
		"me"); err != nil || unsaved != "" {
		t.Fatal(unsaved, err)
	}
	s.want("p", "active")
	if want := "default -Dv=said plugin p (jvm.d/50-a.opts:1)"; s.options() != want {
		t.Errorf("%s", s.options())
	}
	for _, bad := range []map[string]*string{{"v": text("UPPER")}, {"w": text("x")}, {"v": text("ok"), "w": nil}} {
		var refused *ParamError
		if _, err := p.Switch("p", SwitchRequest{Enabled: no(), Params: bad}, "me"); !errors.As(err, &refused) {
			t.Errorf("%v: %v", bad, err)
		}
		s.want("p", "active")
	}
	s.saved = nil // another container
	p = s.start(Config{}, hooks.Facts{})
	s.want("p", "active")
	if _, err := p.Switch("p", SwitchRequest{Params: map[string]*string{"v": nil}}, "me"); err != nil {
		t.Fatal(err)
	}
	if want := "default -Dv=a plugin p (jvm.d/50-a.opts:1)"; s.options() != want {
		t.Errorf("%s", s.options())
	}
	info, err := os.Stat(filepath.Join(s.dir, "state/plugins.json"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
	var none *NotFoundError
	if _, err := p.Switch("q", SwitchRequest{}, "me"); !errors.As(err, &none) {
		t.Errorf("%v", err)
	}
}

func TestSwitchThatCannotBeWritten(t *testing.T) {
	s := newFixture(t)
	s.add(Manifest{Name: "p"}, "")
	s.write(filepath.Join(s.dir, "state"), "") // where its folder would be
	s.start(Config{}, hooks.Facts{})
	if unsaved, err := s.plugins.Switch("p", SwitchRequest{Enabled: no()}, "me"); err != nil || unsaved == "" {
		t.Errorf("%q %v", unsaved, err)
	}
	s.want("p", "inactive switched off by the operator")
	s.start(Config{}, hooks.Facts{}) // another supervisor of the same container
	s.want("p", "inactive switched off by the operator")
}

// A damaged state file never switches a plugin on: plugins have failed until an operator switches them.
func TestDamagedStateFile(t *testing.T) {
	s := newFixture(t)
	for _, name := range []string{"off", "on", "other", "manifest"} {
		m := Manifest{Name: name}
		if name == "manifest" {
			m.Enabled = no()
		}
		s.add(m, "-D"+name)
	}
	p := s.start(Config{}, hooks.Facts{})
	for name, on := range map[string]*bool{"off": no(), "on": yes()} {
		if _, err := p.Switch(name, SwitchRequest{Enabled: on}, "me"); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(s.dir, "state/plugins.json")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	another := func(content []byte) { // container
		t.Helper()
		s.saved, s.warnings = nil, nil
		s.write(path, string(content))
		p = s.start(Config{}, hooks.Facts{})
		s.want("off", "failed it is not known whether it was switched off: the state file "+path+" is damaged: ")
		s.want("on", "failed it is not known")
		s.want("other", "failed it is not known")
		s.want("manifest", "inactive off by its manifest")
		if kept, err := os.ReadFile(path + ".bad"); !bytes.Equal(kept, content) {
			t.Errorf("%q is kept as %q, %v", content, kept, err)
		}
		if len(s.warnings) != 1 || !strings.Contains(s.warnings[0], "plugins.json.bad") {
			t.Errorf("warned %q", s.warnings)
		}
	}
	for n := 0; n < len(whole); n += 17 { // package statefile tries all of both
		another(whole[:n])
		bad := bytes.Clone(whole)
		bad[n] ^= 1 << (n % 8)
		another(bad)
	}
	another([]byte("{}"))
	another(make([]byte, len(whole)))

	s.saved, s.warnings = nil, nil // another container still does not know, and another supervisor neither
	for range 2 {
		p = s.start(Config{}, hooks.Facts{})
		s.want("off", "failed it is not known")
	}
	if _, err := p.Switch("other", SwitchRequest{Enabled: yes()}, "me"); err != nil {
		t.Fatal(err)
	}
	s.saved = nil
	p = s.start(Config{}, hooks.Facts{})
	s.want("other", "active")
	s.want("off", "failed it is not known")
	for name, on := range map[string]*bool{"off": no(), "on": yes(), "manifest": yes()} {
		if _, err := p.Switch(name, SwitchRequest{Enabled: on}, "me"); err != nil {
			t.Fatal(err)
		}
	}
	s.add(Manifest{Name: "new"}, "-Dnew")
	s.saved = nil
	s.start(Config{}, hooks.Facts{})
	s.want("off", "inactive switched off by the operator")
	s.want("manifest", "active")
	s.want("new", "active") // every one that there was is decided
}

// A required plugin whose switch is unknown blocks starts.
func TestDamagedStateFileAndRequiredPlugin(t *testing.T) {
	s := newFixture(t)
	s.add(Manifest{Name: "policy", Required: yes()}, "-Dpolicy")
	if err := os.MkdirAll(filepath.Join(s.dir, "state/plugins.json"), 0o755); err != nil { // a folder
		t.Fatal(err)
	}
	p := s.start(Config{}, hooks.Facts{})
	if err := p.Blocked(); err == nil || !strings.Contains(err.Error(), "policy is required and has failed: it is not known") {
		t.Errorf("%v", err)
	}
	if _, err := p.Switch("policy", SwitchRequest{Enabled: yes()}, "me"); err != nil || p.Blocked() != nil {
		t.Errorf("%v, %v", err, p.Blocked())
	}
}

// If the state of an earlier supervisor is damaged, the file is used.
func TestDamagedKeptState(t *testing.T) {
	s := newFixture(t)
	s.add(Manifest{Name: "p"}, "-Dp")
	s.saved = []byte(`{"switches": {"p": {"ena`)
	p := s.start(Config{}, hooks.Facts{})
	s.want("p", "failed it is not known")
	if _, err := p.Switch("p", SwitchRequest{Enabled: no()}, "me"); err != nil {
		t.Fatal(err)
	}
	s.saved = []byte("{")
	s.start(Config{}, hooks.Facts{})
	s.want("p", "inactive switched off by the operator")
}

func TestConcurrentSwitches(t *testing.T) {
	s := newFixture(t)
	for _, name := range []string{"a", "b", "c", "d"} {
		s.add(Manifest{Name: name}, "-D"+name)
	}
	p := s.start(Config{}, hooks.Facts{})
	var all sync.WaitGroup
	for _, name := range []string{"a", "b", "c", "d"} {
		all.Go(func() {
			for k := range 20 {
				on := k%2 == 1
				if _, err := p.Switch(name, SwitchRequest{Enabled: &on}, "me"); err != nil {
					t.Error(err)
				}
				p.JVMOptions(nil)
				p.List()
			}
		})
	}
	all.Wait()
	s.saved = nil
	p = s.start(Config{}, hooks.Facts{})
	if len(p.saved.Switches) != 4 {
		t.Fatalf("%v", p.saved.Switches)
	}
	for name, said := range p.saved.Switches {
		if !*said.Enabled {
			t.Errorf("%s is off in the state file", name)
		}
	}
}

func TestDisableSuspects(t *testing.T) {
	begin := func(t *testing.T) *fixture {
		s := newFixture(t)
		for _, name := range []string{"a", "b", "required"} {
			m := Manifest{Name: name}
			if name == "required" {
				m.Required = yes()
			}
			s.add(m, "-D"+name)
		}
		s.start(Config{}, hooks.Facts{})
		s.plugins.SetStartedWith("app", []string{"a", "b", "required"})
		return s
	}
	t.Run("the named one is the cause", func(t *testing.T) {
		s := begin(t)
		if why := s.plugins.DisableSuspects("app", Exit{Named: []string{"b"}, Reason: "port\ntaken"}); !strings.Contains(why,
			"without the plugin b, which") || !strings.Contains(why, "port taken") {
			t.Errorf("%q", why)
		}
		s.want("b", "failed port taken")
		s.want("a", "active")
		s.plugins.SetStartedWith("app", []string{"a", "required"})
		s.plugins.OnReady("app")
		s.plugins.OnStable("app")
		s.want("b", "failed")
		s.start(Config{}, hooks.Facts{}) // a later supervisor
		s.want("b", "failed port taken")
		if _, err := s.plugins.Switch("b", SwitchRequest{Enabled: yes()}, "me"); err != nil {
			t.Fatal(err)
		}
		s.want("b", "active")
		s.saved = nil // a new container
		s.start(Config{}, hooks.Facts{})
		s.want("b", "active")
	})
	t.Run("no plugin is named", func(t *testing.T) {
		s := begin(t)
		s.plugins.DisableSuspects("app", Exit{Reason: "crash", WasReady: true})
		s.want("a", "failed")
		s.want("b", "failed")
		s.want("required", "active")
	})
	t.Run("they are not the cause", func(t *testing.T) {
		s := begin(t)
		s.plugins.DisableSuspects("app", Exit{Reason: "crash"})
		s.start(Config{}, hooks.Facts{}) // a later supervisor goes on with it
		s.plugins.SetStartedWith("app", []string{"required"})
		if why := s.plugins.DisableSuspects("app", Exit{Reason: "crash"}); why != "" {
			t.Errorf("again: %q", why)
		}
		s.want("a", "active")
		s.want("b", "active")
		s.plugins.SetStartedWith("app", []string{"a", "b", "required"})
		if why := s.plugins.DisableSuspects("app", Exit{Reason: "crash"}); why != "" {
			t.Errorf("an exonerated one is suspected again: %q", why)
		}
		s.plugins.OnStable("app")
		if why := s.plugins.DisableSuspects("app", Exit{Reason: "crash", WasReady: true}); why == "" {
			t.Error("after a stable start there are no suspects")
		}
	})
	t.Run("the output has another cause", func(t *testing.T) {
		s := begin(t)
		if why := s.plugins.DisableSuspects("app", Exit{Explained: true, Reason: "out of memory"}); why != "" {
			t.Errorf("%q", why)
		}
		s.want("a", "active")
		if why := s.plugins.DisableSuspects("app", Exit{Explained: true, Named: []string{"a"},
			Reason: "out of memory"}); !strings.Contains(why, "plugin a, which") {
			t.Errorf("%q", why)
		}
	})
	t.Run("a required one is named", func(t *testing.T) {
		s := begin(t)
		if why := s.plugins.DisableSuspects("app", Exit{Named: []string{"required"}, Reason: "port taken"}); why != "" {
			t.Errorf("%q", why)
		}
		s.want("b", "active")
	})
	t.Run("an exonerated one is named", func(t *testing.T) {
		s := begin(t)
		s.plugins.DisableSuspects("app", Exit{Named: []string{"a"}, Reason: "crash"})
		s.plugins.SetStartedWith("app", []string{"b", "required"})
		s.plugins.DisableSuspects("app", Exit{Named: []string{"required"}, Reason: "crash"})
		s.want("a", "active")
		s.plugins.SetStartedWith("app", []string{"a", "b", "required"})
		s.plugins.DisableSuspects("app", Exit{Named: []string{"a"}, Reason: "port taken"})
		s.want("a", "failed port taken")
		s.want("b", "active")
	})
	t.Run("the second suspect", func(t *testing.T) {
		s := begin(t)
		s.plugins.DisableSuspects("app", Exit{Named: []string{"a"}, Reason: "one"})
		s.plugins.SetStartedWith("app", []string{"b", "required"})
		if why := s.plugins.DisableSuspects("app", Exit{Named: []string{"b"}, Reason: "two"}); !strings.Contains(why, "plugin b") {
			t.Errorf("%q", why)
		}
		s.want("a", "active")
		s.want("b", "failed two")
	})
	t.Run("a later end does not end a finished trial", func(t *testing.T) {
		s := begin(t)
		s.plugins.DisableSuspects("app", Exit{Named: []string{"a"}, Reason: "one"})
		s.plugins.SetStartedWith("app", []string{"b", "required"})
		s.plugins.OnReady("app")
		s.plugins.DisableSuspects("app", Exit{Named: []string{"b"}, Reason: "two"})
		s.want("a", "failed one")
		s.want("b", "failed two")
	})
}

// TestPendingRestart: the next supervisor knows a restart that is not done.
func TestPendingRestart(t *testing.T) {
	s := newFixture(t)
	s.add(Manifest{Name: "a", Enabled: no()}, "-Da")
	p := s.start(Config{}, hooks.Facts{})
	if _, err := p.Switch("a", SwitchRequest{Enabled: yes(), NoRestart: true}, "me"); err != nil {
		t.Fatal(err)
	}
	p = s.start(Config{}, hooks.Facts{})
	if got, ok := p.PendingRestart(); !ok || got != (PendingRestart{By: "me", Plugin: "a", Later: true}) {
		t.Errorf("after a switch: %+v %v", got, ok)
	}
	p.RestartDone()
	p = s.start(Config{}, hooks.Facts{})
	if got, ok := p.PendingRestart(); ok {
		t.Errorf("settled: %+v", got)
	}
	p.RequireRestart("reload")
	p = s.start(Config{}, hooks.Facts{})
	if got, ok := p.PendingRestart(); ok {
		t.Errorf("a configuration with the same plugins: %+v", got)
	}
	other := Config{Enabled: map[string]Override{"a": {When: jvm.When{Terms: jvm.Terms{Env: map[string]jvm.StringList{"X": {"y"}}}}}}}
	p = s.start(other, hooks.Facts{})
	if got, ok := p.PendingRestart(); !ok || got.By != "reload" || got.Plugin != "" {
		t.Errorf("a configuration with other plugins: %+v %v", got, ok)
	}
}

// TestLongSwitch: long values survive the supervisor.
func TestLongSwitch(t *testing.T) {
	s := newFixture(t)
	m := Manifest{Name: "a", Params: map[string]Param{}}
	long := strings.Repeat("x", maxValue)
	all := map[string]*string{}
	for k := range 20 {
		name := fmt.Sprint("p", k)
		m.Params[name], all[name] = Param{}, &long
	}
	s.add(m, "")
	p := s.start(Config{}, hooks.Facts{})
	if unsaved, err := p.Switch("a", SwitchRequest{Params: all}, "me"); unsaved != "" || err != nil {
		t.Errorf("%q, %v", unsaved, err)
	}
	p = s.start(Config{}, hooks.Facts{})
	if got := p.saved.Switches["a"].Set; len(got) != 20 || got["p19"] != long {
		t.Errorf("%d parameters are kept", len(got))
	}
}

// TestDanglingFragmentFolder: a dangling link is a problem.
func TestDanglingFragmentFolder(t *testing.T) {
	s := newFixture(t)
	s.add(Manifest{Name: "a"}, "")
	dir := filepath.Join(s.dir, "plugins/a/jvm.d")
	if err := errors.Join(os.Remove(dir), os.Symlink("nowhere", dir)); err != nil {
		t.Fatal(err)
	}
	s.start(Config{}, hooks.Facts{})
	s.want("a", "failed cannot read "+dir)
}

func TestHookFailure(t *testing.T) {
	s := newFixture(t)
	s.add(Manifest{Name: "p", Hooks: byEvent(map[lifecycle.Event][]hooks.Hook{lifecycle.Ready: {{Name: "register",
		Command: []string{"bin/x", "${plugin_dir}"}}}})}, "-Dp")
	s.start(Config{}, hooks.Facts{})
	if len(s.hooks) != 1 || s.hooks[0].Plugin != "p" || !s.hooks[0].Optional || s.hooks[0].Command[0] != filepath.Join(s.dir,
		"plugins/p/bin/x") {
		t.Errorf("bound %+v", s.hooks)
	}
	s.plugins.OnHookFailure("p", lifecycle.Ready, "no answer")
	s.want("p", "failed no answer")
	if s.options() == "" || len(s.hooks) != 1 {
		t.Error("a hook that failed after the start takes the options away")
	}
	s.plugins.OnHookFailure("p", lifecycle.PreStart, "no file")
	if s.options() != "" || len(s.hooks) != 0 {
		t.Error("a hook that failed before the start leaves the options in")
	}
}

func TestStatesAreReportedOnce(t *testing.T) {
	s := newFixture(t)
	s.add(Manifest{Name: "p"}, "-Dp")
	s.start(Config{}, hooks.Facts{})
	s.plugins.Refresh()
	s.start(Config{}, hooks.Facts{}) // a later supervisor
	s.plugins.Disable([]string{"p"}, "why")
	s.plugins.Refresh()
	if want := []string{"p active", "p failed"}; !slices.Equal(s.changes, want) {
		t.Errorf("changes %q", s.changes)
	}
}

func TestSecretsAreNotShown(t *testing.T) {
	s := newFixture(t)
	s.add(Manifest{Name: "p", Params: map[string]Param{"token": {Secret: true, Type: TypeInt}}}, "")
	s.start(Config{Enabled: map[string]Override{"p": {Set: map[string]string{"token": "geheim"}}}}, hooks.Facts{})
	data, err := json.Marshal(s.plugins.List())
	if err != nil || strings.Contains(string(data), "geheim") {
		t.Errorf("%s %v", data, err)
	}
}

func TestFolderOwners(t *testing.T) {
	dir := t.TempDir()
	plugin := filepath.Join(dir, "p")
	if err := os.MkdirAll(filepath.Join(plugin, "lib"), 0o755); err != nil {
		t.Fatal(err)
	}
	jar := filepath.Join(plugin, "lib/a.jar")
	if err := os.WriteFile(jar, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(jar, filepath.Join(plugin, "link")); err != nil {
		t.Fatal(err)
	}
	if err := checkOwners(plugin); err != nil {
		t.Errorf("%v", err)
	}
	for _, path := range []string{jar, filepath.Join(plugin, "lib"), plugin, dir} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, more := range []os.FileMode{0o020, 0o002} {
			if err := os.Chmod(path, info.Mode().Perm()|more); err != nil {
				t.Fatal(err)
			}
			if err := checkOwners(plugin); err == nil || !strings.Contains(err.Error(), "chmod go-w") || !strings.Contains(err.Error(), path) {
				t.Errorf("%s with %o: %v", path, more, err)
			}
		}
		if err := os.Chmod(path, info.Mode().Perm()); err != nil {
			t.Fatal(err)
		}
	}
	if os.Getuid() == 0 {
		if err := os.Chown(jar, 4711, -1); err != nil {
			t.Fatal(err)
		}
		if err := checkOwners(plugin); err == nil || !strings.Contains(err.Error(), "uid 4711) can be changed by its owner") {
			t.Errorf("%v", err)
		}
	}
}

// hookNames lists the hooks in force: event, name and services.
func (s *fixture) hookNames() string {
	var out []string
	for _, b := range s.hooks {
		out = append(out, strings.TrimSpace(fmt.Sprint(b.Event, " ", b.Name, " ", strings.Join(b.Services, "+"))))
	}
	return strings.Join(out, ", ")
}

// TestTeardownHooks: a disabled plugin has its teardown hooks for the processes that were started with it.
func TestTeardownHooks(t *testing.T) {
	s := newFixture(t)
	s.add(Manifest{Name: "a", Hooks: byEvent(map[lifecycle.Event][]hooks.Hook{
		lifecycle.Ready: {{Name: "in", Command: []string{"x"}}},
		lifecycle.PreStop: {{Name: "out", Command: []string{"x"}},
			{Name: "web", Command: []string{"x"}, Services: []string{"web", "db"}}},
		lifecycle.Stopped: {{Name: "db", Command: []string{"x"}, Services: []string{"db"}}},
	})}, "-Da=b")
	p := s.start(Config{}, hooks.Facts{})
	const on = "ready in, pre-stop out, pre-stop web web+db, stopped db db"
	if got := s.hookNames(); got != on {
		t.Errorf("active: %s", got)
	}
	p.SetStartedWith("web", []string{"a"})
	p.SetStartedWith("other", []string{"b"})
	off := false
	if _, err := p.Switch("a", SwitchRequest{Enabled: &off}, "operator"); err != nil {
		t.Fatal(err)
	}
	const teardown = "pre-stop out web, pre-stop web web"
	if got := s.hookNames(); got != teardown {
		t.Errorf("switched off: %s", got)
	}
	p = s.start(Config{}, hooks.Facts{})
	if got := s.hookNames(); got != teardown {
		t.Errorf("in the next supervisor: %s", got)
	}
	p.SetStartedWith("web", nil)
	if got := s.hookNames(); got != "" {
		t.Errorf("started without it: %s", got)
	}
}

// TestEnabledWhileRunning: hooks of pre-stop do not run for a process that was started without the plugin.
func TestEnabledWhileRunning(t *testing.T) {
	s := newFixture(t)
	off, on := false, true
	s.add(Manifest{Name: "a", Enabled: &off, Hooks: byEvent(map[lifecycle.Event][]hooks.Hook{lifecycle.PreStop: {{Name: "out",
		Command: []string{"x"}}}, lifecycle.Exited: {{Name: "end", Command: []string{"x"}}}})}, "-Da=b")
	s.add(Manifest{Name: "b", Hooks: byEvent(map[lifecycle.Event][]hooks.Hook{lifecycle.PreStop: {{Name: "out",
		Command: []string{"x"}}}})}, "-Db=b")
	p := s.start(Config{}, hooks.Facts{})
	runs := func(service string) (out []string) {
		registry := hooks.NewRegistry(s.hooks, hooks.Facts{})
		for _, b := range slices.Concat(registry.For(lifecycle.PreStop, service), registry.For(lifecycle.Exited, service)) {
			out = append(out, string(b.Event)+"/"+b.Title())
		}
		return out
	}
	p.BeginStart("web")
	if _, err := p.Switch("a", SwitchRequest{Enabled: &on}, "operator"); err != nil {
		t.Fatal(err)
	}
	same(t, "of one that runs", runs("web"), []string{"pre-stop/b/out", "exited/a/end"})
	p = s.start(Config{}, hooks.Facts{})
	same(t, "in the next supervisor", runs("web"), []string{"pre-stop/b/out", "exited/a/end"})
	p.BeginStart("db")
	same(t, "of one that starts then", runs("db"), []string{"pre-stop/a/out", "pre-stop/b/out", "exited/a/end"})
	p.BeginStart("web")
	same(t, "at its next start", runs("web"), []string{"pre-stop/a/out", "pre-stop/b/out", "exited/a/end"})
	same(t, "of one that starts later", runs("other"), []string{"pre-stop/a/out", "pre-stop/b/out", "exited/a/end"})
}

// TestURLParameter: a hook's url may begin with a parameter of type url, which is inserted unchanged.
// Without a value there is no request.
func TestURLParameter(t *testing.T) {
	url := "${params.to}/agents/${params.id}"
	for value, want := range map[string]string{"": "", "http://registry:8080/": "http://registry:8080/agents/${PLUGIN_REF_1}",
		"unix:///run/r.sock:/v1": "unix:///run/r.sock:/v1/agents/${PLUGIN_REF_1}"} {
		s := newFixture(t)
		s.add(Manifest{Name: "a", Params: map[string]Param{"to": {Type: TypeURL}, "id": {}},
			Hooks: byEvent(map[lifecycle.Event][]hooks.Hook{lifecycle.Ready: {{Name: "in", URL: url},
				{Name: "other", Command: []string{"x"}}}})}, "")
		s.start(Config{Enabled: map[string]Override{"a": {Set: map[string]string{"to": value, "id": "a/b"}}}}, hooks.Facts{})
		got := ""
		for _, b := range s.hooks {
			if b.Name == "in" {
				got = b.URL
			}
		}
		if got != want || !strings.Contains(s.hookNames(), "ready other") || s.state("a") != "active" {
			t.Errorf("%q: the url is %q, want %q; %s, %s", value, got, want, s.hookNames(), s.state("a"))
		}
	}
	for _, bad := range []string{"registry", "ftp://a/", "http://a/?q=", "http://a/${X}", "http://u@a/", "http://", "unix://a", "http://a b"} {
		if err := (Param{Type: TypeURL}).Check(bad); err == nil {
			t.Errorf("%q is taken for a URL", bad)
		}
	}
}
