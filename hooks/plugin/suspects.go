package plugin

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/stoker-init/stoker/hooks"
	"github.com/stoker-init/stoker/internal/lifecycle"
)

// BeginStart notes which plugins are inactive at a start of a service.
func (p *Set) BeginStart(service string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var without []string
	for _, e := range p.evaluations {
		if !e.isActive() && slices.ContainsFunc(e.hooks, func(b hooks.ResolvedHook) bool { return b.Event == lifecycle.PreStop }) {
			without = append(without, e.info.Name)
		}
	}
	if s := p.saved.service(service); !slices.Equal(s.Without, without) {
		s.Without = without
		p.update()
	}
}

// SetStartedWith notes the plugins whose options a service is started with.
func (p *Set) SetStartedWith(service string, plugins []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.saved.service(service); !slices.Equal(s.With, plugins) {
		s.With = plugins
		p.update() // the teardown hooks are others
	}
}

// StartedWith returns the plugins whose options the latest process of a service has.
func (p *Set) StartedWith(service string) []JVMOptions {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []JVMOptions
	for _, name := range p.saved.service(service).With {
		if e, err := p.find(name); err == nil {
			out = append(out, e.options)
		}
	}
	return out
}

// Exit is the end of a process soon after its start, which a plugin may have caused.
type Exit struct {
	// Named are the plugins that its output names; none: all that it was started with are suspects, but for exonerated ones.
	Named []string
	// Explained means that its output has another cause: without a name there are no suspects.
	Explained bool
	Reason    string
	WasReady  bool
}

// DisableSuspects disables the plugins that may have caused the end of a service; why says so, and the
// service is to be started without them at once. If that start ends too before it is ready they are
// exonerated and enabled again. An empty why means that there are no suspects.
func (p *Set) DisableSuspects(service string, x Exit) (why string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.saved.service(service)
	trial := s.Trial
	if s.Trial = nil; !x.WasReady {
		s.Exonerated = append(s.Exonerated, trial...)
		maps.DeleteFunc(p.saved.Failed, func(name string, _ failure) bool { return slices.Contains(trial, name) })
	}
	var suspects, others []string
	for _, name := range s.With {
		_, failed := p.saved.Failed[name]
		switch e, err := p.find(name); {
		case err != nil || failed || e.info.Required:
		case slices.Contains(x.Named, name): // also if it was exonerated of another end
			suspects = append(suspects, name)
		case !slices.Contains(s.Exonerated, name):
			others = append(others, name)
		}
	}
	if len(x.Named) == 0 && !x.Explained {
		suspects = others
	}
	if len(suspects) > 0 {
		p.disable(suspects, x.Reason)
		s.Trial = suspects
		why = fmt.Sprintf("started again without the plugin %s, which may be the cause: %s", strings.Join(suspects, ", "), shorten(x.Reason))
	}
	p.update()
	return why
}

// OnReady ends a trial: the service became ready without the suspects, so they stay disabled.
func (p *Set) OnReady(service string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.saved.service(service); len(s.Trial) > 0 {
		s.Trial = nil
		p.save()
	}
}

// OnStable ends a trial, and exonerated plugins may be suspects again.
func (p *Set) OnStable(service string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.saved.service(service); len(s.Trial)+len(s.Exonerated) > 0 {
		s.Trial, s.Exonerated = nil, nil
		p.save()
	}
}

// OnHookFailure disables a plugin whose hook has failed, unless it is required. After the start of a
// service its options still apply: no JVM is restarted for a hook.
func (p *Set) OnHookFailure(name string, event lifecycle.Event, reason string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e, err := p.find(name); err == nil && !e.info.Required {
		p.saved.Failed[name] = failure{Reason: shorten(reason), OptionsApply: !event.Contributes()}
		p.update()
	}
}

// Disable disables plugins until they are switched on again or the container ends.
func (p *Set) Disable(names []string, reason string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.disable(names, reason)
	p.update()
}

func (p *Set) disable(names []string, reason string) {
	for _, name := range names {
		p.saved.Failed[name] = failure{Reason: shorten(reason)}
	}
}

// enable forgets that a plugin has failed.
func (p *Set) enable(name string) {
	delete(p.saved.Failed, name)
	for _, s := range p.saved.Services {
		isName := func(n string) bool { return n == name }
		s.Trial, s.Exonerated = slices.DeleteFunc(s.Trial, isName), slices.DeleteFunc(s.Exonerated, isName)
	}
}
