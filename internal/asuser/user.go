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
	Login  string // name in the passwd entry; empty: no entry
	UID    uint32
	GID    uint32
	Groups []uint32
	Home   string // empty without a passwd entry
	// Grouped means that Groups were configured. Groups of the passwd entry are skipped if stoker is not root and could not set them.
	Grouped bool
}

// Lookup parses "name", "uid", "name:group" or "uid:gid". A uid needs no passwd entry; without one its group defaults to the same
// number.
func Lookup(spec string) (*User, error) {
	name, group, hasGroup := strings.Cut(spec, ":")
	out := &User{Name: spec}
	entry, err := user.Lookup(name)
	if id, isID := parseID(name); isID && err != nil {
		out.UID, out.GID = id, id
		entry, _ = user.LookupId(name) // a container's user often has no entry
		err = nil
	}
	if err == nil && entry != nil {
		err = out.fill(entry)
	}
	switch {
	case errors.As(err, new(user.UnknownUserError)):
		return nil, fmt.Errorf("cannot find user %q in /etc/passwd", name)
	case err != nil:
		return nil, fmt.Errorf("cannot find user %q: %w", name, err)
	case hasGroup:
		out.GID, err = lookupGroup(group)
	}
	if err != nil {
		return nil, err
	}
	return out, nil
}

// parseID parses a uid or gid. The highest number is none: to the kernel it means no change.
func parseID(text string) (id uint32, ok bool) {
	n, err := strconv.ParseUint(text, 10, 32)
	return uint32(n), err == nil && n != 1<<32-1
}

// fill sets the ids of a passwd entry and the supplementary groups.
func (u *User) fill(entry *user.User) error {
	uid, isUID := parseID(entry.Uid)
	gid, isGID := parseID(entry.Gid)
	if !isUID || !isGID {
		return fmt.Errorf("its entry in /etc/passwd has the uid %q and the gid %q", entry.Uid, entry.Gid)
	}
	u.UID, u.GID, u.Home, u.Login = uid, gid, entry.HomeDir, entry.Username
	ids, _ := entry.GroupIds() // without /etc/group: only the primary one
	for _, id := range ids {
		if n, ok := parseID(id); ok {
			u.Groups = append(u.Groups, n)
		}
	}
	return nil
}

// SetGroups replaces the supplementary groups by a list of names and numbers, which may be empty.
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

// ID returns the uid of a user; nil means stoker's own.
func (u *User) ID() int {
	if u == nil {
		return os.Geteuid()
	}
	return int(u.UID)
}

// Identity returns the file access rights of the user, without capabilities.
func (u *User) Identity() Identity {
	id := Identity{UID: int(u.UID), GID: int(u.GID)}
	for _, gid := range u.Groups {
		id.Groups = append(id.Groups, int(gid))
	}
	return id
}

// Current returns stoker's own user without a home, for a process that differs only in its groups.
func Current() *User {
	uid, gid := os.Getuid(), os.Getgid()
	return &User{Name: fmt.Sprintf("%d:%d", uid, gid), UID: uint32(uid), GID: uint32(gid)}
}

// AdaptEnv sets HOME, USER and LOGNAME in stoker's environment as a login of the user would, and removes variables of stoker's own
// user. Without a passwd entry HOME is / and the other two are unset, as with Docker. A nil user is stoker's own.
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
	text := group
	if g, err := user.LookupGroup(group); err == nil {
		text = g.Gid
	}
	gid, ok := parseID(text)
	if !ok {
		return 0, fmt.Errorf("cannot find group %q in /etc/group", group)
	}
	return gid, nil
}
