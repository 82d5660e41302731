package hotspot

import (
	"maps"
	"testing"
)

func TestParseFlags(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       Flags
	}{
		{"17", "[Global flags]\n   size_t MaxHeapSize                              = 67108864                                  {product} {command line}\n" +
			"     intx ThreadStackSize   = 1024    {pd product} {default}\n", Flags{
			"MaxHeapSize": {"size_t", "product", "67108864", "command line"}, "ThreadStackSize": {"intx", "pd product", "1024", "default"}}},
		{"8", "[Global flags]\n    uintx MaxHeapSize                              := 268435456                           {product}\n" +
			"     bool UseG1GC    = false   {product}\n", Flags{"MaxHeapSize": {"uintx", "product", "268435456", ""},
			"UseG1GC": {"bool", "product", "false", ""}}},
		{"empty value", "    ccstr AbortVMOnException    =      {diagnostic} {default}\n",
			Flags{"AbortVMOnException": {"ccstr", "diagnostic", "", "default"}}},
		{"accumulates", "ccstrlist OnError    = echo a b\n          OnError   += c = d     {product} {command line}\n     bool A = true {product} {default}\n", Flags{
			"OnError": {"ccstrlist", "product", "echo a b\nc = d", "command line"}, "A": {"bool", "product", "true", "default"}}},
		{"value with an equals sign and braces", "ccstr X = a={b} {product} {command line}\n",
			Flags{"X": {"ccstr", "product", "a={b}", "command line"}}},
		{"other lines", "OpenJDK 64-Bit Server VM warning: Option X was deprecated = soon\nopenjdk version \"17\"\na = b\n = \n+=\n", Flags{}},
	} {
		if got := ParseFlags(c.text); !maps.Equal(got, c.want) {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

func FuzzParseFlags(f *testing.F) {
	for _, s := range []string{"size_t MaxHeapSize = 67108864 {product} {command line}\n", "uintx A := 1 {product}\n",
		"ccstrlist OnError = a\n OnError += b {product} {command line}\n", "a b={}{}", "=", "{} {}\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for name, flag := range ParseFlags(text) {
			if !isFlagName(name) || !isFlagName(flag.Type) {
				t.Errorf("%q %+v", name, flag)
			}
		}
	})
}
