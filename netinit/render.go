package netinit

import "strings"

// Lines that mark what is ours in the files beside the kernel.
const (
	resolvConfMark = "# written by stoker netinit"
	HostsBegin     = "# begin stoker netinit"
	HostsEnd       = "# end stoker netinit"
)

// ResolvConf renders resolv.conf; empty if there is nothing to write.
func ResolvConf(d DNS) string {
	if d.IsZero() {
		return ""
	}
	var b strings.Builder
	line := func(words ...string) { b.WriteString(strings.Join(words, " ") + "\n") }
	line(resolvConfMark)
	if len(d.Search) > 0 {
		line("search", strings.Join(d.Search, " "))
	}
	for _, a := range d.Servers {
		line("nameserver", a.String())
	}
	if len(d.Options) > 0 {
		line("options", strings.Join(d.Options, " "))
	}
	return b.String()
}

// HostsBlock renders our block of the hosts file with its first and last line; empty if there is nothing to write.
func HostsBlock(hosts []Host) string {
	if len(hosts) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString(HostsBegin + "\n")
	for _, h := range hosts {
		b.WriteString(h.Address.String() + "\t" + strings.Join(h.Names, " ") + "\n")
	}
	b.WriteString(HostsEnd + "\n")
	return b.String()
}

// WithHostsBlock returns the content of a hosts file with block (HostsBlock) in the place of the block of stoker, which is old, or at the
// end. Every other line is kept as it is; of a block that does not end, only the first line is not. Several blocks are replaced by one.
func WithHostsBlock(content, block string) (now, old string) {
	lines := strings.SplitAfter(content, "\n")
	var kept []string
	place, begin := -1, -1 // in kept: where the new block goes, and where an open block begins
	for _, line := range lines {
		switch strings.TrimRight(line, " \t\r\n") {
		case HostsBegin:
			begin = len(kept)
			if place < 0 {
				place = begin
			}
		case HostsEnd:
			if begin >= 0 {
				old = HostsBegin + "\n" + strings.Join(kept[begin:], "") + HostsEnd + "\n"
				kept, begin = kept[:begin], -1
			}
		default:
			kept = append(kept, line)
		}
	}
	if place < 0 {
		place = len(kept)
	}
	head, tail := strings.Join(kept[:place], ""), strings.Join(kept[place:], "")
	if block != "" && head != "" && !strings.HasSuffix(head, "\n") {
		head += "\n"
	}
	return head + block + tail, old
}
