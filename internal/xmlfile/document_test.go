package xmlfile

import (
	"strings"
	"testing"
)

func TestDocument(t *testing.T) {
	const text = "\xef\xbb\xbf<?xml version=\"1.0\"?>\r\n<a  b = 'x>y'\tc=\"1\" /><d/>"
	at := strings.Index(text, "<a") - 3 // in the text after the byte order mark
	for name, c := range map[string]struct {
		edit func(d *Document)
		want string // in place of the tag <a>
	}{
		"nothing":      {func(*Document) {}, "<a  b = 'x>y'\tc=\"1\" />"},
		"inserted":     {func(d *Document) { d.Set(at, "e", `<"&`) }, "<a e=\"&lt;&quot;&amp;\"  b = 'x>y'\tc=\"1\" />"},
		"replaced":     {func(d *Document) { d.Set(at, "c", "2") }, "<a  b = 'x>y'\tc=\"2\" />"},
		"equal":        {func(d *Document) { d.Set(at, "b", "x>y") }, "<a  b = 'x>y'\tc=\"1\" />"},
		"default":      {func(d *Document) { d.SetDefault(at, "c", "2"); d.SetDefault(at, "e", "2") }, "<a e=\"2\"  b = 'x>y'\tc=\"1\" />"},
		"removed":      {func(d *Document) { d.Remove(at, "b"); d.Remove(at, "e") }, "<a\tc=\"1\" />"},
		"all together": {func(d *Document) { d.Set(at, "e", "1"); d.Remove(at, "b"); d.Set(at, "f", "2") }, "<a e=\"1\" f=\"2\"\tc=\"1\" />"},
	} {
		d, err := Open([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		c.edit(d)
		if got, err := d.Bytes(); err != nil || string(got) != strings.Replace(text, "<a  b = 'x>y'\tc=\"1\" />", c.want, 1) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	for _, offset := range []int{at + 1, len(text)} {
		d, _ := Open([]byte(text))
		d.Set(offset, "e", "1")
		if got, err := d.Bytes(); err == nil {
			t.Errorf("an edit where no tag is: %q", got)
		}
	}
}

// What cannot be written back as it was is refused.
func TestOpenRefuses(t *testing.T) {
	for name, text := range map[string]string{"no such encoding": `<?xml version="1.0" encoding="EBCDIC"?><a/>`,
		"not that encoding": "<?xml version=\"1.0\" encoding=\"UTF-16\"?><a/>\xff", "half a character": "\xfe\xff\x00<\x00"} {
		if _, err := Open([]byte(text)); err == nil {
			t.Errorf("%s: it is accepted", name)
		}
	}
}
