package jvm

import "fmt"

// chooseStack takes the smallest stack that servers do with.
func (s *Sizing) chooseStack(fixed Fixed) {
	s.Stack, s.stackWhy = smallStack, "a small stack for each of many threads; deep recursion needs more"
	switch s.target.Arch {
	case "", "x86_64", "amd64", "aarch64", "arm64":
	default:
		s.Stack, s.stackWhy = 2*smallStack, "the smallest stack is larger on "+s.target.Arch
	}
	switch {
	case fixed.Stack != nil:
		s.Stack = *fixed.Stack
	case !on(s.rules.Stacks):
		s.Stack = s.target.usualStack()
	case s.numbers.stack != nil:
		s.Stack, s.stackWhy = *s.numbers.stack, s.ofProfile()
	}
}

// usualStack is HotSpot's default.
func (t Target) usualStack() int64 {
	switch t.Arch {
	case "aarch64", "arm64":
		return 2 * mib
	}
	return mib
}

// widenStack decides by the budget where the rule has no say: in small
// containers, and where the collector's structures have outgrown the rule. A
// larger stack is taken if all of them stay below 5 % of the memory and the
// other regions have their usual sizes and a margin.
func (s *Sizing) widenStack(fixed Fixed) {
	if fixed.Stack != nil || !on(s.rules.Stacks) || s.numbers.stack != nil || !s.small() && !s.outgrown {
		return
	}
	least := s.Stack
	for _, size := range [...]int64{mib, mib / 2} {
		if size <= least {
			break
		}
		s.Stack = size
		margin := s.usable() / 20
		if s.threads()*size <= margin && s.Limit-s.Heap-s.fixedBytes(s.Heap)-s.usualCaps(fixed) >= margin {
			s.stackWhy = fmt.Sprintf("by the budget: %d of them are less than 5 %% of the memory", s.threads())
			return
		}
	}
	s.Stack = least
	s.stackWhy = fmt.Sprintf("by the budget: it has no room for %d larger ones", s.threads())
}
