package jvm

import (
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestExpect(t *testing.T) {
	for _, c := range []struct {
		layer   Layer
		options string
		want    string
	}{
		{Default, "-Xmx1g -Xms512m -Xss256k", "MaxHeapSize=1073741824 InitialHeapSize=536870912 ThreadStackSize=256"},
		{Default, "-XX:MaxHeapSize=1g -XX:ThreadStackSize=512 -XX:MaxMetaspaceSize=64m",
			"MaxHeapSize=1073741824 ThreadStackSize=512 MaxMetaspaceSize=67108864"},
		{User, "-XX:+UseG1GC -XX:-UseSerialGC -XX:ActiveProcessorCount=2", "UseG1GC=true ActiveProcessorCount=2"},
		{User, "-XX:ActiveProcessorCount=-1 -XX:MaxRAMPercentage=50 -Da=b -XX:+UseNUMA -XX:MetaspaceSize=1m", ""},
		{Enforced, "-XX:+UseNUMA -XX:-UsePerfData -XX:MaxRAMPercentage=50 -XX:HeapDumpPath=/a=b -XX:MetaspaceSize=1m -Da=b -XX:OnError=x",
			"UseNUMA=true UsePerfData=false MaxRAMPercentage=50 HeapDumpPath=/a=b MetaspaceSize=1048576"},
		{Enforced, "-Xlog:gc -javaagent:/x -Xmn1g", ""},
	} {
		var options []Option
		for _, o := range ParseArgs("f", strings.Fields(c.options)) {
			o.Layer = c.layer
			options = append(options, o)
		}
		var got []string
		for _, e := range Expect(options) {
			got = append(got, e.Flag+"="+e.Want)
		}
		if !slices.Equal(got, strings.Fields(c.want)) {
			t.Errorf("%s: %q, want %q", c.options, got, c.want)
		}
	}
}

func TestDiffers(t *testing.T) {
	for _, c := range []struct {
		option, got string
		differs     bool
	}{
		{"-Xmx1g", "1073741824", false},
		{"-Xmx1000m", "1056964608", false}, // rounded to regions
		{"-Xmx1g", "536870912", true},
		{"-Xmx1g", "6442450944", true},
		{"-Xss256k", "256", false},
		{"-Xss256k", "1024", true},
		{"-XX:+UseG1GC", "false", true},
		{"-XX:ActiveProcessorCount=2", "3", true},
		{"-XX:MaxRAMPercentage=50", "50.000000", false},
		{"-XX:MaxRAMPercentage=50", "25.000000", true},
		{"-XX:HeapDumpPath=/a", "/b", true},
	} {
		o := ParseArgs("/etc/f:1", []string{c.option})[0]
		o.Layer = Enforced
		e := Expect([]Option{o})[0]
		if e.Differs(c.got) != c.differs {
			t.Errorf("%s, got %s: %v", c.option, c.got, !c.differs)
		}
		if got, want := e.Option.Named(), strconv.Quote(c.option)+" (enforced layer, /etc/f:1)"; got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
