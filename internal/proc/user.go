package proc

import (
	"errors"
	"fmt"
	"os/user"
	"strconv"
	"strings"
)

// LookupUser reads "name", "uid", "name:group" or "uid:gid". A uid needs no
// passwd entry; it then gets its own number as its group unless one is given.
func LookupUser(spec string) (*User, error) {
	name, group, hasGroup := strings.Cut(spec, ":")
	out := &User{Name: spec}
	u, err := user.Lookup(name)
	if uid, numErr := strconv.ParseUint(name, 10, 32); numErr == nil && err != nil {
		out.UID, out.GID = uint32(uid), uint32(uid)
		if u, err = user.LookupId(name); err != nil {
			u, err = nil, nil // allowed: a container's user often has no entry
		}
	}
	if err != nil {
		var unknown user.UnknownUserError
		if errors.As(err, &unknown) {
			return nil, fmt.Errorf("cannot find user %q in /etc/passwd", name)
		}
		return nil, fmt.Errorf("cannot find user %q: %w", name, err)
	}
	if u != nil {
		if err := out.fill(u); err != nil {
			return nil, err
		}
	}
	if !hasGroup {
		return out, nil
	}
	gid, err := lookupGroup(group)
	if err != nil {
		return nil, err
	}
	out.GID = gid
	return out, nil
}

// fill takes the numbers of a passwd entry and the user's other groups.
func (u *User) fill(entry *user.User) error {
	uid, err := strconv.ParseUint(entry.Uid, 10, 32)
	if err != nil {
		return fmt.Errorf("cannot use user %q: uid %q is no number", entry.Username, entry.Uid)
	}
	gid, err := strconv.ParseUint(entry.Gid, 10, 32)
	if err != nil {
		return fmt.Errorf("cannot use user %q: gid %q is no number", entry.Username, entry.Gid)
	}
	u.UID, u.GID, u.Home, u.Login = uint32(uid), uint32(gid), entry.HomeDir, entry.Username
	ids, _ := entry.GroupIds() // no /etc/group: only the primary one
	for _, id := range ids {
		if n, err := strconv.ParseUint(id, 10, 32); err == nil {
			u.Groups = append(u.Groups, uint32(n))
		}
	}
	return nil
}

func lookupGroup(group string) (uint32, error) {
	if g, err := user.LookupGroup(group); err == nil {
		if n, err := strconv.ParseUint(g.Gid, 10, 32); err == nil {
			return uint32(n), nil
		}
	}
	n, err := strconv.ParseUint(group, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("cannot find group %q in /etc/group", group)
	}
	return uint32(n), nil
}
