package hotspot

import (
	"testing"
)

// The answers are those of a JVM 17, and the newer form of 24.
func TestUsedHeap(t *testing.T) {
	const meta = " Metaspace       used 125K, committed 320K, reserved 1114112K\n  class space    used 3K, committed 128K, reserved 1048576K\n"
	for name, c := range map[string]struct {
		info string
		want int64
		ok   bool
	}{
		"serial": {" def new generation   total 19648K, used 1405K [0x1, 0x2, 0x3)\n  eden space 17472K,   8% used [0x1, 0x2, 0x3)\n" +
			" tenured generation   total 43712K, used 10K [0x1, 0x2, 0x3)\n" + meta, 1415 << 10, true},
		"G1": {" garbage-first heap   total 65536K, used 1193K [0x1, 0x2)\n  region size 1024K, 1 young (1024K), 0 survivors (0K)\n" +
			meta, 1193 << 10, true},
		"G1 24":    {" garbage-first heap   total reserved 65536K, committed 65536K, used 1193K [0x1, 0x2)\n" + meta, 1193 << 10, true},
		"parallel": {" PSYoungGen      total 18944K, used 1310K [0x1, 0x2)\n  eden space 16384K, 8% used [0x1,0x2)\n ParOldGen       total 44032K, used 1M [0x1)\n" + meta, 1310<<10 + 1<<20, true},
		"Z":        {" ZHeap           used 2G, capacity 64G, max capacity 64G\n" + meta, 2 << 30, true},
		"Shenandoah": {"Shenandoah Heap\n 65536K max, 65536K soft max, 65536K committed, 1536K used\n 256 x 256K regions\n\n" + meta, 1536 << 10,
			true},
		"empty heap": {" def new generation   total 19648K, used 0K [0x1)\n" + meta, 0, true},
		"no heap":    {meta, 0, false},
		"nothing":    {"", 0, false},
	} {
		if got, ok := UsedHeap(c.info); got != c.want || ok != c.ok {
			t.Errorf("%s: %d, %v, want %d", name, got, ok, c.want)
		}
	}
}

func TestDumpedTo(t *testing.T) {
	for answer, want := range map[string]string{
		"Dumping heap to /d/x.hprof ...\nHeap dump file created [2345 bytes in 0.011 secs]\n": "",
		"Heap dump file created\n": "",
		"Dumping heap to /no/x ...\nUnable to create /no/x: File exists\n":           "Unable to create /no/x: File exists",
		"Dumping heap to /x ...\nDump file is incomplete: No space left on device\n": "Dump file is incomplete: No space left on device",
		"": "the JVM gives no reason",
	} {
		if why, ok := DumpedTo(answer); why != want || ok != (want == "") {
			t.Errorf("%q: %q, %v", answer, why, ok)
		}
	}
}

func TestChangedFlags(t *testing.T) {
	const text = "7:\n[Global flags]\n     intx A = 1 {product} {default}\n   size_t MaxHeapSize = 67108864 {product} {command line}\n" +
		"    uintx Old := 5 {product}\n    uintx OldDefault = 5 {product}\n ccstrlist OnError = a {product} {command line}\n"
	const want = "   size_t MaxHeapSize = 67108864 {product} {command line}\n    uintx Old := 5 {product}\n ccstrlist OnError = a {product} {command line}\n"
	if got := ChangedFlags(text); got != want {
		t.Errorf("%q", got)
	}
}

func FuzzUsedHeap(f *testing.F) {
	f.Add(" ZHeap           used 2G, capacity 64G, max capacity 64G\n")
	f.Add(" 65536K committed, 1536K used\n")
	f.Fuzz(func(t *testing.T, info string) {
		if n, ok := UsedHeap(info); !ok && n != 0 || n < 0 {
			t.Errorf("%q: %d", info, n)
		}
	})
}
