package jvm

import "fmt"

// giveWay decides what yields where the regions do not fit; it is the only place that does. First it is the rule's
// heap, down to the one that the JVM itself would have. If a higher layer has decided sizes and that is not enough,
// caps and stacks are left to the JVM (bare): a cap that a usual application breaks would end what lives without it. rule
// is the heap before it made room for the collector.
func (s *Sizing) giveWay(rule int64) {
	if s.bare = s.unlimited; s.bare {
		return
	}
	room := s.room()
	if s.ownHeap() {
		to, why := room, "the other regions need the rest"
		if own := rule - max(s.extraGC.of(rule), 0); own < to {
			to, why = own, s.Collector+" needs more than the collector that the rule would choose"
		}
		s.yield(to, why)
	}
	s.bare = s.sizesDecided() && room < s.Heap
}

// yield lowers the rule's heap, not below the JVM's own. The JVM would round an odd number of MiB up with some collectors.
func (s *Sizing) yield(to int64, why string) {
	if to = max(to, s.defaultHeap()); to < s.Heap {
		s.Heap = to - to%(2*mib)
		s.heapWhy += fmt.Sprintf("; lowered to %s: %s", mibText(s.Heap), why)
	}
}

// sizesDecided reports whether a size is not the rule's: then every cap of the rule is at least what a usual application
// needs.
func (s *Sizing) sizesDecided() bool {
	f := s.fixed
	return !s.ownHeap() || f.Metaspace != nil || f.CodeCache != nil || f.Direct != nil || f.Stack != nil
}

// room is the largest heap beside which everything else fits, with the smallest stacks; negative: nothing fits.
func (s *Sizing) room() int64 {
	c := *s
	c.bare = false
	if c.stackGiven() && c.numbers.stack == nil && c.fixed.Stack == nil {
		c.Stack = c.smallestStack()
	}
	left := c.Limit - c.fixedRegions(0).Sum()
	for _, r := range c.memoryCaps() {
		left -= r.least
	}
	return wholeMiB(int64(float64(left) / (1 + c.gcCost().share)))
}

// ownHeap reports whether the rule chooses the heap.
func (s *Sizing) ownHeap() bool { return s.fixed.Heap == nil && on(s.rules.Heap) }

// startsFull reports whether the heap starts at its maximum: not if the sum is above the limit, and not with collectors that give
// memory back only above the start.
func (s *Sizing) startsFull() bool {
	return s.Budget.Sum() <= s.Limit && s.Collector != "UseZGC" && s.Collector != "UseShenandoahGC"
}

// remedy says what would make room for the caps.
func (s *Sizing) remedy() string {
	if room := s.room(); s.fixed.Heap != nil && room >= minHeap {
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
