package xmlfile

import (
	"io"
	"strings"
	"testing"
)

func TestCharset(t *testing.T) {
	for name, want := range map[string]struct{ in, out string }{
		"UTF-8": {"\xc3\xa4", "ä"}, "utf8": {"\xc3\xa4", "ä"}, "US-ASCII": {"a", "a"}, "ISO-8859-1": {"\xe4", "ä"}, "latin1": {"\xe4", "ä"},
		"ISO-8859-15": {"\xa4", "€"}, "ISO8859_15": {"\xa4", "€"}, "windows-1252": {"\x80", "€"}, "Cp1252": {"\x80", "€"}, "KOI8-R": {"\xc1", "а"},
		"IBM437": {"\x84", "ä"}, "Cp437": {"\x84", "ä"}, "IBM850": {"\x84", "ä"}, "Cp858": {"\xd5", "€"}, "IBM037": {"\xc1", "A"},
		"Cp037": {"\xc1", "A"}, "IBM1047": {"\xc1", "A"}, "macintosh": {"\x8a", "ä"}, "TIS-620": {"\xa1", "ก"},
		"Shift_JIS": {"\x82\xa0", "あ"}, "windows-31j": {"\x82\xa0", "あ"}, "SJIS": {"\x82\xa0", "あ"}, "EUC-JP": {"\xa4\xa2", "あ"},
		"ISO-2022-JP": {"\x1b$B$\"\x1b(B", "あ"}, "EUC-KR": {"\xb0\xa1", "가"}, "KS_C_5601-1987": {"\xb0\xa1", "가"},
		"GB2312": {"\xd6\xd0", "中"}, "GBK": {"\xd6\xd0", "中"}, "GB18030": {"\xd6\xd0", "中"}, "Big5": {"\xa4\xa4", "中"},
	} {
		r, err := charset(name, strings.NewReader(want.in))
		if err != nil {
			t.Errorf("charset(%q): %v", name, err)
			continue
		}
		if got, err := io.ReadAll(r); err != nil || string(got) != want.out {
			t.Errorf("%s: %q decodes to %q, %v, want %q", name, want.in, got, err, want.out)
		}
	}
	for _, name := range []string{"", "EBCDIC", "UTF-16", "X-Unknown", "cp", "replacement"} {
		if _, err := charset(name, strings.NewReader("a")); err == nil {
			t.Errorf("charset(%q) has no error", name)
		}
	}
}
