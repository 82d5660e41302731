package console

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/stoker-init/stoker/internal/access"
	"github.com/stoker-init/stoker/internal/fdstore"
	"github.com/stoker-init/stoker/internal/proc"
)

// attempts notes the sessions that are refused.
type attempts struct {
	entries []Entry
	begin   error
}

func (a *attempts) Begin(Entry) error { return a.begin }
func (a *attempts) Attached(Entry)    {}
func (a *attempts) End(e Entry)       { a.entries = append(a.entries, e) }

// TestAttempts: the audit line of a refused session has what was asked for.
func TestAttempts(t *testing.T) {
	launch := Launch{Spec: proc.Spec{Argv: []string{"/bin/sh"}}, User: "root", Admin: "a session as root"}
	log := &attempts{}
	m := New(Options{Config: testConfig(), Host: fakeHost{&launch}, Auditor: log, Items: fdstore.NewItems()})
	by := access.Identity{Name: "token ops", Grants: access.Exec}
	_, err := m.Open(t.Context(), Spec{TTY: true, User: "0"}, by)
	if len(log.entries) != 1 || !errors.Is(err, ErrNotAllowed) || log.entries[0].User != "root" || log.entries[0].Command[0] != "/bin/sh" {
		t.Errorf("%v, %+v", err, log.entries)
	}
	launch.Admin, log.begin = "", &LimitError{"audit lines", "too many"}
	_, err = m.Open(t.Context(), Spec{TTY: true}, by)
	if limit := (*LimitError)(nil); !errors.As(err, &limit) || errors.Is(err, ErrUnavailable) || len(log.entries) != 2 ||
		log.entries[1].ID != "" || log.entries[1].User != "root" || len(m.open) != 0 {
		t.Errorf("%v, %+v", err, log.entries)
	}
}

// TestCheckIsAudited: nobody learns unseen which commands are allowed.
func TestCheckIsAudited(t *testing.T) {
	launch, log, cfg := Launch{Spec: proc.Spec{Argv: []string{"id"}}, User: "app"}, &attempts{}, testConfig()
	cfg.Commands = map[string][][]string{"*": {{"jstack", "*"}}}
	m := New(Options{Config: cfg, Host: fakeHost{&launch}, Auditor: log, Items: fdstore.NewItems()})
	by := access.Identity{Name: "token ops", Grants: access.Exec}
	err := m.Check(Spec{Command: []string{"id"}}, by)
	if len(log.entries) != 1 || !errors.Is(err, ErrNotAllowed) || log.entries[0].User != "app" || log.entries[0].Identity != by {
		t.Errorf("%v, %+v", err, log.entries)
	}
	launch.Spec.Argv = []string{"jstack", "1"}
	if err := m.Check(Spec{Command: launch.Spec.Argv}, by); err != nil || len(log.entries) != 1 || len(m.open) != 0 {
		t.Errorf("%v, %+v", err, log.entries)
	}
}

// TestCommandHint: the refusal says what may be run.
func TestCommandHint(t *testing.T) {
	many := make([][]string, 100)
	for k := range many {
		many[k] = []string{"/usr/bin/program", "*"}
	}
	for want, allowed := range map[string][][]string{
		`token ops may run ["jstack" "*"] ["a b"]`: {{"jstack", "*"}, {"a b"}},
		"token ops may run nothing":                {},
		" and ":                                    many,
	} {
		err := Config{Commands: map[string][][]string{"token ops": allowed}}.mayRun("token ops", []string{"id", "secret"})
		command := (*CommandError)(nil)
		if !errors.As(err, &command) || !strings.Contains(command.Hint(), want) || len(command.Hint()) > 520 ||
			strings.Contains(err.Error()+command.Hint(), "secret") {
			t.Errorf("%v, %q", err, command.Hint())
		}
	}
}

