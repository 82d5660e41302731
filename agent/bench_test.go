package agent

import (
	"fmt"
	"testing"
)

func BenchmarkSubmit(b *testing.B) {
	for _, n := range []int{5, 50} {
		f, dir := newFleet(b)
		for k := range n {
			startFake(b, dir, fmt.Sprintf("c%d", k), 1<<20)
		}
		for _, keyed := range []bool{false, true} {
			b.Run(fmt.Sprintf("containers=%d/key=%v", n, keyed), func(b *testing.B) {
				for k := range b.N {
					spec := app("", "")
					if keyed {
						spec.Key = fmt.Sprintf("%d", k)
					}
					if _, _, _, err := f.Submit(b.Context(), spec); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
