package plugin

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// Owed is that JVMs are to be started anew with other options, until it is done: a
// supervisor that dies in between leaves it to the next.
type PendingRestart struct {
	By     string `json:"by"`               // who wants it
	Plugin string `json:"plugin,omitempty"` // that was switched; empty: the configuration is another one
	Later  bool   `json:"later,omitempty"`  // they are to be left as they are
	// Before is what the plugins carried before the change; empty: that does not count.
	Before string `json:"before,omitempty"`
}

// Owe notes that another configuration is going to be in force.
func (p *Set) RequireRestart(by string) {
	before := p.digest()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.saved.Pending = &PendingRestart{By: by, Before: before}
	p.save()
}

// Owed is what is still to be done; ok is false where that is nothing.
func (p *Set) PendingRestart() (o PendingRestart, ok bool) {
	now := p.digest()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.saved.Pending == nil || p.saved.Pending.Before == now {
		return PendingRestart{}, false
	}
	return *p.saved.Pending, true
}

// Settled says that it was done.
func (p *Set) RestartDone() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.saved.Pending == nil {
		return
	}
	p.saved.Pending = nil
	p.save()
}

// digest tells one set of carried options from another.
func (p *Set) digest() string {
	sum := sha256.Sum256(fmt.Append(nil, p.JVMOptions(nil))) // maps are printed in the order of their keys
	return hex.EncodeToString(sum[:])
}
