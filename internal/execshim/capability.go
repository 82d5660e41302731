package execshim

import (
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Capabilities is a set of them, a bit each, by their numbers in
// linux/capability.h.
type Capabilities uint64

// AllCapabilities is every one, also those that are younger than this program.
const AllCapabilities = ^Capabilities(0)

// CapabilityNames are the names by number, in capitals and without CAP_.
func CapabilityNames() []string {
	return strings.Fields(`CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP
		LINUX_IMMUTABLE NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE
		SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME
		SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG
		WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE`)
}

// ParseCapability reads the name of a capability, with or without CAP_, in
// capitals or not, or "ALL".
func ParseCapability(name string) (Capabilities, error) {
	short := strings.TrimPrefix(strings.ToUpper(name), "CAP_")
	if short == "ALL" {
		return AllCapabilities, nil
	}
	if number := slices.Index(CapabilityNames(), short); number >= 0 {
		return 1 << number, nil
	}
	return 0, fmt.Errorf("there is no capability %.40q; capabilities(7) lists them, and ALL is all of them", name)
}

// ParseCapabilities reads a list of names.
func ParseCapabilities(names []string) (Capabilities, error) {
	var out Capabilities
	for _, name := range names {
		c, err := ParseCapability(name)
		if err != nil {
			return 0, err
		}
		out |= c
	}
	return out, nil
}

// capabilityName is the name of the capability of a number.
func capabilityName(number int) string {
	if all := CapabilityNames(); number < len(all) {
		return all[number]
	}
	return fmt.Sprint(number)
}

// dropBounding takes capabilities out of the calling thread's bounding and
// ambient sets: no program that it executes can get them. number is the one
// that could not be dropped. Those that are not in the set any more need no
// right to be dropped.
func (c Capabilities) dropBounding() (number int, err error) {
	for number := range 64 {
		in, readErr := unix.PrctlRetInt(unix.PR_CAPBSET_READ, uintptr(number), 0, 0, 0)
		if readErr != nil || c&(1<<number) == 0 { // unknown to this kernel, or to be kept
			continue
		}
		err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_LOWER, uintptr(number), 0, 0)
		if err != nil && !errors.Is(err, unix.EINVAL) { // Linux < 4.3
			return number, err
		}
		if in == 0 {
			continue
		}
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(number), 0, 0, 0); err != nil {
			return number, err
		}
	}
	return 0, nil
}

// dropHeld takes capabilities out of the calling thread's other sets. Giving up
// needs no right.
func (c Capabilities) dropHeld() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	if err := unix.Capget(&header, &sets[0]); err != nil {
		return err
	}
	for k := range sets {
		keep := ^uint32(c >> (32 * k))
		sets[k].Effective &= keep
		sets[k].Permitted &= keep
		sets[k].Inheritable &= keep
	}
	return unix.Capset(&header, &sets[0])
}

// holds says whether the calling thread has a capability in effect.
func holds(number int) bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	return unix.Capget(&header, &sets[0]) == nil && sets[number/32].Effective&(1<<(number%32)) != 0
}

// needs is the reason of a refusal: the capability that is missing. Where it is
// not, the reason is another one.
func needs(number int, otherwise string) string {
	if holds(number) {
		return otherwise
	}
	return "needs CAP_" + capabilityName(number)
}

// String lists the names.
func (c Capabilities) String() string {
	if c == AllCapabilities {
		return "ALL"
	}
	var out []string
	for rest := uint64(c); rest != 0; rest &= rest - 1 {
		out = append(out, capabilityName(bits.TrailingZeros64(rest)))
	}
	return strings.Join(out, " ")
}
