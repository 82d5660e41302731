package config

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/stoker-init/stoker/internal/layeredyaml"
	"github.com/stoker-init/stoker/jvm"
)

func TestFlavorsAndRules(t *testing.T) {
	const file = `
services: {web: {command: [x]}}
jvm:
  flavor: {name: small}
  reserve: 256MiB
  cpus: floor
  rules: {code-cache: false, stacks: true}
  flavors:
    - name: small
      match: {labels: {tier: bronze}, env: {ENV: [fat, uat]}, memory: {below: 2GiB}, cpus: {at_least: 0.5}}
      off_heap_min: 300MiB
      collector: Parallel
    - {name: large, memory: 8GiB}
`
	l, err := Load(Options{File: write(t, map[string]string{"stoker.yaml": file}), Environ: []string{"STOKER_JVM_RULES_OUT_OF_MEMORY=false",
		"STOKER_JVM_FLAVOR_NAME=large"}})
	if err != nil {
		t.Fatal(err)
	}
	got := l.Config.JVM
	if got.Flavor.Name != "large" || len(got.Flavors) != 2 || got.Reserve != "256MiB" || got.CPUs != jvm.CPUsFloor {
		t.Errorf("got %+v", got)
	}
	m := got.Flavors[0].Match
	if !slices.Equal(m.Labels["tier"], jvm.StringList{"bronze"}) || !slices.Equal(m.Env["ENV"], jvm.StringList{"fat", "uat"}) ||
		m.Memory.Below != "2GiB" || m.CPUs.AtLeast != 0.5 {
		t.Errorf("got %+v", m)
	}
	if r := got.Rules; r.CodeCache == nil || *r.CodeCache || r.Stacks == nil || !*r.Stacks || r.OutOfMemory == nil || *r.OutOfMemory ||
		r.Heap != nil {
		t.Errorf("got %+v", r)
	}
	if p, err := got.Policy(jvm.Container{}); err != nil || p.Profile == nil || p.Profile.Memory != "8GiB" {
		t.Errorf("policy %+v, %v", p, err)
	}
}

func TestFlavorsAndRulesAreChecked(t *testing.T) {
	for _, tc := range []struct{ jvm, want string }{
		{`rules: {code_cache: false}`, `jvm.rules.code_cache: unknown key (did you mean "code-cache"?)`},
		{`rules: {heaps: no}`, `jvm.rules.heaps: unknown key (did you mean "heap"?)`},
		{`rules: {heap: no}`, `jvm.rules.heap: "no" is not true or false (write false)`},
		{`cpus: round`, `jvm.cpus: "round" is not one of ceil, floor`},
		{`reserve: much`, `jvm.reserve: cannot read size "much"`},
		{`flavor: {name: smal}, flavors: [{name: small}]`, `jvm.flavor.name: there is no "smal" among jvm.flavors (did you mean "small"?)`},
		{`flavor: {name: small}`, `jvm.flavor.name: there is no "small" among jvm.flavors`},
		{`flavors: [{memory: 1GiB}]`, `jvm.flavors[0].name: a flavor needs a name`},
		{`flavors: [{name: a}, {name: a}]`, `jvm.flavors[1].name: there is another flavor "a"`},
		{`flavors: [{name: a, off_heap_min: x}]`, `jvm.flavors[0].off_heap_min: cannot read size "x"`},
		{`flavors: [{name: a, off_heap_share: 20}]`, `jvm.flavors[0].off_heap_share: 20 is no share of the memory`},
		{`flavors: [{name: a, collector: UseG1GC}]`, `jvm.flavors[0].collector: "UseG1GC" is no collector: write Serial, Parallel, G1`},
		{`flavors: [{name: a, match: {memory: {below: x}}}]`, `jvm.flavors[0].match.memory.below: cannot read size "x"`},
		{`flavors: [{name: a, match: {tag: x}}]`, `jvm.flavors[0].match.tag: unknown key`},
		{`flavors: [{name: a, match: {env: {A: {b: c}}}}]`, `jvm.flavors[0].match.env.A: is a section of keys, not a list`},
	} {
		_, err := Load(Options{File: write(t, map[string]string{"stoker.yaml": "services: {web: {command: [x]}}\njvm: {" + tc.jvm + "}\n"})})
		var ps layeredyaml.Problems
		if !errors.As(err, &ps) || len(ps) != 1 || !strings.Contains(ps[0].String(), tc.want) || ps[0].Line != 2 {
			t.Errorf("%s: %v, want %s", tc.jvm, err, tc.want)
		}
	}
}

// Every size is read by one rule.
func TestSizes(t *testing.T) {
	for _, key := range []string{"services: {a: {command: [x], output: {keep: SIZE}}}",
		"services: {a: {command: [x], output: {file: {path: /x, size: SIZE}}}}",
		"services: {a: {command: [x], output: {file: {path: /x, size: 1k, total: SIZE}}}}",
		"services: {a: {command: [x], cgroup: {memory: SIZE}}}",
		"jvm: {reserve: SIZE}", "jvm: {flavor: {memory: SIZE}}", "jvm: {flavors: [{name: a, memory: SIZE}]}",
		"jvm: {flavors: [{name: a, off_heap_min: SIZE}]}",
		"jvm: {flavors: [{name: a, match: {memory: {below: SIZE}}}]}"} {
		for _, size := range []string{"10MB", "10M", "10m", "10mb", "10Mi", "10MiB", "10485760"} {
			if l, err := loadText(t, strings.ReplaceAll(key, "SIZE", size)+"\n"); err != nil || len(l.Warnings) > 0 {
				t.Errorf("%s with %s: %v %v", key, size, err, l.Warnings)
			}
		}
		for size, want := range map[string]string{"1.5MB": `cannot read size "1.5MB": write 1536KiB`,
			"lots": `cannot read size "lots": use a whole number`} {
			if _, err := loadText(t, strings.ReplaceAll(key, "SIZE", size)+"\n"); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s with %s: %v, want %q", key, size, err, want)
			}
		}
	}
	for _, text := range []string{"services: {a: {command: [x], output: {keep: ''}}}", "jvm: {flavor: {memory: ''}}", "jvm: {reserve: ''}",
		"services: {a: {command: [x], output: {file: {path: /x, total: ''}}}}", "services: {a: {command: [x], cgroup: {memory: ''}}}"} {
		if _, err := loadText(t, text+"\n"); err == nil || !strings.Contains(err.Error(), "is empty (remove the key to keep the default)") {
			t.Errorf("%s: %v", text, err)
		}
	}
	l, err := loadText(t, "jvm: {reserve: 512}\n")
	if err != nil || len(l.Warnings) != 1 || l.Warnings[0].Hint != "write the unit: 512MiB" {
		t.Errorf("%v %v", err, l.Warnings)
	}
}
