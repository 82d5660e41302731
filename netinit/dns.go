package netinit

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// dns removes duplicates, and warns of what a C library would not take.
func (f *finisher) dns() {
	d := &f.plan.DNS
	d.Servers = unrepeated(d.Servers, netip.Addr.String)
	d.Search = unrepeated(d.Search, strings.ToLower)
	d.Options = unrepeated(d.Options, strings.Clone)
	for _, w := range d.warnings() {
		f.Warn("dns", "", "%s", w)
	}
}

// unrepeated keeps the first of the values with the same key.
func unrepeated[T any](list []T, key func(T) string) (out []T) {
	seen := map[string]bool{}
	for _, v := range list {
		if k := key(v); !seen[k] {
			seen[k] = true
			out = append(out, v)
		}
	}
	return out
}

// warnings are what a C library makes of the file that it should not.
func (d DNS) warnings() (out []string) {
	warn := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if n := len(d.Servers); n > maxServers {
		warn("%d servers: glibc and musl use the first %d", n, maxServers)
	}
	switch n, size := len(d.Search), len(strings.Join(d.Search, " ")); {
	case n > maxSearchKubernetes:
		warn("%d search domains: Kubernetes allows %d, and glibc before 2.26 uses the first %d", n, maxSearchKubernetes, maxSearchOld)
	case n > maxSearchOld || size > maxSearchBytes:
		warn("%d search domains of %d bytes: glibc before 2.26 uses at most %d, and %d bytes", n, size, maxSearchOld, maxSearchBytes)
	}
	if slices.Contains(d.Search, ".") {
		warn(`the search domain ".": musl then finds no name without a dot`)
	}
	for line := range strings.Lines(ResolvConf(d)) {
		if len(line) > maxLineMusl {
			warn("the line %q has more than %d bytes: musl ignores it", line[:strings.IndexByte(line, ' ')]+" ...", maxLineMusl)
		}
	}
	return out
}

// Limits of C libraries: servers; search domains before glibc 2.26, and bytes of them; domains of a pod; bytes of a line, with its end.
const (
	maxServers          = 3
	maxSearchOld        = 6
	maxSearchBytes      = 256
	maxSearchKubernetes = 32
	maxLineMusl         = 255
)

const lettersAndDigits = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

// Bounds of a name in bytes, by RFC 1035, and of a hostname by the kernel.
const (
	maxDomain   = 253
	maxLabel    = 63
	maxHostname = 64
)

// checkDomain checks the name of a host or domain: RFC 1123, and "_", which names of containers and of services have. It may end in a dot.
func checkDomain(name string) error { return checkLabels(strings.TrimSuffix(name, "."), "-_") }

// checkHostname checks the hostname of a machine.
func checkHostname(name string) error {
	if len(name) > maxHostname {
		return fmt.Errorf("it has more than %d bytes", maxHostname)
	}
	return checkLabels(name, "-")
}

// checkLabels checks the parts of a name between the dots; inner are the characters beside letters and digits that may be in one.
func checkLabels(name, inner string) error {
	if len(name) > maxDomain {
		return fmt.Errorf("it has more than %d bytes", maxDomain)
	}
	for label := range strings.SplitSeq(name, ".") {
		switch {
		case label == "":
			return errors.New("a part is empty")
		case len(label) > maxLabel:
			return fmt.Errorf("a part has more than %d bytes", maxLabel)
		case label[0] == '-' || label[len(label)-1] == '-':
			return errors.New("a part begins or ends with -")
		case strings.Trim(label, lettersAndDigits+inner) != "":
			return errors.New("it has other characters than letters, digits and " + inner)
		}
	}
	return nil
}
