package recording

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestFilter(t *testing.T) {
	for in, want := range map[string][2]string{ // on a terminal, as text
		"plain ä\t€\n":                             {"plain ä\t€\n", "plain ä\t€\n"},
		"a\r\nb\x08\x7f\x07":                       {"a\r\nb\x08\x7f\x07", "a\nb"},
		"\x1b[1;31mred\x1b[0m":                     {"\x1b[1;31mred\x1b[0m", "red"},
		"\x1b[2J\x1b[10;20Hx\x1b[K":                {"\x1b[2J\x1b[10;20Hx\x1b[K", "x"},
		"\x1b[?1049hx\x1b[?1049l":                  {"\x1b[?1049hx\x1b[?1049l", "x"},
		"\x1b(0q\x1b(B\x1b7\x1b8\x1bM":             {"\x1b(0q\x1b(B\x1b7\x1b8\x1bM", "q"},
		"\x1b]0;title\x07x":                        {"x", "x"},
		"\x1b]52;c;cm0gLXJmCg==\x1b\\x":            {"x", "x"},
		"\x1b]0;a\x1b[31mx":                        {"\x1b[31mx", "x"},
		"\x1bP$qm\x1b\\x\x1b_a\x1b\\y":             {"xy", "xy"},
		"\u009d0;t\u009cx\u009b31my\u0085":         {"x\x1b[31my", "xy"},
		"\x1b[c\x1b[>c\x1b[6n\x1b[?6nx":            {"x", "x"},
		"\x1b[21t\x1b[18tx\x1b[5i":                 {"x", "x"},
		"\x1b[?1$p\x1b[>q\x1b[?u\x1b[!px":          {"x", "x"},
		"\x1b[1 qx\x1b[u":                          {"x\x1b[u", "x"},
		"\x1b[?1000h\x1b[?2004h\x1b[?1004;25hx":    {"x", "x"},
		"\x1bZ\x05x":                               {"x", "x"},
		"\x1b[3\x181mx":                            {"1mx", "1mx"},
		"\x1b[3\n1mx":                              {"\n\x1b[31mx", "\nx"},
		"\x1b[" + strings.Repeat("1;", 500) + "mx": {"x", "x"},
		"\x1b\x1b[31mx":                            {"\x1b[31mx", "x"},
	} {
		for k, text := range []bool{false, true} {
			whole := Filter{Text: text}
			if got := whole.String(in); got != want[k] {
				t.Errorf("text %v: %q became %q, want %q", text, in, got, want[k])
			}
			parts, got := Filter{Text: text}, ""
			for _, r := range in {
				got += parts.String(string(r))
			}
			if got != want[k] {
				t.Errorf("text %v: %q in parts became %q, want %q", text, in, got, want[k])
			}
		}
	}
}

// FuzzFilter wants no control character in text, and on a terminal only whole sequences that it does not answer.
func FuzzFilter(f *testing.F) {
	for _, seed := range []string{"a\x1b[1mb", "\x1b]0;\x1b\x1b[c", "\u009b6n\x9d\x90\x1b\\", "\x1b[?25h\x1bPx\x18\x1b[\x1b[5n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		plain := Filter{Text: true}
		for _, r := range plain.String(in) {
			if r < 0x20 && r != '\n' && r != '\t' || r >= 0x7f && r <= 0x9f {
				t.Fatalf("%q has %q", in, r)
			}
		}
		once := Filter{}
		out := once.String(in)
		again := Filter{}
		if twice := again.String(out); twice != out {
			t.Fatalf("%q became %q, and that %q", in, out, twice)
		}
		for _, bad := range []string{"\x1b]", "\x1bP", "\x1b[c", "\x1b[6n", "\x1bZ", "\x05", "\x1b[>", "\u009b"} {
			if strings.Contains(out, bad) && utf8.ValidString(in) {
				t.Fatalf("%q became %q, which has %q", in, out, bad)
			}
		}
	})
}
