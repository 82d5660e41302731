package plugin

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/stoker-init/stoker/hooks"
	"github.com/stoker-init/stoker/internal/lifecycle"
)

// Begins notes which plugins count for a start of a service that is being prepared.
func (p *Set) BeginStart(service string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var missing []string
	for _, e := range p.evaluations {
		if !e.isActive() && slices.ContainsFunc(e.hooks, func(b hooks.ResolvedHook) bool { return b.Event == lifecycle.PreStop }) {
			missing = append(missing, e.info.Name)
		}
	}
	if slices.Equal(p.saved.StartedWithout[service], missing) {
		return
	}
	if p.saved.StartedWithout[service] = missing; len(missing) == 0 {
		delete(p.saved.StartedWithout, service)
	}
	p.update()
}

// Starts notes whose options a service is started with.
func (p *Set) SetStartedWith(service string, carried []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if slices.Equal(p.saved.StartedWith[service], carried) {
		return
	}
	if p.saved.StartedWith[service] = carried; len(carried) == 0 {
		delete(p.saved.StartedWith, service)
	}
	p.update() // who has left has no farewell any more
}

// StartedWith are the plugins whose options the latest process of a service carried.
func (p *Set) StartedWith(service string) []JVMOptions {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []JVMOptions
	for _, name := range p.saved.StartedWith[service] {
		if e := p.find(name); e != nil {
			out = append(out, e.options)
		}
	}
	return out
}

// Death is the end of a process that has died soon after its start, which may be a
// plugin's doing.
type Exit struct {
	// Named are the plugins that its words speak of; none: all that it carried are
	// suspected, but for those that were found innocent.
	Named []string
	// Explained says that its words speak of something else than plugins: without a
	// name in them nobody is suspected.
	Explained bool
	Reason    string
	WasReady  bool // it had been
}

// Blame finds out whose doing a death is. They are failed with the reason, and why
// says so: the service is to be started without them at once. Where that start ends as
// well before it was ready they were not the cause, and count again. An empty why says
// that no plugin is suspected.
func (p *Set) DisableSuspects(service string, d Exit) (why string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if trial := p.saved.Trials[service]; len(trial) > 0 {
		delete(p.saved.Trials, service)
		if !d.WasReady {
			p.saved.Exonerated[service] = append(p.saved.Exonerated[service], trial...)
			maps.DeleteFunc(p.saved.Failed, func(name string, _ failure) bool { return slices.Contains(trial, name) })
		}
	}
	var accused, others []string
	for _, name := range p.saved.StartedWith[service] {
		_, failed := p.saved.Failed[name]
		switch e := p.find(name); {
		case e == nil || failed || e.info.Required:
		case slices.Contains(d.Named, name): // also one that was innocent of another death
			accused = append(accused, name)
		case !slices.Contains(p.saved.Exonerated[service], name):
			others = append(others, name)
		}
	}
	if len(d.Named) == 0 && !d.Explained {
		accused = others
	}
	if len(accused) > 0 {
		p.disable(accused, d.Reason)
		p.saved.Trials[service] = accused
		why = fmt.Sprintf("started again without the plugin %s, which may be the cause: %s", strings.Join(accused, ", "), shorten(d.Reason))
	}
	p.update()
	return why
}

// Ready says that a service has become ready: who it was started without, to see
// whether they were the cause of its end, were.
func (p *Set) OnReady(service string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.saved.Trials[service]) == 0 {
		return
	}
	delete(p.saved.Trials, service)
	p.save()
}

// Confirm says that a service's start has come to something: what it was started
// without stays failed, and who was found innocent is to be suspected again.
func (p *Set) OnStable(service string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.saved.Trials[service])+len(p.saved.Exonerated[service]) == 0 {
		return
	}
	delete(p.saved.Trials, service)
	delete(p.saved.Exonerated, service)
	p.save()
}

// Defer leaves a process as it is, whatever a switch has changed.
func (p *Set) DeferRestart(service string, pid int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.saved.Deferred[service] = pid
	p.save()
}

// Deferred says whether a process is left as it is.
func (p *Set) RestartDeferred(service string, pid int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return pid != 0 && p.saved.Deferred[service] == pid
}
