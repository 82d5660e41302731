package hotspot

import (
	"cmp"
	"math"
	"regexp"
	"strconv"
	"strings"
)

var usedText = regexp.MustCompile(`\bused (\d{1,12})([BKMGT])\b|\b(\d{1,12})([BKMGT]) used\b`)

// UsedHeap returns the used bytes of the heap from the answer to GC.heap_info. Collectors
// differ: "used 1193K" for each generation, or "1536K used". False: it is not there.
func UsedHeap(info string) (bytes int64, ok bool) {
	for line := range strings.Lines(info) {
		if strings.HasPrefix(strings.TrimSpace(line), "Metaspace") { // what follows is not the heap
			break
		}
		for _, m := range usedText.FindAllStringSubmatch(line, -1) {
			unit := 10 * strings.Index("BKMGT", m[2]+m[4])
			n, err := strconv.ParseInt(m[1]+m[3], 10, 64)
			if err != nil || n > (math.MaxInt64-bytes)>>unit {
				continue
			}
			bytes, ok = bytes+n<<unit, true
		}
	}
	return bytes, ok
}

// DumpedTo reads the answer to a heap dump request, whose status is 0 also when it failed.
func DumpedTo(answer string) (why string, ok bool) {
	last := ""
	for line := range strings.Lines(answer) {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "Dumping heap to ") {
			continue
		}
		if strings.HasPrefix(line, "Heap dump file created") {
			return "", true
		}
		last = line
	}
	return clip(cmp.Or(last, "the JVM gives no reason")), false
}
