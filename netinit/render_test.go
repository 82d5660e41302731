package netinit

import (
	"strings"
	"testing"
)

func TestWithHostsBlock(t *testing.T) {
	const (
		begin = "# begin stoker netinit\n"
		end   = "# end stoker netinit\n"
		block = "192.0.2.10\tapp1\n"
		whole = begin + block + end
	)
	for _, c := range []struct{ name, content, block, want string }{
		{"empty file", "", whole, whole},
		{"no block", "127.0.0.1 localhost\n", whole, "127.0.0.1 localhost\n" + whole},
		{"no newline at the end", "127.0.0.1 localhost", whole, "127.0.0.1 localhost\n" + whole},
		{"the same block", "a\n" + whole + "b\n", whole, "a\n" + whole + "b\n"},
		{"another block", "a\n" + begin + "x\ny\n" + end + "b", whole, "a\n" + whole + "b"},
		{"an empty block", begin + end, whole, whole},
		{"several blocks", "a\n" + begin + "x\n" + end + "b\n" + begin + "y\n" + end + "c\n", whole, "a\n" + whole + "b\nc\n"},
		{"no end", "a\n" + begin + "b\n", whole, "a\n" + whole + "b\n"},
		{"no end before the next block", begin + "a\n" + begin + "x\n" + end + "b\n", whole, whole + "a\nb\n"},
		{"no begin", "a\n" + end + "b\n", whole, "a\nb\n" + whole},
		{"end without newline", begin + "x\n" + strings.TrimSuffix(end, "\n"), whole, whole},
		{"CRLF", "a\r\n# begin stoker netinit\r\nx\r\n# end stoker netinit \r\nb\r\n", whole, "a\r\n" + whole + "b\r\n"},
		{"a comment that only begins like it", "# begin stoker netinit 2\n", whole, "# begin stoker netinit 2\n" + whole},
		{"no lines, no block", "a\n", "", "a\n"},
		{"no lines, a block", "a\n" + whole + "b\n", "", "a\nb\n"},
		{"no lines, no end", "a\n" + begin + "b\n", "", "a\nb\n"},
	} {
		got, _ := WithHostsBlock(c.content, c.block)
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
		if again, _ := WithHostsBlock(got, c.block); again != got {
			t.Errorf("%s, a second time: %q, want %q", c.name, again, got)
		}
	}
}

func FuzzWithHostsBlock(f *testing.F) {
	f.Add("127.0.0.1 localhost\n# begin stoker netinit\nx\n# end stoker netinit\n", "192.0.2.10 app1\n")
	f.Add("# begin stoker netinit\r\n# begin stoker netinit", "")
	f.Fuzz(func(t *testing.T, content, block string) {
		if strings.Contains(block, "stoker netinit") {
			return
		}
		if block != "" {
			block = HostsBegin + "\n" + block + "\n" + HostsEnd + "\n"
		}
		got, old := WithHostsBlock(content, block)
		if again, _ := WithHostsBlock(got, block); again != got {
			t.Errorf("%q, then %q", got, again)
		}
		if n := strings.Count(got, block); block != "" && n != 1 {
			t.Errorf("%d blocks in %q", n, got)
		}
		without, _ := WithHostsBlock(content, "")
		if removed, was := WithHostsBlock(got, ""); was != block || removed != without && removed != without+"\n" {
			t.Errorf("without the block %q, which was %q, want %q", removed, was, without)
		}
		if _, was := WithHostsBlock(old, ""); was != old {
			t.Errorf("the old block is %q, of which the block is %q", old, was)
		}
	})
}
