package netinit

import (
	"cmp"
	"errors"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/stoker-init/stoker/internal/layeredyaml"
)

// input is a description while it is converted to a plan: what its values are and where they stand, and what is wrong with them. Its
// methods return the zero value for an empty text, which is an absent one, and after reporting a problem.
type input struct {
	*layeredyaml.Checker
	layers  *layeredyaml.Layers
	origins layeredyaml.Origins
}

// decode reads a description of type T. What is wrong with single values is reported to in; the error is that nothing can be read.
// example is the smallest document, for hints.
func decode[T any](name string, data []byte, example string) (doc T, in *input, err error) {
	l := layeredyaml.New(layeredyaml.Schema{Type: reflect.TypeFor[T](), Example: example, NullIsAbsent: true})
	l.Bytes(name, data)
	in = &input{Checker: l.Checker(), layers: l, origins: l.Decode(&doc)}
	if problems := l.Problems(); l.Truncated() || slices.ContainsFunc(problems, func(p layeredyaml.Problem) bool { return p.Path == "" }) {
		return doc, nil, problems
	}
	return doc, in, nil
}

// addr parses an address. An IPv6 address may have a zone.
func (in *input) addr(path, text string) netip.Addr {
	if text == "" {
		return netip.Addr{}
	}
	a, err := netip.ParseAddr(text)
	switch {
	case err != nil && strings.Contains(text, "/"):
		in.Bad(path, "write it without the part from / on", "%s is not an address", layeredyaml.Quote(path, text))
	case err != nil:
		in.Bad(path, "", "%s is not an address", layeredyaml.Quote(path, text))
	case a.Is4In6():
		in.Bad(path, "write "+a.Unmap().String(), "%s is an IPv4 address in IPv6 form", a)
	default:
		return a
	}
	return netip.Addr{}
}

// prefix parses an address with its prefix length, such as 192.0.2.10/24.
func (in *input) prefix(path, text string) netip.Prefix {
	if text == "" {
		return netip.Prefix{}
	}
	p, err := netip.ParsePrefix(text)
	a, noLength := netip.ParseAddr(text)
	switch {
	case noLength == nil && a.Zone() == "":
		in.Bad(path, "write "+text+"/LENGTH, such as "+text+map[bool]string{true: "/24", false: "/64"}[a.Is4()], "has no prefix length")
	case err != nil:
		in.Bad(path, "", "%s is not an address with a prefix length", layeredyaml.Quote(path, text))
	case p.Addr().Is4In6():
		in.Bad(path, "write "+p.Addr().Unmap().String()+"/LENGTH", "%s is an IPv4 address in IPv6 form", p)
	default:
		return p
	}
	return netip.Prefix{}
}

// network parses a network, such as 192.0.2.0/24. An address without a length is a network of one address, and bits of the host are
// dropped with a warning.
func (in *input) network(path, text string) netip.Prefix {
	if text == "" {
		return netip.Prefix{}
	}
	if !strings.Contains(text, "/") {
		a := in.addr(path, text)
		if a.Zone() != "" {
			in.Bad(path, "", "%s is a network with a zone", layeredyaml.Quote(path, text))
			return netip.Prefix{}
		}
		if !a.IsValid() {
			return netip.Prefix{}
		}
		return netip.PrefixFrom(a, a.BitLen())
	}
	p := in.prefix(path, text)
	if p != p.Masked() {
		in.Warn(path, "", "%s has bits of a host; %s is used", p, p.Masked())
	}
	return p.Masked()
}

// netmask parses a network mask of the family of addr, 255.255.255.0, ffff:ffff:: or a prefix length, and returns the length.
func (in *input) netmask(path, text string, addr netip.Addr) int {
	if text == "" || !addr.IsValid() {
		return 0
	}
	if n, err := strconv.ParseUint(text, 10, 8); err == nil {
		if int(n) <= addr.BitLen() {
			return int(n)
		}
		in.Bad(path, "", "%d is more than %d bits", n, addr.BitLen())
		return 0
	}
	mask, err := netip.ParseAddr(text)
	switch {
	case err != nil || mask.Zone() != "":
		in.Bad(path, "", "%s is not a network mask", layeredyaml.Quote(path, text))
	case mask.Is4() != addr.Is4():
		in.Bad(path, "", "%s is a mask of the other family than %s", mask, addr)
	default:
		// Size gives 0, 0 for a mask with a one after a zero.
		if ones, bits := net.IPMask(mask.AsSlice()).Size(); bits > 0 {
			return ones
		}
		in.Bad(path, "", "%s is not a network mask: its ones are not in one piece", mask)
	}
	return 0
}

// mac parses the MAC address of a link and returns it in lower case with colons.
func (in *input) mac(path, text string) string {
	if text == "" {
		return ""
	}
	mac, err := net.ParseMAC(text)
	switch {
	case err != nil || len(mac) != 6:
		in.Bad(path, "write it as 02:00:5e:aa:0b:01", "%s is not a MAC address", layeredyaml.Quote(path, text))
	case mac[0]&1 != 0:
		in.Bad(path, "", "%s is the MAC address of a group, not of a link", mac)
	case mac.String() == "00:00:00:00:00:00":
		in.Bad(path, "", "%s is no link's MAC address", mac)
	default:
		return mac.String()
	}
	return ""
}

// maxLinkName is the longest name of a link, in bytes: IFNAMSIZ without the NUL.
const maxLinkName = 15

// name checks the name of a link.
func (in *input) name(path, text string) string {
	if text == "" {
		return ""
	}
	if err := checkLinkName(text); err != nil {
		in.Bad(path, "", "%s is no name of a link: %s", layeredyaml.Quote(path, text), err)
		return ""
	}
	return text
}

// checkLinkName applies the kernel's rules. "all" and "default" have a meaning in /proc/sys/net, and % numbers a new link.
func checkLinkName(name string) error {
	switch {
	case len(name) > maxLinkName:
		return errors.New("it has more than " + strconv.Itoa(maxLinkName) + " bytes")
	case slices.Contains([]string{".", "..", "all", "default"}, name):
		return errors.New("the kernel does not allow it")
	case strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune("/:%", r) }):
		return errors.New("it may contain letters, digits and punctuation other than / : %")
	}
	return nil
}

// number parses a whole number from 0 to 4294967295 in decimal digits.
func (in *input) number(path, text string) int {
	n, err := strconv.ParseUint(text, 10, 32)
	if text != "" && err != nil {
		in.Bad(path, "", "%s is not a whole number from 0 to 4294967295", layeredyaml.Quote(path, text))
		return 0
	}
	return int(n)
}

// order returns the keys of a section by their place in the document.
func (in *input) order(section string, keys []string) []string {
	return slices.SortedStableFunc(slices.Values(keys), func(a, b string) int {
		x, y := in.origins[layeredyaml.Join(section, a)], in.origins[layeredyaml.Join(section, b)]
		return cmp.Or(x.Line-y.Line, x.Column-y.Column)
	})
}
