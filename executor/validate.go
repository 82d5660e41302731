package executor

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/stoker-init/stoker/internal/execshim"
	"github.com/stoker-init/stoker/internal/proc"
	"github.com/stoker-init/stoker/internal/redact"
	"github.com/stoker-init/stoker/internal/suggest"
	"github.com/stoker-init/stoker/jvm"
)

// Bounds of a Spec.
const (
	maxKey       = 256     // bytes; also of other names
	maxArguments = 1 << 20 // bytes of command and env
	maxStdin     = 1 << 20 // bytes
	maxBaggage   = 8 << 10 // bytes; also of tracestate
	maxLabels    = 64
	maxArtifacts = 32
	maxPriority  = 100
	maxRetries   = 1000
)

// Defaults that no configuration changes.
const (
	defaultStopSignal  = "TERM"
	defaultBackoff     = Duration(time.Second)
	defaultMaxBackoff  = Duration(time.Minute)
	defaultArtifactMax = "16MiB"
)

// withDefaults fills in what a Spec leaves to the configuration.
func (s Spec) withDefaults(c Config) Spec {
	s.Timeout = orElse(s.Timeout, Duration(c.Timeout))
	s.StopGrace = orElse(s.StopGrace, Duration(c.StopGrace))
	s.StopSignal = orElse(s.StopSignal, defaultStopSignal)
	s.OutputCap = orElse(s.OutputCap, c.OutputCap)
	s.WorkspaceCap = orElse(s.WorkspaceCap, c.WorkspaceCap)
	s.Retry.Backoff = orElse(s.Retry.Backoff, defaultBackoff)
	s.Retry.MaxBackoff = orElse(s.Retry.MaxBackoff, max(s.Retry.Backoff, defaultMaxBackoff))
	s.Priority = orElse(s.Priority, c.Classes[s.Class].Priority)
	if s.Context == "" {
		s.User = orElse(s.User, c.User)
	}
	s.Artifacts = slices.Clone(s.Artifacts)
	for k, a := range s.Artifacts {
		s.Artifacts[k].Name = orElse(a.Name, a.Path)
		s.Artifacts[k].Max = orElse(a.Max, defaultArtifactMax)
	}
	return s
}

func orElse[T comparable](value, other T) T {
	var zero T
	if value == zero {
		return other
	}
	return value
}

// check collects what is wrong with a Spec.
type check struct{ fields []FieldError }

func (c *check) bad(field, why string, args ...any) {
	c.fields = append(c.fields, FieldError{field, fmt.Sprintf(why, args...)})
}

func (c *check) err(field string, err error) {
	if err != nil {
		c.bad(field, "%s", strings.ReplaceAll(err.Error(), "\nhint: ", ": "))
	}
}

// text refuses what JSON cannot hold: instead of it there is U+FFFD, then or already.
func (c *check) text(field, value string) {
	if strings.ContainsRune(value, utf8.RuneError) {
		c.bad(field, "is not UTF-8, or has U+FFFD, which stands for what is not")
	}
}

// Validate returns everything that is wrong with a Spec, for a configuration; nil: nothing is.
func (s *Spec) Validate(c Config) []FieldError {
	v := &check{}
	s.validateCommand(v)
	s.validateTimes(v)
	if s.Priority < -maxPriority || s.Priority > maxPriority {
		v.bad("priority", "%d is not between %d and %d", s.Priority, -maxPriority, maxPriority)
	}
	if _, known := c.Classes[s.Class]; s.Class != "" && !known {
		names := slices.Sorted(maps.Keys(c.Classes))
		v.bad("class", "there is no class %.60q; %s", s.Class, suggest.Hint(s.Class, names))
	}
	for field, size := range map[string]string{"memory": s.Memory, "output_cap": s.OutputCap, "workspace_cap": s.WorkspaceCap,
		"cgroup.memory": s.Cgroup.Memory} {
		if size != "" {
			_, err := jvm.ParseMemory(size)
			v.err(field, err)
		}
	}
	s.validateAttributes(v)
	s.validateArtifacts(v)
	if len(s.Labels) > maxLabels {
		v.bad("labels", "there are %d, at most %d are possible", len(s.Labels), maxLabels)
	}
	for name, value := range s.Labels {
		if name == "" || len(name)+len(value) > 4*maxKey {
			v.bad("labels", "%.60q: a name and its value have 1 to %d bytes", name, 4*maxKey)
		}
	}
	slices.SortStableFunc(v.fields, func(a, b FieldError) int { return strings.Compare(a.Field, b.Field) })
	return v.fields
}

