package config

import (
	"maps"
	"slices"
	"strings"

	"github.com/stoker-init/stoker/internal/execshim"
)

// limits checks what the kernel is told about a service's processes.
func (v *validator) limits(path string, s Service) {
	rlimits := join(path, "rlimits")
	for _, name := range slices.Sorted(maps.Keys(s.Rlimits)) {
		switch l, err := execshim.ParseRlimit(name, s.Rlimits[name]); {
		case err != nil:
			v.bad(join(rlimits, name), "", "%v", err)
		case l.Name != name: // else one limit could be there twice
			v.bad(join(rlimits, name), "write "+l.Name, "%s is not how a limit is written here", quote("", name))
		}
	}
	v.between(join(path, "nice"), s.Nice, -20, 19)
	v.between(join(path, "oom_score_adj"), s.OOMScoreAdj, -1000, 1000)
	if s.IONice != "" {
		if _, err := execshim.ParseIONice(s.IONice); err != nil {
			v.bad(join(path, "ionice"), "", "%v", err)
		}
	}
	for i, name := range s.DropCapabilities {
		if _, err := execshim.ParseCapability(name); err != nil {
			v.bad(index(join(path, "drop_capabilities"), i), didYouMean(strings.ToUpper(name), execshim.CapabilityNames()), "%v", err)
		}
	}
	cgroup := join(path, "cgroup")
	// Written so that NaN fails too.
	if at := join(cgroup, "cpus"); !(s.Cgroup.CPUs > 0) && (s.Cgroup.CPUs != 0 || v.isSet(at)) {
		v.bad(at, "remove the key for no limit of its own", "%v is not above 0", s.Cgroup.CPUs)
	}
	v.size(join(cgroup, "memory"), s.Cgroup.Memory)
}

func (v *validator) between(path string, n *int, low, high int) {
	if n != nil && (*n < low || *n > high) {
		v.bad(path, "", "%d is not between %d and %d", *n, low, high)
	}
}
