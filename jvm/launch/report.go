package launch

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stoker-init/stoker/internal/cgroup"
	"github.com/stoker-init/stoker/internal/config"
	"github.com/stoker-init/stoker/internal/layout"
	"github.com/stoker-init/stoker/internal/printable"
	"github.com/stoker-init/stoker/internal/redact"
	"github.com/stoker-init/stoker/internal/service"
	"github.com/stoker-init/stoker/jvm"
	"github.com/stoker-init/stoker/jvm/hotspot"
	"github.com/stoker-init/stoker/jvm/resize"
	"github.com/stoker-init/stoker/jvm/rollout"
)

// Report records what one start of a JVM was made of.
type Report struct {
	JVM     hotspot.JVM   `json:"jvm"`
	Found   string        `json:"found_by"`
	Result  jvm.Result    `json:"options"`
	Sources []SourceState `json:"sources"` // files, folders and URLs
	// Pending is what a restart would change now; nil: nothing.
	Pending *rollout.PendingRestart `json:"restart_to_apply,omitempty"`
	// Cut is a memory limit below what the running JVM may use; nil: there is none.
	Cut *resize.Cut `json:"limit_below_budget,omitempty"`
	// Archive is the class archive of the start; nil: not looked for.
	Archive      *ArchiveUse `json:"archive,omitempty"`
	limits       jvm.Limits
	sourceDigest string        // fingerprint of the sources
	cgroup       *cgroup.Own   // the cgroup that it was sized for; nil: the container's
	argv         []string      // the whole command line
	plugins      []string      // plugins whose options are in it
	flags        hotspot.Flags // printed by the JVM before the start; nil: not read
}

// Text returns the explanation for the terminal.
func (f *Report) Text(width int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "JVM %s in %s (%s)\n\n", strings.TrimSpace(f.JVM.Vendor+" "+versionOf(f.JVM)), f.JVM.Home, f.Found)
	var explained strings.Builder
	lay := func(rows [][]string) string { return layout.Rows(rows, width) }
	if err := jvm.Explain(&explained, f.Result, f.limits, lay); err != nil {
		fmt.Fprintln(&explained, err)
	}
	b.WriteString(layout.Wrap(explained.String(), width, "  "))
	f.explainSources(&b, time.Now(), width)
	if f.Archive != nil {
		b.WriteString(layout.Wrap(f.Archive.text(time.Now()), width, "  ") + "\n")
	}
	if f.Cut != nil {
		b.WriteString(layout.Wrap(f.Cut.String(), width, "  ") + "\n")
	}
	if f.Pending != nil {
		b.WriteString(layout.Wrap(f.Pending.String(), width, "  ") + "\n")
	}
	return b.String()
}

// explainSources writes the table of files, folders and URLs.
func (f *Report) explainSources(b *strings.Builder, now time.Time, width int) {
	if len(f.Sources) == 0 {
		return
	}
	if !strings.HasSuffix(b.String(), "\n\n") { // warnings come before it
		b.WriteString("\n")
	}
	t := layout.Table{{"READ FROM", "LAYER", "STATE"}}
	for _, s := range f.Sources {
		state := s.State
		if s.Time != nil {
			state += ", " + layout.Duration(now.Sub(*s.Time)) + " ago"
		}
		if s.Why != "" {
			state += ": " + s.Why
		}
		t.Add(printable.Line(s.Source), s.Layer, printable.Line(state))
	}
	b.WriteString(layout.Rows(t, width) + "\n")
}

// maskedReport returns a copy with masked options and messages.
func maskedReport(m service.Mask, f *Report) *Report {
	out := *f
	out.Result.Options = maskedOptions(m, f.Result.Options)
	out.Result.Env = slices.Clone(f.Result.Env)
	for k, v := range out.Result.Env {
		_, out.Result.Env[k].Value, _ = strings.Cut(m.Values(redact.Arg(v.Name+"="+v.Value)), "=")
	}
	if chosen := f.Result.Flavor; chosen != nil {
		out.Result.Flavor = &jvm.ProfileChoice{Name: chosen.Name, Why: m.Text(chosen.Why)}
	}
	out.Sources = slices.Clone(f.Sources)
	for k, s := range out.Sources {
		out.Sources[k].Source, out.Sources[k].Why = m.Text(s.Source), m.Text(s.Why)
	}
	out.Result.Warnings, out.Result.Errors = maskedProblems(m, f.Result.Warnings), maskedProblems(m, f.Result.Errors)
	return &out
}

