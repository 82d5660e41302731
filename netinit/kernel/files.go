package kernel

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/stoker-init/stoker/internal/untrusted"
	"github.com/stoker-init/stoker/netinit"
	"golang.org/x/sys/unix"
)

// maxText bounds the files that are read and written, in bytes.
const maxText = 1 << 20

// openText opens a regular file, through links. Without O_NONBLOCK the open of a FIFO would wait.
func openText(path string, flags int) (*os.File, error) {
	file, err := os.OpenFile(path, flags|unix.O_NONBLOCK|unix.O_NOCTTY, 0o644)
	if err != nil {
		return nil, untrusted.Cause(err)
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = untrusted.ErrNotRegular
	}
	if err != nil {
		file.Close()
		return nil, untrusted.Cause(err)
	}
	return file, nil
}

// readText returns the content of a regular file of at most 1 MiB. A missing file is empty.
func readText(path string) (string, error) {
	file, err := openText(path, os.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("cannot read %s: %w", path, err)
	}
	defer file.Close()
	data, err := untrusted.ReadAll(file, maxText)
	if err != nil {
		return "", fmt.Errorf("cannot read %s: %w", path, err)
	}
	return string(data), nil
}

// writeInPlace replaces the content of a regular file by what edit makes of it. The file stays the same inode, because the resolv.conf and
// hosts of a container are bind mounts, which cannot be replaced by rename(2). A missing file is created. After an error the file has its
// old content, unless the error says otherwise.
func writeInPlace(path string, edit func(now string) string) error {
	file, err := openText(path, os.O_RDWR)
	created := errors.Is(err, fs.ErrNotExist)
	if created {
		file, err = openText(path, os.O_RDWR|os.O_CREATE)
	}
	if err != nil {
		return fmt.Errorf("cannot write %s: %w", path, err)
	}
	defer file.Close()
	if created {
		if err := file.Chmod(0o644); err != nil { // whatever the umask: every user resolves names
			return fmt.Errorf("cannot make %s readable for all users: %w", path, untrusted.Cause(err))
		}
	}
	data, err := untrusted.ReadAll(file, maxText)
	if err != nil {
		return fmt.Errorf("cannot read %s: %w", path, err)
	}
	before := string(data)
	content := edit(before)
	if before == content {
		return nil
	}
	if err := overwrite(file, content); err != nil {
		err = fmt.Errorf("cannot write %s: %w", path, untrusted.Cause(err))
		if again := overwrite(file, before); again != nil {
			err = fmt.Errorf("%w; nor can its old content be restored: %w", err, untrusted.Cause(again))
		}
		return err
	}
	return nil
}

// overwrite writes first and truncates then, so that a reader never finds an empty file. Until then empty lines are in the place of the
// rest of a longer content: they mean nothing to a reader, nor if the process is killed.
func overwrite(file *os.File, content string) error {
	info, err := file.Stat()
	if err != nil {
		return err
	}
	padding := strings.Repeat("\n", max(0, int(info.Size())-len(content)))
	if _, err := file.WriteAt([]byte(content+padding), 0); err != nil {
		return err
	}
	return file.Truncate(int64(len(content)))
}

// fileText changes the content of a file. What it changes is the content at that moment: others may have written it since the state was
// read.
type fileText struct {
	path string
	edit func(a *applier, now string) string
}

// run never gives EPERM, which would be a missing capability for the kernel's network.
func (f fileText) run(a *applier) error {
	err := writeInPlace(f.path, func(now string) string { return f.edit(a, now) })
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

// hostname returns the hostname of this UTS namespace.
func hostname() (string, error) {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return "", fmt.Errorf("cannot read the hostname: %w", err)
	}
	return unix.ByteSliceToString(name.Nodename[:]), nil
}

// setHostname changes the hostname of this UTS namespace. The error is a warning without CAP_SYS_ADMIN.
func setHostname(name string) error {
	err := unix.Sethostname([]byte(name))
	if err == nil {
		return nil
	}
	err = fmt.Errorf("cannot set the hostname to %q: %w", name, err)
	if errors.Is(err, unix.EPERM) {
		err = warning{err}
	}
	return err
}
