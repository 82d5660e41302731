package layeredyaml

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

// sampleConfig has every kind of value that a schema may have.
type sampleConfig struct {
	Name    string                 `yaml:"name"`
	Wait    time.Duration          `yaml:"wait"`
	On      *bool                  `yaml:"on"`
	Share   float64                `yaml:"share"`
	Count   int                    `yaml:"count" change:"restart"`
	Args    []string               `yaml:"args" empty:"counts"`
	Env     map[string]string      `yaml:"env"`
	Files   map[string]string      `yaml:"files" secret:"files"`
	Remote  sampleRemote           `yaml:"remote"`
	Items   []sampleRemote         `yaml:"items"`
	Entries map[string]sampleEntry `yaml:"entries" change:"-"`
}

type sampleRemote struct {
	URL   string `yaml:"url,short" secret:"url"`
	Tries int    `yaml:"tries"`
}

type sampleEntry struct {
	User string `yaml:"user"`
}

func sampleSchema() Schema {
	return Schema{Type: reflect.TypeFor[sampleConfig](), EnvPrefix: "APP_"}
}

func TestLayersOverrideFieldByField(t *testing.T) {
	l := New(sampleSchema())
	l.Bytes("one.yaml", []byte("name: a\nwait: 3s\nenv: {A: '1'}\nentries: {web-app: {user: x}}\n"))
	l.Bytes("two.yaml", []byte("name: b\nenv: {B: '2'}\nitems: [http://h/, {tries: 2}]\n"))
	l.Environment([]string{"APP_ENTRIES_WEB_APP_USER=y", "APP_COUNT=4"})
	l.Set("flag --set ", []string{"share=0.5", "args=[x, y]"})
	var c sampleConfig
	origins := l.Decode(&c)
	if ps := l.Problems(); len(ps) > 0 {
		t.Fatal(ps)
	}
	want := sampleConfig{Name: "b", Wait: 3 * time.Second, Share: 0.5, Count: 4, Args: []string{"x", "y"}, Env: map[string]string{"A": "1",
		"B": "2"},
		Items: []sampleRemote{{URL: "http://h/"}, {Tries: 2}}, Entries: map[string]sampleEntry{"web-app": {User: "y"}}}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got  %+v\nwant %+v", c, want)
	}
	for path, want := range map[string]string{"name": "two.yaml:1", "wait": "one.yaml:2", "count": "env APP_COUNT",
		"share":                "flag --set share",
		"entries.web-app.user": "env APP_ENTRIES_WEB_APP_USER"} {
		if got := origins[path].String(); got != want {
			t.Errorf("%s comes from %q, want %q", path, got, want)
		}
	}
}

