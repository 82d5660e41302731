package launch

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/stoker-init/stoker/jvm"
	"github.com/stoker-init/stoker/jvm/hotspot"
)

// kindVariables are the option variables of a kind of service, weaker first.
type kindVariables struct {
	names []string
	// vars are the variables of the start script; nil: those of the environment.
	vars map[string]string
	// split splits a value; nil: as jvm.SplitOptions.
	split func(name string, vars map[string]string) ([]string, error)
}

// input reads every source.
func (l *sources) input(ctx context.Context) (in jvm.Input, err error) {
	if in, err = l.readConfigured(ctx); err != nil {
		return in, err
	}
	for _, o := range l.hookOptions { // variables of the operator override them
		in.User = append(in.User, jvm.ParseArgs(o.Source, []string{o.Option})...)
	}
	for _, name := range l.cfg.User.Env { // other layers reject it
		if err := l.variable(&in.User, name); err != nil {
			return in, err
		}
	}
	vars := jvm.ReadVariables()
	for k, name := range vars {
		if k == len(vars)-1 { // the strongest, after those of the kind
			for _, name := range l.kind.names {
				if err := l.variable(&in.User, name); err != nil {
					return in, &OptionsError{err}
				}
			}
		}
		if name == "JDK_JAVA_OPTIONS" && l.java == 8 && l.env.Vars[name] != "" {
			in.Warnings = append(in.Warnings, jvm.Problem{Code: jvm.IgnoredEnv, Message: name + " does not apply: Java 8 does not read it"})
			continue // it may be for a later release, on which this JVM would fail
		}
		if err := l.variable(&in.User, name); err != nil {
			return in, err
		}
		if strings.TrimSpace(l.env.Vars[name]) != "" {
			in.Warnings = append(in.Warnings, jvm.Problem{Code: jvm.IgnoredEnv,
				Message: name + " is part of the user layer now and taken out of the JVM's environment, where it would apply to every JVM"})
		}
	}
	for _, c := range l.pluginOptions {
		in.User = append(in.User, c.Options[jvm.User]...)
	}
	in.Expand(optionFiles(l.user)) // those named by variables and plugins
	return in, nil
}

// variable adds the options of an environment variable. setenv.sh usually prepends or appends options; the others keep their source.
func (l *sources) variable(to *[]jvm.Option, name string) error {
	split, vars := func(name string, vars map[string]string) ([]string, error) { return jvm.SplitOptions(vars[name]) }, l.env.Vars
	switch {
	case slices.Contains(jvm.ReadVariables(), name):
		split = func(name string, vars map[string]string) ([]string, error) { return jvm.SplitVMOptions(vars[name]) }
	case l.kind.split != nil && slices.Contains(l.kind.names, name):
		split, vars = l.kind.split, l.kind.vars
	}
	words, err := split(name, vars)
	if err != nil {
		return fmt.Errorf("cannot take JVM options from %s: %w", name, err)
	}
	given, _ := split(name, l.serviceEnv.Vars) // only for comparison
	was, now, n := l.serviceEnv.Source(name), l.env.Source(name), len(given)
	add := func(source string, words []string) { *to = append(*to, jvm.ParseArgs(source, words)...) }
	switch {
	case was == now || n > len(words):
		add(now, words)
	case slices.Equal(words[:n], given):
		add(was, given)
		add(now, words[n:])
	case slices.Equal(words[len(words)-n:], given):
		add(now, words[:len(words)-n])
		add(was, given)
	default:
		add(now, words)
	}
	return nil
}

// targetOf returns what package jvm needs of a JVM.
func targetOf(java hotspot.JVM) jvm.Target {
	return jvm.Target{JavaMajor: java.Major, JavaVersion: java.Version, Arch: java.Arch, Libc: java.Libc}
}

// render sizes and merges the options of in, for a JVM of which build is known.
func (l *sources) render(in jvm.Input, java hotspot.JVM, found string, maxThreads int, build hotspot.Build) (*Report, error) {
	in.Limits, in.Policy, in.Env, in.JVMAsked = l.limits, l.policy, l.env.Vars, preflightEnabled(l.cfg)
	in.Target = targetOf(java)
	in.Target.MaxThreads, in.Target.Flags = maxThreads, build.Flags
	result, err := jvm.Render(in)
	report := &Report{JVM: java, Found: found, Result: result, Sources: append([]SourceState{}, l.states...), limits: l.limits,
		sourceDigest: l.digest, cgroup: l.own}
	for _, c := range l.pluginOptions {
		report.plugins = append(report.plugins, c.Name)
	}
	if err != nil {
		return report, &OptionsError{fmt.Errorf("cannot size the JVM: %w", err)}
	}
	if err := result.Err(); err != nil {
		return report, &OptionsError{fmt.Errorf("cannot use the JVM options: %w", err)}
	}
	return report, nil
}
