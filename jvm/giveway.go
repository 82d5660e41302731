package jvm

import "fmt"

// giveWay decides what yields to the options of higher layers; it is the only place that does. First it is the rule's
// heap, down to the one that the JVM itself would have. If sizes are decided and that is not enough, caps and stacks are
// left to the JVM (bare): a cap that a usual application breaks would end what lives without it. rule is the heap before
// it made room for the collector.
func (s *Sizing) giveWay(rule int64) {
	if s.bare = s.unlimited; s.bare {
		return
	}
	if s.ownHeap() {
		if extra := s.extraGC.of(rule); extra > 0 {
			s.yield(rule-int64(float64(extra)/(1+s.gcCost().share)), s.Collector+" needs more than the collector that the rule would choose")
		}
		switch {
		case unbounded(s.fixed.Metaspace) || unbounded(s.fixed.Direct):
			s.yield(0, "a region has no bound, and this is the JVM's own default")
		case s.fixed.sizes():
			s.yield(s.room(), "the other regions need the rest")
		}
	}
	s.bare = s.sizesDecided() && s.room() < s.Heap
}

// yield lowers the rule's heap, not below the JVM's own. The JVM would round an odd number of MiB up with some collectors.
func (s *Sizing) yield(to int64, why string) {
	if to = max(to, s.defaultHeap()); to < s.Heap {
		s.Heap = to - to%(2*mib)
		s.heapWhy += fmt.Sprintf("; lowered to %s: %s", mibText(s.Heap), why)
	}
}

// sizes reports whether a higher layer has decided a size. Stacks are none: they are mostly address space.
func (f Fixed) sizes() bool {
	return f.Heap != nil || f.Metaspace != nil || f.CodeCache != nil || f.Direct != nil
}

// unbounded reports whether the size of a region means that it has no bound.
func unbounded(size *int64) bool { return size != nil && *size >= maxBytes }

// sizesDecided reports whether a size is not the rule's: then every cap of the rule is at least what a usual application
// needs.
func (s *Sizing) sizesDecided() bool { return !s.ownHeap() || s.fixed.sizes() }

// room is the largest heap beside which everything else fits, with the smallest stacks; negative: nothing fits.
func (s *Sizing) room() int64 {
	c := *s
	c.bare = false
	if c.numbers.stack == nil {
		c.Stack = min(c.Stack, c.smallestStack())
	}
	left := c.Limit - c.fixedRegions(0).Sum()
	for _, r := range c.memoryCaps() {
		left -= r.least
	}
	return wholeMiB(int64(float64(left) / (1 + c.gcCost().share)))
}

// ownHeap reports whether the rule chooses the heap.
func (s *Sizing) ownHeap() bool { return s.fixed.Heap == nil && on(s.rules.Heap) }

// startsFull reports whether the heap starts at its maximum: not if the sum is above the limit or has no bound, and not with
// collectors that give memory back only above the start.
func (s *Sizing) startsFull() bool {
	return s.Budget.Sum() <= s.Limit && len(s.Budget.Unbounded()) == 0 && s.Collector != "UseZGC" && s.Collector != "UseShenandoahGC"
}

// remedy says what would make room for the caps.
func (s *Sizing) remedy() string {
	rule, room := *s, s.room()
	rule.fixed.Heap = nil
	rule.giveWay(rule.chooseHeap())
	switch {
	case s.fixed.Heap == nil:
	case rule.ownHeap() && !rule.bare && rule.Heap >= s.Heap && rule.usable() >= rule.numbers.smallest:
		return fmt.Sprintf("leave the size of the heap out: the rule gives %s, and caps the rest", mibText(rule.Heap))
	case room >= minHeap:
		return fmt.Sprintf("set a heap of at most %s, or give the container more memory", mibText(room))
	}
	return "give the container more memory, or set smaller sizes"
}

// defaultHeap is the heap that HotSpot takes of the limit.
func (s *Sizing) defaultHeap() int64 { return defaultHeap(s.Limit, 0.25, 0.5) }

// defaultHeap is HotSpot's maximum heap for a memory, MaxRAMPercentage and MinRAMPercentage, both as a share.
func defaultHeap(memory int64, share, least float64) int64 {
	if small := int64(float64(memory) * least); small < leastDefaultHeap {
		return small
	}
	return max(int64(float64(memory)*share), leastDefaultHeap)
}
