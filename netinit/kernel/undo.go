package kernel

import (
	"net/netip"
	"slices"

	"github.com/stoker-init/stoker/netinit"
	"golang.org/x/sys/unix"
)

// object is an address, route or rule that is absent, and the message that adds it.
type object struct {
	what string
	add  message
}

// missing returns what before has and after lacks: all that is ours, and what others have added to the links in touched. The kernel's own
// routes come back with their addresses. gone is an address that was removed on purpose.
func missing(before, after *state, touched map[int]bool, gone netip.Prefix) []object {
	var list []object
	for _, a := range before.addresses {
		same := func(b address) bool { return b.index == a.index && b.prefix == a.prefix && b.peer == a.peer }
		if (a.ours || touched[a.index]) && a.prefix != gone && !slices.ContainsFunc(after.addresses, same) {
			at := len(list)
			if a.prefix.Addr().Is6() {
				at = 0 // the kernel lists the newest first
			}
			list = slices.Insert(list, at, object{"address " + a.prefix.String(), message{unix.RTM_NEWADDR, newOnly, a.raw}})
		}
	}
	for _, r := range before.routes {
		same := func(b route) bool { return b.Route == r.Route && b.index == r.index && b.proto == r.proto }
		if (r.proto == protocol || touched[r.index] && r.proto != unix.RTPROT_KERNEL) && !slices.ContainsFunc(after.routes, same) {
			list = append(list, object{"route " + describeRoute(r.Route), message{unix.RTM_NEWROUTE, newOnly, r.raw}})
		}
	}
	for _, r := range before.rules {
		same := func(b rule) bool { return b.Rule == r.Rule && b.odd == r.odd }
		if r.ours && !slices.ContainsFunc(after.rules, same) {
			list = append(list, object{"rule " + describeRule(r.Rule), message{unix.RTM_NEWRULE, newOnly, r.raw}})
		}
	}
	return list
}

// restore adds what is missing, and returns what still is. A route may need another that the kernel lists after it.
func (a *applier) restore(before *state, touched map[int]bool, gone netip.Prefix) (lost []string, err error) {
	for range maxRounds {
		after, err := a.conn.read()
		if err != nil {
			return nil, err
		}
		list := missing(before, after, touched, gone)
		progress := false
		lost = nil
		for _, o := range list {
			if err := a.conn.send(o.add); err != nil {
				lost = append(lost, o.what+" ("+err.Error()+")")
			} else {
				progress = true
			}
		}
		if !progress {
			break
		}
	}
	return lost, nil
}

// preserve does something to a link that may remove addresses and routes as a side effect, and adds them again.
func (a *applier) preserve(index int, gone netip.Prefix, do func() error) error {
	before, err := a.conn.read()
	if err != nil {
		return err
	}
	if err := do(); err != nil {
		return err
	}
	lost, err := a.restore(before, map[int]bool{index: true}, gone)
	for _, l := range lost {
		a.warn("cannot restore %s", l)
	}
	return err
}

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
		if s.resolv, err = readText(o.ResolvConf); err != nil && !plan.DNS.IsZero() {
			return err
		}
	}
	if o.HostsFile != "" {
		if s.hosts, err = readText(o.HostsFile); err != nil && len(plan.Hosts) > 0 {
			return err
		}
	}
	s.hostname, err = hostname()
	s.hostnameLocked = !capable(unix.CAP_SYS_ADMIN)
	return err
}