func maskedProblems(m service.Mask, in []jvm.Problem) []jvm.Problem {
	out := slices.Clone(in)
	for k := range out {
		out[k].Message = m.Text(out[k].Message)
	}
	return out
}

func maskedOptions(m service.Mask, in []jvm.Option) []jvm.Option {
	out := slices.Clone(in)
	for k, o := range out {
		out[k].Args = redact.Args(o.Args)
		for n, arg := range out[k].Args {
			out[k].Args[n] = m.Values(arg)
		}
		out[k].Why, out[k].Replaced = m.Text(o.Why), maskedOptions(m, o.Replaced)
	}
	return out
}

// ReadLimits converts the limits of a cgroup for package jvm; a nil own is the container's cgroup.
func ReadLimits(own *cgroup.Own) (jvm.Limits, []cgroup.Warning) {
	l := cgroup.Read("/")
	out := jvm.Limits{CPUs: l.EffectiveCPUs, CPUQuota: l.CPUQuota, MemorySource: l.Sources.EffectiveMemory,
		CPUSource: l.Sources.EffectiveCPUs}
	if l.EffectiveMemory != nil {
		out.Memory, out.Unlimited = *l.EffectiveMemory, l.MemoryLimit == nil
	}
	if l.MemoryHigh != nil {
		out.MemoryHigh = *l.MemoryHigh
	}
	if l.PIDsLimit != nil {
		out.PIDs = *l.PIDsLimit
	}
	if own == nil {
		return out, l.Warnings
	}
	if own.PIDs > 0 && (out.PIDs == 0 || int64(own.PIDs) < out.PIDs) {
		out.PIDs = int64(own.PIDs)
	}
	if own.Memory > 0 && (out.Memory == 0 || own.Memory < out.Memory) {
		out.Memory, out.MemorySource, out.Unlimited = own.Memory, "the service's own cgroup", false
	}
	if own.CPUs > 0 && (out.CPUQuota == nil || own.CPUs < *out.CPUQuota) {
		out.CPUQuota = &own.CPUs
		if n := int(math.Ceil(own.CPUs)); n < out.CPUs {
			out.CPUs, out.CPUSource = max(n, 1), "the service's own cgroup"
		}
	}
	return out, l.Warnings
}

// jvmEnviron returns env without the variables that the JVM itself reads, and with those of the sizing. The removed options are part of the
// user layer: _JAVA_OPTIONS would override everything, and child JVMs would inherit all of them.
func jvmEnviron(env map[string]string, add []jvm.EnvVar) map[string]string {
	out := make(map[string]string, len(env)+len(add))
	maps.Copy(out, env)
	for _, name := range jvm.ReadVariables() {
		delete(out, name)
	}
	for _, v := range add {
		out[v.Name] = v.Value
	}
	return out
}

// javaCommand returns `java OPTIONS -jar JAR ARGS` or `java OPTIONS -cp CP MAIN ARGS`, and the index of -jar or MAIN.
func javaCommand(java string, options []string, c config.Java) (argv []string, main int) {
	argv = append([]string{java}, options...)
	if len(c.Classpath) > 0 {
		argv = append(argv, "-cp", strings.Join(c.Classpath, ":"))
	}
	main = len(argv)
	if c.Jar != "" {
		argv = append(argv, "-jar", c.Jar)
	} else {
		argv = append(argv, c.Main)
	}
	return append(argv, c.Args...), main
}

// setting returns the configuration key that names the JVM; path is relative to the service.
func (l *Launcher) setting(path, value string) hotspot.Setting {
	return hotspot.Setting{Name: path, Value: value, From: l.Origins[config.ServicePath(l.Name, path)].String()}
}

// javaSettings returns the variables that name the JVM.
func javaSettings(env *service.Environment) (out []hotspot.Setting) {
	for _, name := range []string{"JRE_HOME", "JAVA_HOME"} {
		out = append(out, hotspot.Setting{Name: name, Value: env.Vars[name], From: env.Origin(name)})
	}
	return out
}

// versionOf returns the version for messages.
func versionOf(java hotspot.JVM) string {
	if java.Version == "" && java.Major > 0 {
		return strconv.Itoa(java.Major)
	}
	return java.Version
}

func javaNote(java hotspot.JVM, found string) string {
	note := fmt.Sprintf("JVM %s in %s (%s)", versionOf(java), java.Home, found)
	if java.Note != "" {
		note += "; " + java.Note
	}
	return note
}
