package jvm

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
)

// Match selects a profile that is not named. All given conditions must hold; without any it
// never matches.
type Match struct {
	Labels map[string]StringList `yaml:"labels"`
	Env    map[string]StringList `yaml:"env"`
	Memory MemoryRange           `yaml:"memory"` // of the container's limit
	CPUs   CPURange              `yaml:"cpus"`   // of the quota, or the CPUs allowed where these are fewer
}

// MemoryRange bounds a size; absent is no bound.
type MemoryRange struct {
	AtLeast string `yaml:"at_least"`
	Below   string `yaml:"below"`
}

// CPURange bounds a number of CPUs; absent is no bound.
type CPURange struct {
	AtLeast float64 `yaml:"at_least"`
	Below   float64 `yaml:"below"`
}

// Container is what profiles are matched against.
type Container struct {
	Env    map[string]string // of the service
	Labels map[string]string
	Limits Limits
}

// ProfileChoice names the selected profile and the reason.
type ProfileChoice struct {
	Name string `json:"name"`
	Why  string `json:"why"`
}

// Policy is the configuration of the sizing; the zero value is the documented rule.
type Policy struct {
	Flavor  Flavor
	Profile *Profile // nil: none was chosen
	// ProfileWhy is why it was selected.
	ProfileWhy string
	Rules      Rules
	CPUs       string // CPUsCeil, CPUsFloor or absent
	Reserve    string // absent: nothing
}

// ProfileName is the name of the selected profile; empty: none.
func (p Policy) ProfileName() string {
	if p.Profile == nil {
		return ""
	}
	return p.Profile.Name
}

// Policy selects the named profile, or else the first that matches. An unknown name is an
// error.
func (c Config) Policy(at Container) (Policy, error) {
	p := Policy{Flavor: c.Flavor, Rules: c.Rules, CPUs: c.CPUs, Reserve: c.Reserve}
	var names []string
	for i, f := range c.Flavors {
		why, ok := "named by jvm.flavor.name", f.Name == c.Flavor.Name
		if c.Flavor.Name == "" {
			why, ok = f.Match.holds(at)
		}
		if ok {
			p.Profile, p.ProfileWhy = &c.Flavors[i], why
			return p, nil
		}
		names = append(names, f.Name)
	}
	if c.Flavor.Name != "" {
		return p, fmt.Errorf("cannot use flavor: there is no %q among jvm.flavors; there are: %s", c.Flavor.Name,
			cmp.Or(strings.Join(names, ", "), "none"))
	}
	return p, nil
}

// check checks the bounds.
func (m Match) check(r *profileReader) {
	r.size("match.memory.at_least", m.Memory.AtLeast, 0, math.MaxInt64)
	r.size("match.memory.below", m.Memory.Below, 0, math.MaxInt64)
	r.cpus("match.cpus.at_least", m.CPUs.AtLeast)
	r.cpus("match.cpus.below", m.CPUs.Below)
}

// holds reports whether all given conditions hold, and describes them. An unknown memory is in no range.
func (m Match) holds(at Container) (why string, ok bool) {
	if (Terms{Env: m.Env, Labels: m.Labels}).missed(at.Env, at.Labels, "") != "" {
		return "", false
	}
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(m.Labels)) {
		parts = append(parts, fmt.Sprintf("label %s is %s", name, at.Labels[name]))
	}
	for _, name := range slices.Sorted(maps.Keys(m.Env)) {
		parts = append(parts, fmt.Sprintf("env %s is %s", name, at.Env[name]))
	}
	if m.Memory != (MemoryRange{}) {
		n := at.Limits.Memory
		least, _ := ParseMemory(m.Memory.AtLeast) // Profile.Check has checked both
		below, _ := ParseMemory(m.Memory.Below)
		if n <= 0 || n < least || m.Memory.Below != "" && n >= below {
			return "", false
		}
		parts = append(parts, "memory is "+mibText(n))
	}
	if m.CPUs != (CPURange{}) {
		n := at.Limits.cores()
		if n < m.CPUs.AtLeast || m.CPUs.Below > 0 && n >= m.CPUs.Below {
			return "", false
		}
		parts = append(parts, fmt.Sprintf("there are %g CPUs", n))
	}
	return strings.Join(parts, ", "), len(parts) > 0
}

// cores is the quota, or the number of CPUs where that is smaller.
func (l Limits) cores() float64 {
	n := float64(max(l.CPUs, 1))
	if l.CPUQuota != nil {
		n = min(n, *l.CPUQuota)
	}
	return n
}
