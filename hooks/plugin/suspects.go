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
func (p *Plugins) Begins(service string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var missing []string
	for _, e := range p.now {
		if !e.counts() && slices.ContainsFunc(e.bound, func(b hooks.ResolvedHook) bool { return b.Event == lifecycle.PreStop }) {
			missing = append(missing, e.info.Name)
		}
	}
	if slices.Equal(p.memory.Missing[service], missing) {
		return
	}
	if p.memory.Missing[service] = missing; len(missing) == 0 {
		delete(p.memory.Missing, service)
	}
	p.settle()
}

// Starts notes whose options a service is started with.
func (p *Plugins) Starts(service string, carried []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if slices.Equal(p.memory.Carried[service], carried) {
		return
	}
	if p.memory.Carried[service] = carried; len(carried) == 0 {
		delete(p.memory.Carried, service)
	}
	p.settle() // who has left has no farewell any more
}

// StartedWith are the plugins whose options the latest process of a service carried.
func (p *Plugins) StartedWith(service string) []Carried {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []Carried
	for _, name := range p.memory.Carried[service] {
		if e := p.find(name); e != nil {
			out = append(out, e.carried)
		}
	}
	return out
}

// Death is the end of a process that has died soon after its start, which may be a
// plugin's doing.
type Death struct {
	// Named are the plugins that its words speak of; none: all that it carried are
	// suspected, but for those that were found innocent.
	Named []string
	// Explained says that its words speak of something else than plugins: without a
	// name in them nobody is suspected.
	Explained bool
	Reason    string
	Ready     bool // it had been
}

// Blame finds out whose doing a death is. They are failed with the reason, and why
// says so: the service is to be started without them at once. Where that start ends as
// well before it was ready they were not the cause, and count again. An empty why says
// that no plugin is suspected.
func (p *Plugins) Blame(service string, d Death) (why string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if trial := p.memory.Trials[service]; len(trial) > 0 {
		delete(p.memory.Trials, service)
		if !d.Ready {
			p.memory.Cleared[service] = append(p.memory.Cleared[service], trial...)
			maps.DeleteFunc(p.memory.Failed, func(name string, _ failure) bool { return slices.Contains(trial, name) })
		}
	}
	var accused, others []string
	for _, name := range p.memory.Carried[service] {
		_, failed := p.memory.Failed[name]
		switch e := p.find(name); {
		case e == nil || failed || e.info.Required:
		case slices.Contains(d.Named, name): // also one that was innocent of another death
			accused = append(accused, name)
		case !slices.Contains(p.memory.Cleared[service], name):
			others = append(others, name)
		}
	}
	if len(d.Named) == 0 && !d.Explained {
		accused = others
	}
	if len(accused) > 0 {
		p.fail(accused, d.Reason)
		p.memory.Trials[service] = accused
		why = fmt.Sprintf("started again without the plugin %s, which may be the cause: %s", strings.Join(accused, ", "), brief(d.Reason))
	}
	p.settle()
	return why
}

// Ready says that a service has become ready: who it was started without, to see
// whether they were the cause of its end, were.
func (p *Plugins) Ready(service string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.memory.Trials[service]) == 0 {
		return
	}
	delete(p.memory.Trials, service)
	p.keep()
}

// Confirm says that a service's start has come to something: what it was started
// without stays failed, and who was found innocent is to be suspected again.
func (p *Plugins) Confirm(service string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.memory.Trials[service])+len(p.memory.Cleared[service]) == 0 {
		return
	}
	delete(p.memory.Trials, service)
	delete(p.memory.Cleared, service)
	p.keep()
}

// Defer leaves a process as it is, whatever a switch has changed.
func (p *Plugins) Defer(service string, pid int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.memory.Deferred[service] = pid
	p.keep()
}

// Deferred says whether a process is left as it is.
func (p *Plugins) Deferred(service string, pid int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return pid != 0 && p.memory.Deferred[service] == pid
}
