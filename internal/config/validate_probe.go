package config

import (
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/stoker-init/stoker/internal/layeredyaml"
	"github.com/stoker-init/stoker/supervisor"
	"github.com/stoker-init/stoker/supervisor/probe"
)

// probeReport is the report of the probe in the section at path.
type probeReport struct {
	*validator
	path string
}

// Bad reports a wrong value.
func (r probeReport) Bad(key, hint, format string, args ...any) {
	r.validator.Bad(layeredyaml.Join(r.path, key), hint, format, args...)
}

// Missing reports that key cannot be used because other is not set.
func (r probeReport) Missing(key, other, why string) {
	r.validator.Missing(layeredyaml.Join(r.path, key), "set "+layeredyaml.LastKey(r.path)+"."+other, "%s", why)
}

// Unused warns that key has no effect because other is not set.
func (r probeReport) Unused(key, other, why string) {
	r.Warn(layeredyaml.Join(r.path, key), "set "+layeredyaml.LastKey(r.path)+"."+other, "%s", why)
}

// Refused reports whether key, or a misspelling of it, was refused already.
func (r probeReport) Refused(key string) bool {
	return r.validator.Refused(layeredyaml.Join(r.path, key))
}

// probes checks what belongs together in probes.
func (v *validator) probes() {
	for _, name := range slices.Sorted(maps.Keys(v.raw.Services)) {
		raw := v.raw.Services[name]
		v.ready(ServicePath(name, "ready"), raw)
		v.live(ServicePath(name, "live"), raw, v.cfg.Services[name])
	}
}

func (v *validator) ready(path string, s Service) {
	s.Ready.Validate(probeReport{v, path})
	if s.Oneshot && (s.Ready.IsSet() || s.Ready.Log != "") {
		v.Warn(path, "remove it, or remove oneshot", "a oneshot has no readiness: it has done its work when it has ended")
	}
}

func (v *validator) live(path string, raw, cfg Service) {
	report := probeReport{v, path}
	raw.Live.Validate(report)
	var untouched supervisor.Live
	layeredyaml.SetDefaults(&untouched)
	timeout, every := cfg.Live.Timeout, cfg.Live.Every
	switch {
	case raw.Oneshot && !reflect.ValueOf(raw.Live).IsZero():
		v.Bad(path, "remove it, or remove oneshot", "a oneshot is expected to end: it has no live")
	case raw.Oneshot:
	case !raw.Live.IsSet() && !reflect.DeepEqual(cfg.Live, untouched) && !slices.ContainsFunc(probe.Keys(), report.Refused):
		v.Warn(path, "set live."+strings.Join(probe.Keys(), " or live."), "there is no liveness probe: no kind is set")
	case raw.Live.IsSet() && timeout > every && every > 0:
		v.Warn(layeredyaml.Join(path, "timeout"), "lower it to "+layeredyaml.ShortDuration(every)+" or less",
			"%s is more than every, %s: a service that hangs is found later than every and failures say",
			layeredyaml.ShortDuration(timeout), layeredyaml.ShortDuration(every))
	}
}
