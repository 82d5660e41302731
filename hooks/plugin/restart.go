package plugin

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// Owed is that JVMs are to be started anew with other options, until it is done: a
// supervisor that dies in between leaves it to the next.
type Owed struct {
	By     string `json:"by"`               // who wants it
	Plugin string `json:"plugin,omitempty"` // that was switched; empty: the configuration is another one
	Later  bool   `json:"later,omitempty"`  // they are to be left as they are
	// Before is what the plugins carried before the change; empty: that does not count.
	Before string `json:"before,omitempty"`
}

// Owe notes that another configuration is going to be in force.
func (p *Plugins) Owe(by string) {
	before := p.digest()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.memory.Owed = &Owed{By: by, Before: before}
	p.keep()
}

// Owed is what is still to be done; ok is false where that is nothing.
func (p *Plugins) Owed() (o Owed, ok bool) {
	now := p.digest()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.memory.Owed == nil || p.memory.Owed.Before == now {
		return Owed{}, false
	}
	return *p.memory.Owed, true
}

// Settled says that it was done.
func (p *Plugins) Settled() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.memory.Owed == nil {
		return
	}
	p.memory.Owed = nil
	p.keep()
}

// digest tells one set of carried options from another.
func (p *Plugins) digest() string {
	sum := sha256.Sum256(fmt.Append(nil, p.Carried(nil))) // maps are printed in the order of their keys
	return hex.EncodeToString(sum[:])
}
