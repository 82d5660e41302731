package kernel

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"

	"github.com/stoker-init/stoker/netinit"
	"github.com/stoker-init/stoker/netinit/inplace"
	"golang.org/x/sys/unix"
)

// object is something in the kernel that others than the kernel have added, and the step that adds it again.
type object struct {
	what   string
	key    string // says which one it is
	ours   bool
	links  []int        // it disappears with one of these
	source netip.Addr   // it disappears with this address; an address has itself
	to     netip.Prefix // of a route, not of an address
	add    step
	err    error // why it could not be added again
}

func (s *state) has(o object) bool {
	return slices.ContainsFunc(s.objects, func(x object) bool { return x.key == o.key })
}

// of reports whether an object is ours, or on a link.
func (o object) of(index int) bool { return o.ours || slices.Contains(o.links, index) }

// protect runs a step, and adds again what it has removed as a side effect. may says for an
// object that is gone whether it can be such a one: others may remove something at the same time.
func (a *applier) protect(s step, may func(o object, after *state) bool) error {
	before, err := a.conn.read()
	if err != nil {
		return err
	}
	failed := s.run(a)
	after, err := a.conn.read()
	if err != nil {
		return errors.Join(failed, err)
	}
	list := slices.DeleteFunc(before.objects, func(o object) bool { return after.has(o) || !may(o, after) })
	a.lose(a.create(list))
	return failed
}

// lose keeps what is to be added again if the changes are undone. It warns of what others have added, unless the link is gone as well, or
// the kernel makes the same again.
func (a *applier) lose(list []object) {
	a.lost = append(a.lost, list...)
	for _, o := range list {
		there := func(index int) bool {
			_, err := a.conn.link(index)
			return err == nil
		}
		if !o.ours && !o.source.IsLinkLocalUnicast() && slices.ContainsFunc(o.links, there) {
			a.warn("%s", o.lost())
		}
	}
}

// create adds objects, and returns those that the kernel refuses. One may need another that comes later.
func (a *applier) create(list []object) []object {
	for range maxRounds {
		left := list[:0:0]
		for _, o := range list {
			if o.err = o.add.run(a); o.err != nil && !errors.Is(o.err, unix.EEXIST) {
				left = append(left, o)
			}
		}
		if len(left) == 0 || len(left) == len(list) {
			return left
		}
		list = left
	}
	return list
}

// lost says that an object could not be added again.
func (o object) lost() string { return fmt.Sprintf("cannot restore %s (%v)", o.what, o.err) }

// wantedSettings are the settings in /proc/sys that the links of a plan need.
func wantedSettings(plan *netinit.Plan, found targets, o Options) []setting {
	var list []setting
	for i := range plan.Links {
		l := &plan.Links[i]
		if found[i] == 0 {
			continue
		}
		add := func(name, want string) {
			list = append(list, setting{index: found[i], family: "ipv6", name: name, want: want})
		}
		if l.HasIPv6() {
			add("disable_ipv6", "0")
			if o.DAD == netinit.DADOptimistic {
				add("optimistic_dad", "1")
				add("use_optimistic", "1")
			}
		}
		switch l.AcceptRA {
		case netinit.AcceptRAOn:
			add("accept_ra", "1")
		case netinit.AcceptRAOff:
			add("accept_ra", "0")
		}
	}
	return list
}

// readSettings adds settings to the state. Those that the kernel does not have are left out.
func (s *state) readSettings(list []setting) {
	for _, x := range list {
		l := s.link(x.index)
		if l == nil {
			continue
		}
		var err error
		if x.have, err = readSysctl(l.name, x.family, x.name); err != nil {
			continue
		}
		if x.name == "accept_ra" && x.want != "0" {
			// A link that forwards takes advertisements only with 2, and 2 is on for every link.
			if forwarding, err := readSysctl(l.name, x.family, "forwarding"); x.have == "2" || err == nil && forwarding != "0" {
				x.want = "2"
			}
		}
		x.locked = x.have != x.want && unix.Access(sysctlPath(l.name, x.family, x.name), unix.W_OK) != nil
		s.settings = append(s.settings, x)
	}
}

// readFiles adds the files and the hostname to the state. A file that cannot be read is an error only if the plan has something for it.
func (s *state) readFiles(plan *netinit.Plan, o Options) (err error) {
	if o.ResolvConf != "" {
		if s.resolv, err = inplace.Read(o.ResolvConf); err != nil && !plan.DNS.IsZero() {
			return err
		}
	}
	if o.HostsFile != "" {
		if s.hosts, err = inplace.Read(o.HostsFile); err != nil && len(plan.Hosts) > 0 {
			return err
		}
	}
	s.hostname, err = os.Hostname()
	s.hostnameLocked = !capable(unix.CAP_SYS_ADMIN)
	return err
}
