package hooks

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

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

// Suspects are the plugins that may have ended a service's process: those whose
// options it carried, that are not required, and that were not found innocent.
func (p *Plugins) Suspects(service string) []Carried {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.suspects(service)
}

// suspects is the same. p.mu is held.
func (p *Plugins) suspects(service string) []Carried {
	var out []Carried
	for _, name := range p.memory.Carried[service] {
		_, failed := p.memory.Failed[name]
		if e := p.find(name); e != nil && !failed && !e.info.Required && !slices.Contains(p.memory.Cleared[service], name) {
			out = append(out, e.carried)
		}
	}
	return out
}

// Blame is for a process that has died soon after its start, which may be a plugin's
// doing. named are those that its words speak of; none: all are suspected. They are
// failed with the reason, and why says so: the service is to be started without them
// at once. Where that start ends as well before it was ready they were not the cause,
// and count again. An empty why says that no plugin is suspected.
func (p *Plugins) Blame(service string, named []string, reason string, ready bool) (why string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if trial := p.memory.Trials[service]; len(trial) > 0 {
		delete(p.memory.Trials, service)
		if !ready {
			p.memory.Cleared[service] = append(p.memory.Cleared[service], trial...)
			maps.DeleteFunc(p.memory.Failed, func(name string, _ failure) bool { return slices.Contains(trial, name) })
		}
	}
	var all, accused []string
	for _, c := range p.suspects(service) {
		if all = append(all, c.Name); slices.Contains(named, c.Name) {
			accused = append(accused, c.Name)
		}
	}
	if len(accused) == 0 {
		accused = all
	}
	if len(accused) > 0 {
		p.fail(accused, reason)
		p.memory.Trials[service] = accused
		why = fmt.Sprintf("started again without the plugin %s, which may be the cause: %s", strings.Join(accused, ", "), brief(reason))
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
