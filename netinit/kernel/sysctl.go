package kernel

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/stoker-init/stoker/internal/untrusted"
	"golang.org/x/sys/unix"
)

// warning is an error that does not keep the rest of a plan from being applied. errors.AsType[warning] finds it.
type warning struct{ error }

func (w warning) Unwrap() error { return w.error }

// sysctlPath is the file of a setting of a link. In a path, unlike in the dotted form, a link's name may contain dots.
func sysctlPath(link, family, name string) string {
	return filepath.Join("/proc/sys/net", family, "conf", link, name)
}

// readSysctl returns a setting of a link; family is "ipv4" or "ipv6". The error is fs.ErrNotExist if the kernel does not have it, which
// it does not for any link if it has no IPv6.
func readSysctl(link, family, name string) (string, error) {
	data, err := os.ReadFile(sysctlPath(link, family, name))
	if err != nil {
		return "", fmt.Errorf("cannot read the setting %s of %s: %w", name, link, untrusted.Cause(err))
	}
	return strings.TrimSpace(string(data)), nil
}

// writeSysctl changes a setting of a link to value. The same value is not written. The error is a warning if
// settings cannot be changed here, as in a container whose /proc/sys is mounted read-only.
func writeSysctl(link, family, name, value string) error {
	before, err := readSysctl(link, family, name)
	if err != nil || before == value {
		return err
	}
	fd, err := os.OpenFile(sysctlPath(link, family, name), os.O_WRONLY, 0)
	if err == nil {
		_, err = fd.WriteString(value)
		err = errors.Join(err, fd.Close())
	}
	if err == nil {
		return nil
	}
	err = fmt.Errorf("cannot change the setting %s of %s from %s to %s: %w", name, link, before, value, untrusted.Cause(err))
	if errors.Is(err, unix.EROFS) || errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) {
		err = warning{err}
	}
	return err
}

// changedSettings are the IPv6 settings of a link that are not the default ones. The kernel forgets them with an MTU under 1280.
func (a *applier) changedSettings(index int) (list []object) {
	l, err := a.conn.link(index)
	if err != nil {
		return nil
	}
	names, _ := os.ReadDir(sysctlPath(l.name, "ipv6", "")) // there is none if the link has no IPv6
	for _, n := range names {
		value, err := readSysctl(l.name, "ipv6", n.Name())
		usual, _ := readSysctl("default", "ipv6", n.Name())
		if err == nil && value != usual && n.Name() != "mtu" {
			list = append(list, object{
				what: "setting " + n.Name() + " " + value, links: []int{index}, add: setting{index: index, family: "ipv6", name: n.Name(), want: value},
				err: errors.New("an MTU under 1280 resets it"),
			})
		}
	}
	return list
}