func TestShowMasksByTheSchema(t *testing.T) {
	var b strings.Builder
	c := sampleConfig{Env: map[string]string{"TOKEN": "t1", "A": "b"}, Files: map[string]string{"TOKEN": "/run/token"},
		Remote: sampleRemote{URL: "http://me:t2@h/"},
		Items:  []sampleRemote{{URL: "http://h/?token=t3"}}}
	if err := Show(&b, c, nil, false); err != nil {
		t.Fatal(err)
	}
	want := "env:\n  A: b\n  TOKEN: '***'\nfiles:\n  TOKEN: /run/token\nremote:\n  url: http://***@h/\nitems:\n  - http://h/?token=***\n"
	if got := b.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestLeavesHaveTheirTags(t *testing.T) {
	var got []string
	for _, l := range Leaves(reflect.TypeFor[sampleConfig](), "live") {
		got = append(got, l.Path+":"+l.Change)
	}
	want := "args:live count:restart env:live files:live items:live name:live on:live remote.tries:live remote.url:live share:live wait:live"
	if s := strings.Join(got, " "); s != want {
		t.Errorf("got  %s\nwant %s", s, want)
	}
	was, is := reflect.ValueOf(sampleConfig{Count: 1}), reflect.ValueOf(sampleConfig{Args: []string{}, Env: map[string]string{"A": ""}})
	diff := Differences(was, is, Leaves(was.Type(), "live"), "x")
	if want := map[string][]string{"live": {"x.args", "x.env.A"}, "restart": {"x.count"}}; !reflect.DeepEqual(diff, want) {
		t.Errorf("got %v, want %v", diff, want)
	}
}

// TestNullIsAbsent is of schemas that take null for absent: such a key is not set, but an entry of a map is there, and an item of a
// list needs a value.
func TestNullIsAbsent(t *testing.T) {
	s := sampleSchema()
	s.NullIsAbsent = true
	l := New(s)
	l.Bytes("app.json", []byte(`{"name": null, "args": null, "remote": null, "entries": {"web": null}}`))
	var c sampleConfig
	l.Decode(&c)
	if ps := l.Problems(); len(ps) > 0 {
		t.Fatal(ps)
	}
	if want := (sampleConfig{Entries: map[string]sampleEntry{"web": {}}}); !reflect.DeepEqual(c, want) {
		t.Errorf("got %+v, want %+v", c, want)
	}
	for path, want := range map[string]bool{"name": false, "args": false, "remote": false, "entries": true, "entries.web": true} {
		if got := l.Checker().IsSet(path); got != want {
			t.Errorf("%s is set: %t", path, got)
		}
	}
	l = New(s)
	l.Bytes("app.yaml", []byte("args: [a, null]\n"))
	if ps := l.Problems(); len(ps) != 1 || ps[0].Path != "args[1]" {
		t.Errorf("an item: %v", ps)
	}
}

// openSection takes the keys that begin with "x-".
type openSection struct {
	Name  string `yaml:"name"`
	taken []string
}

func (s *openSection) TakeKey(key string, v Value) bool {
	s.taken = append(s.taken, key+"="+v.Text())
	return strings.HasPrefix(key, "x-")
}

func TestSectionsTakeKeys(t *testing.T) {
	type config struct {
		Items []openSection          `yaml:"items"`
		Named map[string]openSection `yaml:"named"`
	}
	l := New(Schema{Type: reflect.TypeFor[config]()})
	l.Bytes("app.yaml", []byte("items: [{name: a, x-b: 1, x-c: {d: [e]}}]\nnamed: {f: {x-g: h}, i: {naem: j}}\n"))
	var c config
	origins := l.Decode(&c)
	if got := append(c.Items[0].taken, c.Named["f"].taken...); strings.Join(got, " ") != "x-b=1 x-c= x-g=h" {
		t.Errorf("taken: %q", got)
	}
	if got := origins["items[0].x-b"].String(); got != "app.yaml:1" {
		t.Errorf("a key that was taken comes from %q", got)
	}
	if ps := l.Problems(); len(ps) != 1 || ps[0].Path != "named.i.naem" {
		t.Errorf("problems: %v", ps)
	}
}

func TestKeys(t *testing.T) {
	for text, want := range map[string]string{"b: {c: 1}\na: 2": "b a", `{"x": [1]}`: "x", "{}": "", "[a]": "-", "": "-", "a": "-", "{": "-"} {
		keys, ok := Keys([]byte(text))
		if got := strings.Join(keys, " "); ok == (want == "-") || ok && got != want {
			t.Errorf("%q: %q, %v", text, got, ok)
		}
	}
}

// FuzzBytes reads a file of any contents: it becomes values or problems, each with the
// file's name and on one line.
func FuzzBytes(f *testing.F) {
	for _, seed := range []string{
		"name: a\nwait: 3s\non: true\nshare: 0.5\nargs: [x]\nenv: {A: b}\nremote: {url: 'http://h/'}\nitems: [x, {tries: 1}]\n",
		"a: &a [*a]", "<<: {name: x}", "<<: *x", "name: !!binary x", "? {a: b}\n: c", "--- a\n--- b", "%YAML 3.0\n---\na", "\t- x",
		"a: |\n b\n c: \"",
		"#\n-0: !!float &x 1_0", "[{[", "{0: [:!00 \xef", "!!merge <<: 3", "a: 'b\xff", "items:\n- &x {url: y}\n- <<: [*x, *x]\n",
		"\xff\xfea\x00",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		l := New(sampleSchema())
		l.Bytes("app.yaml", data)
		var c sampleConfig
		l.Decode(&c)
		for _, p := range l.Problems() {
			if strings.ContainsAny(p.String(), "\n") || strings.Contains(p.Source, "\n") || !strings.HasPrefix(p.String(), "app.yaml") &&
				!strings.Contains(p.Message, "more problems") {
				t.Fatalf("not one line with the file's name: %+v", p)
			}
		}
	})
}
