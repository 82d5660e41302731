package charset

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"flag"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/ianaindex"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/unicode"
)

var update = flag.Bool("update", false, "make tables.bin again")

// reference finds an encoding in golang.org/x/text; nil: it has none, or one that does not have ASCII, or has escape sequences.
func reference(name string) encoding.Encoding {
	for _, find := range []func(string) (encoding.Encoding, error){htmlindex.Get, ianaindex.IANA.Encoding} {
		e, err := find(name)
		if err == nil && e != nil && e != encoding.Replacement && e != japanese.ISO2022JP && decoded(e, "<?xml A~") == "<?xml A~" {
			return e
		}
	}
	return nil
}

func decoded(e encoding.Encoding, text string) string {
	out, err := e.NewDecoder().String(text)
	if err != nil {
		return string(utf8.RuneError)
	}
	return out
}

// character is what bytes mean; 0: nothing, or more than one character, as four pairs of Big5 do.
func character(e encoding.Encoding, text ...byte) rune {
	out := decoded(e, string(text))
	r, size := utf8.DecodeRuneInString(out)
	if r == utf8.RuneError || size < len(out) {
		return 0
	}
	return r
}

// formOf returns the encoding with whose table an encoding is decoded, and how.
func formOf(e encoding.Encoding) (encoding.Encoding, uint64) {
	switch e {
	case unicode.UTF8:
		return charmap.ISO8859_1, utf8Form // the table is not used
	case simplifiedchinese.GBK:
		return simplifiedchinese.GB18030, noQuads
	}
	return e, plain
}

// partsOf are the parts of the table of an encoding.
func partsOf(e encoding.Encoding) uint64 {
	switch {
	case e == japanese.EUCJP:
		return hasPairs | hasTriples
	case e == simplifiedchinese.GB18030:
		return hasPairs | hasQuads
	case slices.ContainsFunc(sequences(2), func(s []byte) bool { return character(e, s[0]) == 0 && character(e, s...) != 0 }):
		return hasPairs
	}
	return 0
}

// lengths are the numbers of bytes that a character of a table may have.
func lengths(parts uint64) (out []int) {
	for length, has := range []bool{true, parts&hasPairs != 0, parts&hasTriples != 0, parts&hasQuads != 0} {
		if has {
			out = append(out, length+1)
		}
	}
	return out
}

// sequences are those of a number of bytes that begin a character.
func sequences(length int) (out [][]byte) {
	switch length {
	case 1:
		for b := 0x80; b < 0x100; b++ {
			out = append(out, []byte{byte(b)})
		}
	case 2:
		for lead := firstLead; lead < 0xff; lead++ {
			for trail := firstTrail; trail < 0xff; trail++ {
				out = append(out, []byte{byte(lead), byte(trail)})
			}
		}
	case 3:
		for n := range triples {
			out = append(out, []byte{tripleLead, byte(firstCell + n/square), byte(firstCell + n%square)})
		}
	case 4:
		for n := range quads {
			out = append(out, []byte{byte(0x81 + n/12600), byte('0' + n/1260%10), byte(0x81 + n/10%126), byte('0' + n%10)})
		}
	}
	return out
}

// pack makes the tables: the number of names, each with its length, its text, the number of its table and its form; then of each table
// its parts, and the characters in them, see runes.
func pack(names []string) []byte {
	var head, tables []byte
	var known []encoding.Encoding
	count := uint64(0)
	for _, name := range names {
		e := reference(name)
		if e == nil {
			continue
		}
		e, form := formOf(e)
		k := slices.Index(known, e)
		if k < 0 {
			k = len(known)
			known = append(known, e)
			tables = append(tables, packTable(e)...)
		}
		count++
		head = binary.AppendUvarint(head, uint64(len(name)))
		head = binary.AppendUvarint(append(head, name...), uint64(k))
		head = binary.AppendUvarint(head, form)
	}
	var out bytes.Buffer
	w, _ := flate.NewWriter(&out, flate.BestCompression) // the level is valid
	_, _ = w.Write(slices.Concat(binary.AppendUvarint(nil, count), head, tables))
	_ = w.Close()
	return out.Bytes()
}

func packTable(e encoding.Encoding) []byte {
	parts := partsOf(e)
	out := binary.AppendUvarint(nil, parts)
	for _, length := range lengths(parts) {
		last := rune(0)
		for _, s := range sequences(length) {
			r := character(e, s...)
			if r == 0 || length == 2 && character(e, s[0]) != 0 { // the first of two is a character itself
				out = append(out, 0)
				continue
			}
			distance := r - last
			n := uint64(distance) << 1
			if distance < 0 {
				n = uint64(^distance)<<1 | 1
			}
			out, last = binary.AppendUvarint(out, n+1), r
		}
	}
	return out
}

