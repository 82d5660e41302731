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
