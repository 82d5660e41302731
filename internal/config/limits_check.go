package config

import (
	"maps"
	"slices"
	"strings"

	"github.com/stoker-init/stoker/internal/execshim"
	"github.com/stoker-init/stoker/internal/layeredyaml"
)

// limits checks what the kernel is told about a service's processes.
func (v *validator) limits(path string, s Service) {
	rlimits := layeredyaml.Join(path, "rlimits")
	for _, name := range slices.Sorted(maps.Keys(s.Rlimits)) {
		switch l, err := execshim.ParseRlimit(name, s.Rlimits[name]); {
		case err != nil:
			v.Bad(layeredyaml.Join(rlimits, name), "", "%v", err)
		case l.Name != name: // else one limit could be there twice
			v.Bad(layeredyaml.Join(rlimits, name), "write "+l.Name, "%s is not how a limit is written here", layeredyaml.Quote("", name))
		}
	}
	v.Between(layeredyaml.Join(path, "nice"), s.Nice, -20, 19)
	v.Between(layeredyaml.Join(path, "oom_score_adj"), s.OOMScoreAdj, -1000, 1000)
	if s.IONice != "" {
		if _, err := execshim.ParseIONice(s.IONice); err != nil {
			v.Bad(layeredyaml.Join(path, "ionice"), "", "%v", err)
		}
	}
	for i, name := range s.DropCapabilities {
		if _, err := execshim.ParseCapability(name); err != nil {
			v.Bad(layeredyaml.Index(layeredyaml.Join(path, "drop_capabilities"), i), layeredyaml.DidYouMean(strings.ToUpper(name), execshim.CapabilityNames()), "%v", err)
		}
	}
	cgroup := layeredyaml.Join(path, "cgroup")
	// Written so that NaN fails too.
	if at := layeredyaml.Join(cgroup, "cpus"); !(s.Cgroup.CPUs > 0) && (s.Cgroup.CPUs != 0 || v.IsSet(at)) {
		v.Bad(at, "remove the key for no limit of its own", "%v is not above 0", s.Cgroup.CPUs)
	}
	v.size(layeredyaml.Join(cgroup, "memory"), s.Cgroup.Memory)
}
