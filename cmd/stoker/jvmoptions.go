package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"slices"
	"strings"

	"github.com/stoker-init/stoker/internal/cgroup"
	"github.com/stoker-init/stoker/internal/config"
	"github.com/stoker-init/stoker/internal/hotspot"
	"github.com/stoker-init/stoker/jvm"
	"github.com/stoker-init/stoker/supervisor"
)

// jvmFacts are what one start of a JVM was made of, for its explanation.
type jvmFacts struct {
	JVM    hotspot.JVM `json:"jvm"`
	Found  string      `json:"found_by"`
	Result jvm.Result  `json:"options"`
	limits jvm.Limits
	flags  hotspot.Flags // that the JVM printed before the start; nil: it was not asked
}

// text is the explanation for people.
func (f *jvmFacts) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "JVM %s %s in %s (%s)\n\n", f.JVM.Vendor, f.JVM.Version, f.JVM.Home, f.Found)
	if err := jvm.Explain(&b, f.Result, f.limits); err != nil {
		fmt.Fprintln(&b, err)
	}
	return b.String()
}

// optionVars are the variables that the JVM or its launcher read themselves, the
// weaker first. They become part of the user layer and are taken out of the
// environment: _JAVA_OPTIONS would win over everything, and all of them reach
// every other JVM of the container.
func optionVars() [3]string {
	return [3]string{"JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS"}
}

// readLimits puts the cgroup's answer into the form that jvm takes; own is the
// cgroup that the JVM will run in, nil: the container's.
func readLimits(own *cgroup.Own) (jvm.Limits, []cgroup.Warning) {
	l := cgroup.Read("/")
	out := jvm.Limits{CPUs: l.EffectiveCPUs, CPUQuota: l.CPUQuota, MemorySource: l.Sources.EffectiveMemory, CPUSource: l.Sources.EffectiveCPUs}
	if l.EffectiveMemory != nil {
		out.Memory = *l.EffectiveMemory
	}
	if own != nil && own.Memory != nil && (out.Memory == 0 || *own.Memory < out.Memory) {
		out.Memory, out.MemorySource = *own.Memory, "the service's own cgroup"
	}
	if own != nil && own.CPUs != nil && (out.CPUQuota == nil || *own.CPUs < *out.CPUQuota) {
		out.CPUQuota = own.CPUs
		if n := int(math.Ceil(*own.CPUs)); n < out.CPUs {
			out.CPUs, out.CPUSource = max(n, 1), "the service's own cgroup"
		}
	}
	return out, l.Warnings
}

// layers reads the sources of the three layers.
type layers struct {
	cfg   jvm.Config
	env   map[string]string
	words []namedWords // options of variables that the kind of service knows, weaker first
	notes []string
	own   *cgroup.Own // nil: the JVM runs in the container's
}

// namedWords are options that came from a variable.
type namedWords struct {
	name  string
	words []string
}

// input reads every source. A missing file of the user layer is a note: a base
// image names it for applications that may have none.
func (l *layers) input() (in jvm.Input, err error) {
	if in.Default, err = l.fixed("jvm.default", l.cfg.Default, false); err != nil {
		return in, err
	}
	if in.User, err = l.fixed("jvm.user", l.cfg.User, true); err != nil {
		return in, err
	}
	if in.Enforced, err = l.fixed("jvm.enforced", l.cfg.Enforced, false); err != nil {
		return in, err
	}
	vars := optionVars()
	for k, name := range vars {
		if k == len(vars)-1 { // the strongest, after those of the kind
			for _, w := range l.words {
				in.User = append(in.User, jvm.ParseArgs("env "+w.name, w.words)...)
			}
		}
		if err := l.variable(&in.User, name); err != nil {
			return in, err
		}
	}
	return in, nil
}

