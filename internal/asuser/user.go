package asuser

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"strings"
)

// User is the user of a process.
type User struct {
	Name   string // as configured, for messages
	Login  string // the name of the passwd entry; empty: there is none
	UID    uint32
	GID    uint32
	Groups []uint32
	Home   string // empty when there is no passwd entry
	// Grouped says that Groups were asked for. Those of the user's entry are left
	// out where stoker is not root and could not set them.
	Grouped bool
}

// Lookup reads "name", "uid", "name:group" or "uid:gid". A uid needs no
// passwd entry; it then gets its own number as its group unless one is given.
func Lookup(spec string) (*User, error) {
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

// SetGroups replaces the supplementary groups by those of a list of names and
// numbers; an empty one leaves none.
func (u *User) SetGroups(groups []string) error {
	u.Groups, u.Grouped = []uint32{}, true
	for _, group := range groups {
		gid, err := lookupGroup(group)
		if err != nil {
			return err
		}
		u.Groups = append(u.Groups, gid)
	}
	return nil
}

// ID is the uid of a process's user; nil is stoker's own.
func (u *User) ID() int {
	if u == nil {
		return os.Geteuid()
	}
	return int(u.UID)
}

// Identity is what the user may do with files: capabilities it has none.
func (u *User) Identity() Identity {
	id := Identity{UID: int(u.UID), GID: int(u.GID)}
	for _, gid := range u.Groups {
		id.Groups = append(id.Groups, int(gid))
	}
	return id
}

// Current is the user that stoker runs as, without a home, for a process that differs in
// its groups only.
func Current() *User {
	uid, gid := os.Getuid(), os.Getgid()
	return &User{Name: fmt.Sprintf("%d:%d", uid, gid), UID: uint32(uid), GID: uint32(gid)}
}

// AdaptEnv turns stoker's environment into that of the user, as a login would: HOME, USER
// and LOGNAME are the user's. Without a passwd entry HOME is / and the other two are
// absent, as with Docker. What belongs to stoker's own user alone is left out. A nil user is
// stoker's own.
func (u *User) AdaptEnv(env map[string]string) {
	if u == nil {
		return
	}
	if int(u.UID) != os.Getuid() {
		below := strings.TrimSuffix(env["HOME"], "/") + "/"
		for _, name := range []string{"XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"} {
			if below != "/" && strings.HasPrefix(env[name]+"/", below) {
				delete(env, name)
			}
		}
		for _, name := range []string{"USER", "LOGNAME", "MAIL", "XDG_RUNTIME_DIR"} {
			delete(env, name)
		}
		env["HOME"] = "/"
	}
	if u.Home != "" {
		env["HOME"] = u.Home
	}
	if u.Login != "" {
		env["USER"], env["LOGNAME"] = u.Login, u.Login
	}
}

func lookupGroup(group string) (uint32, error) {
	if g, err := user.LookupGroup(group); err == nil {
		if n, err := strconv.ParseUint(g.Gid, 10, 32); err == nil {
			return uint32(n), nil
		}
	}
	n, err := strconv.ParseUint(group, 10, 32)
	if err != nil || n == 1<<32-1 {
		return 0, fmt.Errorf("cannot find group %q in /etc/group", group)
	}
	return uint32(n), nil
}
