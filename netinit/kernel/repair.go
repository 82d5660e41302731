package kernel

import (
	"fmt"
	"strings"
)

// key identifies a change of the plan. An address that is added again is the same.
func (c change) key() Change {
	if c.prefix.IsValid() {
		return linkAddr{c.index, c.Link, c.prefix.Addr()}.change()
	}
	return c.Change
}

func (a linkAddr) change() Change { return Change{"add", "address", a.Link, a.Address.String()} }

// fail returns the error of changes, unless a repair goes on without them: then Apply returns it at its end.
func (a *applier) fail(err error, without ...Change) error {
	if err == nil || !a.o.Repair {
		return err
	}
	for _, c := range without {
		a.skipped[c] = true
	}
	switch {
	case a.failed == nil:
		a.failed = err
	case !strings.Contains(a.failed.Error(), err.Error()): // each round has the refusals
		a.failed = fmt.Errorf("%w; %w", a.failed, err)
	}
	return nil
}