// fixed reads what one layer's configuration names.
func (l *layers) fixed(path string, c jvm.LayerConfig, optional bool) ([]jvm.Option, error) {
	out := jvm.ParseArgs(path+".options", c.Options)
	for _, file := range c.Files {
		data, err := os.ReadFile(file)
		switch {
		case optional && errors.Is(err, fs.ErrNotExist):
			l.notes = append(l.notes, "no JVM options in "+file+": there is no such file")
			continue
		case err != nil:
			return nil, fmt.Errorf("cannot read JVM options (%s.files): %w", path, err)
		}
		out = append(out, jvm.ParseFile(file, string(data))...)
	}
	for _, name := range c.Env {
		if err := l.variable(&out, name); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// variable adds the options of an environment variable.
func (l *layers) variable(to *[]jvm.Option, name string) error {
	words, err := jvm.SplitOptions(l.env[name])
	if err != nil {
		return fmt.Errorf("cannot take JVM options from %s: %w", name, err)
	}
	*to = append(*to, jvm.ParseArgs("env "+name, words)...)
	return nil
}

// render sizes and merges, and says what the operator should know.
func (l *layers) render(java hotspot.JVM, found string, flavor jvm.Flavor, maxThreads int) (*jvmFacts, error) {
	in, err := l.input()
	if err != nil {
		return nil, err
	}
	limits, warnings := readLimits(l.own)
	in.Limits, in.Flavor = limits, flavor
	in.Target = jvm.Target{JavaMajor: java.Major, JavaVersion: java.Version, Arch: java.Arch, MaxThreads: maxThreads}
	result, err := jvm.Render(in)
	facts := &jvmFacts{JVM: java, Found: found, Result: result, limits: limits}
	for _, w := range warnings {
		l.notes = append(l.notes, "limits: "+w.Message)
	}
	for _, w := range result.Warnings {
		l.notes = append(l.notes, "JVM options: "+w.Message)
	}
	if err != nil {
		return facts, fmt.Errorf("cannot size the JVM: %w", err)
	}
	if err := result.Err(); err != nil {
		return facts, fmt.Errorf("cannot use the JVM options: %w", err)
	}
	return facts, nil
}

// withoutOptionVars is env without what the JVM would read by itself.
func withoutOptionVars(env map[string]string) map[string]string {
	out := make(map[string]string, len(env))
	for k, v := range env {
		out[k] = v
	}
	for _, name := range optionVars() {
		delete(out, name)
	}
	return out
}

// javaLauncher starts a service of kind java.
type javaLauncher struct {
	*processLauncher
	jvm   jvm.Config
	keep  func(*jvmFacts)
	check jvmCheck
}

// Prepare finds the JVM and builds its command line.
func (l *javaLauncher) Prepare(ctx context.Context) (*supervisor.Launch, error) {
	return l.ready(func(r *readied) (*supervisor.Launch, error) {
		out, err := l.Attach(ctx)
		if err != nil {
			return nil, err
		}
		java, found, err := hotspot.Find("/", l.service.Java.Home, func(k string) string { return r.env[k] })
		if err != nil {
			return nil, err
		}
		words, err := jvm.SplitOptions(r.env["JAVA_OPTS"])
		if err != nil {
			return nil, fmt.Errorf("cannot take JVM options from JAVA_OPTS: %w", err)
		}
		layers := &layers{cfg: l.jvm, env: r.env, words: []namedWords{{"JAVA_OPTS", words}}, own: r.own}
		facts, err := layers.render(java, found, l.jvm.Flavor, 0)
		if facts != nil {
			l.keep(r.hide.facts(facts))
		}
		if err != nil {
			return nil, err
		}
		facts, notes, err := l.check.before(ctx, l.processLauncher, facts, r.env, "")
		if err != nil {
			return nil, err
		}
		l.keep(r.hide.facts(facts))
		out.Spec = l.spec(withoutOptionVars(r.env))
		out.Spec.Argv = javaCommand(java.Java, facts.Result.Argv(), l.service.Java)
		out.Notes = slices.Concat([]string{javaNote(java, found)}, layers.notes, notes)
		out.Verify = l.check.after(facts, out.Spec.Argv, r.hide)
		return out, nil
	})
}

// Attach adds what a JVM can do to the probes.
func (l *javaLauncher) Attach(ctx context.Context) (*supervisor.Launch, error) {
	return asJVM(l.processLauncher.Attach(ctx))
}

// javaCommand is `java OPTIONS -jar JAR ARGS` or `java OPTIONS -cp CP MAIN ARGS`.
func javaCommand(java string, options []string, c config.Java) []string {
	argv := append([]string{java}, options...)
	if len(c.Classpath) > 0 {
		argv = append(argv, "-cp", strings.Join(c.Classpath, ":"))
	}
	if c.Jar != "" {
		argv = append(argv, "-jar", c.Jar)
	} else {
		argv = append(argv, c.Main)
	}
	return append(argv, c.Args...)
}

func javaNote(java hotspot.JVM, found string) string {
	note := fmt.Sprintf("JVM %s in %s (%s)", java.Version, java.Home, found)
	if java.Note != "" {
		note += "; " + java.Note
	}
	return note
}
