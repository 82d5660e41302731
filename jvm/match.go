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
	if name := c.Flavor.Name; name != "" {
		i := slices.IndexFunc(c.Flavors, func(f Profile) bool { return f.Name == name })
		if i < 0 {
			return p, fmt.Errorf("cannot use flavor: there is no %q among jvm.flavors; there are: %s", name, c.flavorNames())
		}
		p.Profile, p.ProfileWhy = &c.Flavors[i], "named by jvm.flavor.name"
		return p, nil
	}
	for i := range c.Flavors {
		if why, ok := c.Flavors[i].Match.holds(at); ok {
			p.Profile, p.ProfileWhy = &c.Flavors[i], why
			return p, nil
		}
	}
	return p, nil
}

// flavorNames lists the profiles for a message.
func (c Config) flavorNames() string {
	var names []string
	for _, f := range c.Flavors {
		names = append(names, f.Name)
	}
	return cmp.Or(strings.Join(names, ", "), "none")
}

// check reads the bounds.
func (m Match) check(r *profileReader) {
	r.size("match.memory.at_least", m.Memory.AtLeast, 0, math.MaxInt64)
	r.size("match.memory.below", m.Memory.Below, 0, math.MaxInt64)
	r.cpus("match.cpus.at_least", m.CPUs.AtLeast)
	r.cpus("match.cpus.below", m.CPUs.Below)
}

// holds reports whether all given conditions hold, and describes them.
func (m Match) holds(at Container) (why string, ok bool) {
	var parts []string
	for _, set := range []struct {
		what string
		want map[string]StringList
		have map[string]string
	}{{"label", m.Labels, at.Labels}, {"env", m.Env, at.Env}} {
		for _, name := range slices.Sorted(maps.Keys(set.want)) {
			value, there := set.have[name]
			if !there || !slices.Contains(set.want[name], value) {
				return "", false
			}
			parts = append(parts, fmt.Sprintf("%s %s is %s", set.what, name, value))
		}
	}
	if m.Memory != (MemoryRange{}) {
		if !m.Memory.holds(at.Limits.Memory) {
			return "", false
		}
		parts = append(parts, "memory is "+mibText(at.Limits.Memory))
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

// holds reports whether n bytes are in the range; an unknown memory or a bad bound is not.
func (r MemoryRange) holds(n int64) bool {
	if n <= 0 {
		return false
	}
	least, err := ParseMemory(r.AtLeast)
	if r.AtLeast != "" && (err != nil || n < least) {
		return false
	}
	below, err := ParseMemory(r.Below)
	return r.Below == "" || err == nil && n < below
}

// cores is the quota, or the number of CPUs where that is smaller.
func (l Limits) cores() float64 {
	n := float64(max(l.CPUs, 1))
	if l.CPUQuota != nil {
		n = min(n, *l.CPUQuota)
	}
	return n
}