func (s *Spec) validateCommand(v *check) {
	if len(s.Command) == 0 || s.Command[0] == "" {
		v.bad("command", "is missing")
	}
	size := 0
	for k, arg := range s.Command {
		size += len(arg) + 1
		if strings.ContainsRune(arg, 0) {
			v.bad("command["+strconv.Itoa(k)+"]", "has a zero byte, which no argument can have")
		}
		v.text("command["+strconv.Itoa(k)+"]", arg)
	}
	for _, name := range slices.Sorted(maps.Keys(s.Env)) {
		size += len(name) + len(s.Env[name]) + 2
		v.text("env", name+s.Env[name])
		switch {
		case name == "" || strings.ContainsAny(name, "=\x00") || strings.ContainsRune(s.Env[name], 0):
			v.bad("env", "%.60q is no name of a variable, or its value has a zero byte", name)
		case name == proc.CookieVar, name == idVariable, name == attemptVariable:
			v.bad("env", "%s is stoker's own", name)
		}
	}
	if size > maxArguments {
		v.bad("command", "command and env have %d bytes, at most %d are possible", size, maxArguments)
	}
	if len(s.Stdin) > maxStdin {
		v.bad("stdin", "has %d bytes, at most %d are possible", len(s.Stdin), maxStdin)
	}
	v.text("cwd", s.Dir)
	if strings.ContainsRune(s.Dir, 0) || s.Dir != "" && !filepath.IsAbs(s.Dir) && !filepath.IsLocal(s.Dir) {
		v.bad("cwd", "%.60q is neither absolute nor a folder in the workspace", s.Dir)
	}
	for field, name := range map[string]string{"tracestate": s.Tracestate, "baggage": s.Baggage} {
		if len(name) > maxBaggage || strings.ContainsRune(name, 0) {
			v.bad(field, "has more than %d bytes, or a zero byte", maxBaggage)
		}
	}
	for field, name := range map[string]string{"key": s.Key, "serial": s.Serial, "traceparent": s.Traceparent} {
		v.text(field, name)
		if len(name) > maxKey || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			v.bad(field, "has more than %d bytes, or control characters", maxKey)
		}
	}
}

func (s *Spec) validateTimes(v *check) {
	if s.StopSignal != "" {
		_, err := proc.ParseSignal(s.StopSignal)
		v.err("stop_signal", err)
	}
	if !s.NotBefore.IsZero() && s.StartWithin > 0 && s.NotBefore.After(time.Now().Add(time.Duration(s.StartWithin))) {
		v.bad("not_before", "%s is later than the start deadline", s.NotBefore.Format(time.RFC3339))
	}
	if s.Retry.Max < 0 || s.Retry.Max > maxRetries {
		v.bad("retry.max", "%d is not between 0 and %d", s.Retry.Max, maxRetries)
	}
	for _, on := range s.Retry.On {
		code, err := strconv.Atoi(on)
		if !slices.Contains(retryWords, on) && (err != nil || code < 1 || code > 255) {
			v.bad("retry.on", "%.60q is neither an exit code from 1 to 255 nor one of %s", on, strings.Join(retryWords, ", "))
		}
	}
}

func (a *Attributes) validateAttributes(v *check) {
	if a.Umask != "" {
		_, err := execshim.ParseUmask(a.Umask)
		v.err("umask", err)
	}
	_, err := execshim.ParseRlimits(a.Rlimits)
	v.err("rlimits", err)
	if a.IONice != "" {
		_, err := execshim.ParseIONice(a.IONice)
		v.err("ionice", err)
	}
	if n := a.Nice; n != nil && (*n < -20 || *n > 19) {
		v.bad("nice", "%d is not between -20 and 19", *n)
	}
	if n := a.OOMScoreAdj; n != nil && (*n < -1000 || *n > 1000) {
		v.bad("oom_score_adj", "%d is not between -1000 and 1000", *n)
	}
	if a.Cgroup.CPUs < 0 {
		v.bad("cgroup.cpus", "%v is below 0", a.Cgroup.CPUs)
	}
	if a.Cgroup.PIDs < 0 {
		v.bad("cgroup.pids", "%d is below 0", a.Cgroup.PIDs)
	}
}

func (s *Spec) validateArtifacts(v *check) {
	if len(s.Artifacts) > maxArtifacts {
		v.bad("artifacts", "there are %d, at most %d are possible", len(s.Artifacts), maxArtifacts)
	}
	names := map[string]bool{}
	for k, a := range s.Artifacts {
		field := fmt.Sprintf("artifacts[%d]", k)
		name := orElse(a.Name, a.Path)
		v.text(field+".path", a.Path)
		if !filepath.IsLocal(a.Path) {
			v.bad(field+".path", "%.60q is not a path in the workspace", a.Path)
		}
		if names[name] || name == "" || len(name) > maxKey {
			v.bad(field+".name", "%.60q is empty, too long, or the name of two", name)
		}
		names[name] = true
		if a.Max != "" {
			_, err := jvm.ParseMemory(a.Max)
			v.err(field+".max", err)
		}
	}
}

// diff lists the fields in which two Specs differ, a line each. Values that may be secrets are left out.
func diff(have, want *Spec) (lines []string) {
	a, b := fieldsOf(have), fieldsOf(want)
	for _, name := range slices.Sorted(maps.Keys(a)) {
		if _, both := b[name]; !both {
			b[name] = nil
		}
	}
	for _, name := range slices.Sorted(maps.Keys(b)) {
		switch {
		case bytes.Equal(a[name], b[name]):
		case name == "env" || name == "stdin":
			lines = append(lines, name+" differs")
		default:
			lines = append(lines, fmt.Sprintf("%s: %s is not %s", name, short(a[name]), short(b[name])))
		}
	}
	return lines
}

// short is a JSON value for people; empty: absent.
func short(value json.RawMessage) string {
	if value == nil {
		return "nothing"
	}
	return redact.Clip(string(value), maxKey)
}

// fieldsOf returns the fields of a Spec in their JSON form.
func fieldsOf(s *Spec) map[string]json.RawMessage {
	text, err := json.Marshal(s)
	out := map[string]json.RawMessage{}
	if err == nil {
		err = json.Unmarshal(text, &out)
	}
	if err != nil {
		panic("a Spec has no JSON form: " + err.Error())
	}
	return out
}