func TestSpecs(t *testing.T) {
	for name, c := range map[string]struct {
		spec  Spec
		field string
	}{
		"good":    {Spec{Command: []string{"a", ""}, Env: []string{"TERM=x", "LC_ALL=", "X_1=a=b", "DIR=/"}, Dir: "/"}, ""},
		"a shell": {Spec{TTY: true}, ""}, "no terminal": {Spec{}, "command"}, "an empty program": {Spec{Command: []string{""}}, "command"},
		"NUL": {Spec{Command: []string{"a\x00"}}, "command"}, "too long": {Spec{Command: []string{strings.Repeat("x", maxArguments)}}, "command"},
		"a relative folder": {Spec{TTY: true, Dir: "x"}, "dir"}, "no value": {Spec{TTY: true, Env: []string{"TERM"}}, "env"},
		"no name": {Spec{TTY: true, Env: []string{"=x"}}, "env"}, "not listed": {Spec{TTY: true, Env: []string{"FOO=x"}}, "env"},
		"never": {Spec{TTY: true, Env: []string{"LD_PRELOAD=x"}}, "env"}, "options": {Spec{TTY: true, Env: []string{"X_OPTS=x"}}, "env"},
		"escaped":              {Spec{Command: []string{strings.Repeat("<", 11000)}}, "command"},
		"not too much escaped": {Spec{Command: []string{strings.Repeat("<", 9000)}}, ""},
		"below 0":              {Spec{TTY: true, Keep: -1}, "keep"},
		"a long context":       {Spec{TTY: true, Context: strings.Repeat("x", maxArguments/2)}, "command"},
		"a long container":     {Spec{TTY: true, Container: strings.Repeat("x", maxArguments/2)}, "command"},
		"an expression":        {Spec{TTY: true, Env: []string{"COLUMNS=x[$(id>&2)]"}}, "env"},
	} {
		err := c.spec.validate(testConfig())
		bad := (*SpecError)(nil)
		if got := errors.As(err, &bad); got != (c.field != "") || got && bad.Field != c.field {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestValues: a client chooses the language and the terminal, and no file or expression by them.
func TestValues(t *testing.T) {
	for name, values := range map[string]struct{ good, bad []string }{
		"COLUMNS": {[]string{"80", "0", "65535"}, []string{"", "-1", "1+1", "x[$(id)]", "0x10", "٣", "123456", " 80"}},
		"LINES":   {[]string{"24"}, []string{"", "a[$(id)]"}},
		"TERM": {[]string{"", "xterm-256color", "screen.xterm", "xterm+256color", "9term"},
			[]string{"/tmp/x", "../x", "x/../y", "x/y", "-x", ".", "..", "a b", "$(id)", "x;id", "x\n", "é", strings.Repeat("x", 129)}},
		"COLORTERM": {[]string{"truecolor", "24bit", "1"}, []string{"/x", "`id`"}},
		"LANG": {[]string{"", "C", "en_US.UTF-8", "de_DE@euro", "en_US.ISO8859-15@euro", "zh_Hant_TW.UTF-8"},
			[]string{"/tmp/x", "../../tmp/x", "x/y", "-C", "C..x", "%n", "C\n"}},
		"LC_ALL":   {[]string{"C.UTF-8", "POSIX"}, []string{"/tmp/x", "C/../../x", "LC_CTYPE=C;LC_TIME=/x"}},
		"LC_X":     {[]string{"a"}, []string{"() { :; }; id", "/"}},
		"LANGUAGE": {[]string{"de:en_GB"}, []string{"de:../../tmp", "/x", ":de"}},
		"TZ": {[]string{"", "UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Etc/GMT+5", "CET-1CEST,M3.5.0,M10.5.0/3", "<-03>3<-02>,J60/0:30:00,J300"},
			[]string{":Europe/Berlin", ":/etc/shadow", "/etc/shadow", "../../../etc/shadow", "Europe/../../x", "./x", "-1", "x y", "a\n"}},
		"OTHER": {[]string{"/anything at all"}, nil},
	} {
		for _, value := range values.good {
			if !wellFormed(name, value) {
				t.Errorf("%s=%q is refused", name, value)
			}
		}
		for _, value := range values.bad {
			if wellFormed(name, value) {
				t.Errorf("%s=%q is accepted", name, value)
			}
			s, bad := Spec{TTY: true, Env: []string{name + "=" + value}}, (*SpecError)(nil)
			if err := s.validate(Config{Env: []string{"L*", "T*", "C*"}}); !errors.As(err, &bad) || bad.Field != "env" {
				t.Errorf("%s=%q: %v", name, value, err)
			}
		}
	}
}

// TestNever: a list of variables with a wide prefix does not have those that load code or other files.
func TestNever(t *testing.T) {
	for _, name := range []string{"LD_PRELOAD", "LOCPATH", "MUSL_LOCPATH", "NLSPATH", "TEXTDOMAINDIR", "TERMINFO", "TERMINFO_DIRS", "TERMCAP", "TZDIR",
		"GLIBC_TUNABLES", "GCONV_PATH", "SHELLOPTS", "BASHOPTS", "BASH_ENV", "ENV", "PROMPT_COMMAND", "PS4", "CLASSPATH", "JDK_JAVA_OPTIONS"} {
		if mayChoose([]string{name[:1] + "*"}, name) {
			t.Errorf("%s may be set", name)
		}
	}
}

func TestMayRun(t *testing.T) {
	c := Config{Commands: map[string][][]string{"token ops": {{"jstack", "*"}, {"/bin/sh"}}, "*": {{"id"}}}}
	for _, s := range []struct {
		by, command string
		want        bool
	}{{"token ops", "jstack 1", true}, {"token ops", "jstack", false}, {"token ops", "jstack 1 2", false}, {"token ops", "/bin/sh", true},
		{"token ops", "id", false},
		{"token ops", "jstack -J-javaagent:/tmp/x.jar", false}, {"token ops", "jstack @/tmp/x", false}, {"token ops", "jstack -", false},
		{"token ops", "jstack --", false}, {"token ops", "jstack tomcat", true}, {"token x", "id", true}, {"token x", "id x", false}, {"token ops", "/bin/sh -c", false}} {
		if err := c.mayRun(s.by, strings.Fields(s.command)); (err == nil) != s.want || err != nil && !errors.Is(err, ErrNotAllowed) {
			t.Errorf("%s, %s: %v", s.by, s.command, err)
		}
	}
	if err := c.mayRun("token ops", []string{"psql", "--password", "hunter2"}); err == nil || strings.Contains(err.Error(), "hunter2") ||
		!strings.Contains(err.Error(), `may not run "psql"`) {
		t.Error(err)
	}
	if err := (Config{}).mayRun("x", []string{"y"}); err != nil {
		t.Error(err)
	}
	delete(c.Commands, "*")
	if err := c.mayRun("token x", []string{"y"}); err != nil {
		t.Error(err)
	}
}

func TestMayAttach(t *testing.T) {
	cfg := testConfig()
	cfg.Commands = map[string][][]string{"token listed": {{"id"}}}
	m := New(Options{Config: cfg, Items: fdstore.NewItems()})
	id := func(name string, g access.Grants) access.Identity { return access.Identity{Name: name, Grants: g} }
	for _, c := range []struct {
		by     access.Identity
		admin  bool // what the session needs
		wanted bool
	}{
		{id("opener", access.Exec), true, true}, {id("token x", access.Exec), false, true}, {id("token x", access.Exec), true, false},
		{id("token x", access.View|access.Job), false, false}, {id("token x", access.Admin), true, true},
		{id("token listed", access.Exec), false, false}, {access.Identity{}, false, false},
	} {
		s := m.newSession("x", saved{Admin: c.admin, Info: Info{By: "opener", Spec: Spec{Command: []string{"sh"}}}})
		if err := m.mayAttach(s, c.by); (err == nil) != c.wanted || err != nil && !errors.Is(err, ErrNotAllowed) {
			t.Errorf("%s (%s), admin %v: %v", c.by.Name, c.by.Grants, c.admin, err)
		}
	}
}

func TestValidate(t *testing.T) {
	c := Config{Env: []string{"FOO", "APP_*", "*", "LD_PRELOAD", "JAVA_*", "a-b", "PATH"}, Commands: map[string][][]string{"x": {{"a"}, {}}}}
	var got []string
	for _, e := range c.Validate() {
		got = append(got, e.Field)
	}
	c.Scrollback = "64KiB"
	if e := c.Validate(); e[0].Field != "scrollback" {
		t.Errorf("%v", e)
	}
	if want := []string{"env[2]", "env[3]", "env[4]", "env[5]", "env[6]", "commands.x[1]"}; !reflect.DeepEqual(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