// namesInSource are the words in the tables of golang.org/x/text, in lower case.
func namesInSource(t *testing.T) []string {
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "golang.org/x/text").Output()
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, index := range []string{"htmlindex", "ianaindex"} {
		text, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "encoding", index, "tables.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, quoted := range regexp.MustCompile(`"(?:[^"\\]|\\.)*"`).FindAllString(string(text), -1) {
			if name, err := strconv.Unquote(quoted); err == nil {
				names[strings.ToLower(name)] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// names are those of the tables.
func names() (out []string) {
	u := unpacker{Reader: bytes.NewReader(unpack())}
	for range u.number() {
		name, _, _ := u.name()
		out = append(out, name)
	}
	return out
}

// TestTables: the tables are those of golang.org/x/text (-update makes them again).
func TestTables(t *testing.T) {
	if *update {
		if err := os.WriteFile("tables.bin", pack(namesInSource(t)), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if all := names(); len(all) < 250 || !bytes.Equal(pack(all), packed) {
		t.Errorf("tables.bin with %d names is not that of the module: go test -update makes it again", len(all))
	}
}

// TestDecode: every character of every encoding, between ASCII.
func TestDecode(t *testing.T) {
	seen := map[encoding.Encoding]bool{}
	for _, name := range names() {
		e := reference(name)
		if seen[e] {
			continue
		}
		seen[e] = true
		var text []byte
		table, _ := formOf(e)
		for _, length := range lengths(partsOf(table)) {
			for _, s := range sequences(length) {
				if pair := length == 2 && character(e, s[0]) != 0; pair || character(e, s...) != 0 {
					text = append(append(text, s...), "<a/>\n"...)
				}
			}
		}
		wanted := decoded(e, string(text))
		if got, err := Decode(" "+strings.ToUpper(name), text); err != nil || string(got) != wanted {
			t.Errorf("%s: %v, %d bytes became %d, want %d", name, err, len(text), len(got), len(wanted))
		}
	}
	if len(seen) < 40 {
		t.Errorf("%d encodings", len(seen))
	}
	if out, err := Decode("Klingon", nil); err == nil || !strings.Contains(err.Error(), `the encoding "Klingon" is not known`) {
		t.Errorf("%q, %v", out, err)
	}
}

// TestBrokenText: what means nothing becomes U+FFFD and swallows no markup.
func TestBrokenText(t *testing.T) {
	for _, tc := range []struct{ name, text, want string }{
		{"gbk", "\xd6<", "\ufffd<"}, {"gbk", "\xd6", "\ufffd"}, {"gbk", "\xff\xd6\xd0", "\ufffd中"},
		{"gbk", "\x81\x30\x81\x30", "\ufffd0\ufffd0"},
		{"gb18030", "\x81\x30\x81\x30", "\u0080"}, {"gb18030", "\x90\x30\x81\x30", "\U00010000"}, {"gb18030", "\xfe\x39\xfe<", "\ufffd9\ufffd<"},
		{"euc-jp", "\x8f\xa2<", "\ufffd<"}, {"euc-jp", "\x8f\xa2\xaf", "\u02d8"},
		{"us-ascii", "\xe9", "é"}, {"utf8", "é\xff", "é\ufffd"}, {"iso-8859-8-i", "\xe0", "א"},
	} {
		if got, err := Decode(tc.name, []byte(tc.text)); err != nil || string(got) != tc.want {
			t.Errorf("%s: %q becomes %q, %v, want %q", tc.name, tc.text, got, err, tc.want)
		}
	}
}

func TestUTF16(t *testing.T) {
	for _, tc := range []struct {
		text   string
		little bool
		want   string
	}{
		{"\x00<\x00\xe9", false, "<é"}, {"<\x00\xe9\x00", true, "<é"}, {"\xff\xfe<\x00", false, "<"}, {"\xfe\xff\x00<", true, "<"},
		{"\xd8\x3d\xde\x00", false, "😀"}, {"\xd8\x3d\x00<", false, "\ufffd<"}, {"\x00<\x00", false, "<\ufffd"}, {"", false, ""},
	} {
		if got := UTF16([]byte(tc.text), tc.little); string(got) != tc.want {
			t.Errorf("%q becomes %q, want %q", tc.text, got, tc.want)
		}
	}
	if got := Latin1([]byte("a\xe9\x80")); string(got) != "aé\u0080" {
		t.Errorf("%q", got)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add("gb18030", []byte("\x81\x30\x81\x30\xd6\xd0"))
	f.Add("euc-jp", []byte("\x8f\xa2\xaf\x8e\xb1"))
	f.Fuzz(func(t *testing.T, name string, text []byte) {
		out, err := Decode(name, text)
		if err == nil && (!utf8.Valid(out) || len(out) > 3*len(text)+8) {
			t.Errorf("%s: %q becomes %q", name, text, out)
		}
		_ = UTF16(text, len(name)%2 == 0)
	})
}
