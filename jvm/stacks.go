package jvm

import (
	"fmt"
	"slices"
)

// spareBesideOwn is what must be left beside stacks of the JVM's own size, in bytes, when
// every region has its usual size: for page cache and the heap of malloc.
const spareBesideOwn = 128 * mib

// chooseStack takes the given stack size, or a first one for heap and budget.
func (s *Sizing) chooseStack() {
	switch {
	case s.fixed.Stack != nil:
		s.Stack = *s.fixed.Stack
	case !s.stackGiven(), s.Limit <= 0: // without a limit nothing is short of memory
		s.Stack = s.target.usualStack()
	case s.numbers.stack != nil:
		s.Stack, s.stackWhy = *s.numbers.stack, s.ofProfile()
	default:
		s.Stack = halfStack
	}
}

// stackGiven reports whether the rule gives -Xss: not beside a size of a higher layer, where it could only break code.
func (s *Sizing) stackGiven() bool {
	return on(s.rules.Stacks) && (!s.bare && !s.fixed.sizes() || s.numbers.stack != nil)
}

// countedStack is what a stack counts in the sum. Of one that the rule does not give, a thread touches a part.
func (s *Sizing) countedStack() int64 {
	if s.stackGiven() && s.fixed.Stack == nil {
		return s.Stack
	}
	return min(s.Stack, smallStack)
}

// smallestStack is that of the rule.
func (s *Sizing) smallestStack() int64 {
	if s.target.listed() {
		return smallStack
	}
	return halfStack
}

// usualStack is HotSpot's default.
func (t Target) usualStack() int64 {
	if t.Arch == "aarch64" || t.Arch == "arm64" {
		return 2 * mib
	}
	return mib
}

// fitStack decides by the budget. The JVM's own stack is taken if all of them are at most
// 5 % of the memory and everything else has its usual size and some to spare; half a
// megabyte if everything else has enough, or the port needs it; else the smallest, with
// which code fails that recurses deeply.
func (s *Sizing) fitStack() {
	if s.fixed.Stack != nil || !s.stackGiven() || s.numbers.stack != nil {
		s.chooseStack()
		return
	}
	n, usual := s.threads(), s.target.usualStack()
	spare := min(spareBesideOwn, s.usable()/20)
	enough, usualCaps := s.capSums()
	for _, size := range slices.Compact([]int64{usual, mib}) {
		if n*size <= s.usable()/20 && s.left(size) >= usualCaps+spare {
			s.Stack = size
			s.stackWhy = fmt.Sprintf("about %s calls deep: %d of them are %s, at most 5 %% of the memory", callsDeep(size), n, mibText(n*size))
			return
		}
	}
	if s.Stack = halfStack; s.left(halfStack) < enough && s.smallestStack() < halfStack {
		s.Stack = smallStack
		s.stackWhy = fmt.Sprintf("about %s calls deep: there is no room for 512 KiB (%s calls), which would be %s more for %d threads",
			callsDeep(smallStack), callsDeep(halfStack), mibText(n*smallStack), n)
		return
	}
	s.stackWhy = fmt.Sprintf("about %s calls deep: 1024 KiB (%s calls) would be %s more for %d threads", callsDeep(halfStack),
		callsDeep(mib), mibText(n*halfStack), n)
}

// callsDeep is how deep simple calls go in a stack, as measured on Java 17 and x86_64.
func callsDeep(stack int64) string {
	switch {
	case stack >= 2*mib:
		return "49 000"
	case stack >= mib:
		return "23 000"
	case stack >= halfStack:
		return "10 000"
	}
	return "3 600"
}

// left is what remains for the three caps beside stacks of a size.
func (s *Sizing) left(stack int64) int64 {
	s.Stack = stack
	return s.Limit - s.Heap - s.fixedRegions(s.Heap).Sum()
}
