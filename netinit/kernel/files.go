package kernel

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/stoker-init/stoker/netinit"
	"github.com/stoker-init/stoker/netinit/inplace"
	"golang.org/x/sys/unix"
)

// fileText changes the content of a file. What it changes is the content at that moment: others may have written it since the state was
// read.
type fileText struct {
	path string
	edit func(a *applier, now string) string
}

// run never gives EPERM, which would be a missing capability for the kernel's network.
func (f fileText) run(a *applier) error {
	err := inplace.Edit(f.path, func(now string) string { return f.edit(a, now) })
	if errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.EROFS) {
		err = &HintError{errors.New(err.Error()), "make it writable for the user of stoker (owner, mode, mount, chattr), or name another " +
			"file: netinit.resolv_conf, netinit.hosts_file"}
	}
	return err
}

// diffFiles compares resolv.conf, the hosts file and the hostname.
func (d *differ) diffFiles() {
	set := func(object, detail string, do, undo step) {
		d.add(change{Change: Change{Verb: "set", Object: object, Detail: detail}, stage: fileStage, do: do, undo: undo})
	}
	if path := d.o.ResolvConf; path != "" && d.wantedResolv(d.state.resolv) != d.state.resolv {
		var before, after string
		set("file", path, fileText{path, func(a *applier, now string) string {
			if before, after = now, d.wantedResolv(now); after != before {
				a.keepResolv(before)
			}
			return after
		}}, fileText{path, func(_ *applier, now string) string {
			if now == after {
				return before
			}
			return now
		}})
	}
	block := netinit.HostsBlock(d.plan.Hosts)
	if want, old := netinit.WithHostsBlock(d.state.hosts, block); d.o.HostsFile != "" && want != d.state.hosts {
		var before, after string
		set("file", d.o.HostsFile, fileText{d.o.HostsFile, func(_ *applier, now string) string {
			before = now
			after, old = netinit.WithHostsBlock(now, block)
			return after
		}}, fileText{d.o.HostsFile, func(_ *applier, now string) string {
			if now == after {
				return before
			}
			now, _ = netinit.WithHostsBlock(now, old)
			return now
		}})
	}
	name := d.plan.Hostname
	if !d.o.Hostname || name == "" || name == d.state.hostname {
		return
	}
	detail := fmt.Sprintf("%s (was %s)", name, d.state.hostname)
	if d.state.hostnameLocked {
		d.warnings = append(d.warnings, "cannot set hostname "+detail+": needs CAP_SYS_ADMIN")
		return
	}
	set("hostname", detail, newHostname(name), newHostname(d.state.hostname))
}

// wantedResolv returns the content that resolv.conf should have. Without DNS in the plan it is the original, if the file still is what an
// earlier run has written.
func (d *differ) wantedResolv(now string) string {
	switch saved := d.record.Resolv; {
	case !d.plan.DNS.IsZero():
		return netinit.ResolvConf(d.plan.DNS)
	case saved != nil && saved.Path == d.o.ResolvConf && saved.wrote(now):
		return saved.Original
	}
	return now
}

// wrote reports whether a content was written by stoker, perhaps by a run that was killed before it could truncate the file.
func (s *SavedFile) wrote(content string) bool {
	return slices.ContainsFunc(s.Written, func(w string) bool { return strings.TrimRight(w, "\n") == strings.TrimRight(content, "\n") })
}

// keepResolv records the content of resolv.conf that is about to be replaced, if it is another one than at first.
func (a *applier) keepResolv(now string) {
	if now == a.first.resolv {
		return
	}
	a.first.resolv = now
	owned := *a.owned
	owned.Resolv = a.savedResolv(true)
	a.owned = &owned
	a.writeRecord(a.owned)
}

// newHostname sets the hostname of this UTS namespace. The error is a warning without CAP_SYS_ADMIN.
type newHostname string

func (h newHostname) run(*applier) error {
	err := unix.Sethostname([]byte(h))
	if err == nil {
		return nil
	}
	err = fmt.Errorf("cannot set the hostname to %q: %w", string(h), err)
	if errors.Is(err, unix.EPERM) {
		err = warning{err}
	}
	return err
}
