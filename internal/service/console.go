package service

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"strconv"

	"github.com/stoker-init/stoker/internal/asuser"
	"github.com/stoker-init/stoker/internal/console"
	"github.com/stoker-init/stoker/internal/proc"
)

// ConsoleContext is what the configuration says about a session.
type ConsoleContext struct {
	Service *JobContext // whose environment it has; nil: a clean one
	User    string      // console.user; empty: the service's
	Main    *Launcher   // the main service, whose user is the default of sessions without a Service; nil: there is none
}

// PrepareConsole returns how a session is started. Its variables are those of a job, and of a login: HOME, USER, LOGNAME, SHELL and
// TERM. The error is a *console.SpecError if it is the client's.
func PrepareConsole(s console.Spec, c ConsoleContext) (out console.Launch, err error) {
	byDefault, err := c.user()
	if err != nil {
		return out, err
	}
	if err := CheckUser(s.User); err != nil {
		return out, &console.SpecError{Field: "user", Why: err.Error()}
	}
	vars, user, err := besideService(c.Service, s.User)
	if err != nil {
		return out, err
	}
	if s.User == "" {
		user = byDefault
	}
	login := user
	if login == nil {
		login = ownUser()
	}
	if s.User == "" && (c.Service == nil || c.User != "") {
		login.AdaptEnv(vars)
	}
	shell := findShell()
	vars["SHELL"] = shell
	if vars["HOME"] == "" {
		vars["HOME"] = "/"
	}
	if vars["PATH"] == "" {
		vars["PATH"] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	}
	if delete(vars, "TERM"); s.TTY {
		vars["TERM"] = "xterm-256color"
	}
	for name, value := range EnvironMap(s.Env) {
		vars[name] = value
	}
	out.User = nameOf(login)
	out.Admin = adminReason(user, byDefault, c.User != "")
	out.Spec = proc.Spec{Argv: s.Command, Env: EnvironList(vars), User: user, Dir: s.Dir, OOMRaise: jobOOMRaise}
	if len(s.Command) == 0 {
		out.Spec.Argv = []string{shell}
	}
	if s.Dir == "" {
		out.Spec.Dir = workingDir(vars["HOME"], user)
	}
	return out, nil
}

// CheckUser returns why nothing can run as a user; an empty name is the default.
func CheckUser(name string) error {
	if name == "" {
		return nil
	}
	u, err := asuser.Lookup(name)
	if err == nil && os.Geteuid() != 0 && u.ID() != os.Geteuid() {
		err = errors.New("stoker does not run as root, so it cannot become another user")
	}
	return err
}

// user is whom a session runs as that names no user; nil: stoker's own.
func (c ConsoleContext) user() (*asuser.User, error) {
	switch {
	case c.User != "":
		user, err := asuser.Lookup(c.User)
		if err != nil {
			return nil, fmt.Errorf("cannot open a session: console.user: %w", err)
		}
		return user, nil
	case c.Service != nil:
		return c.Service.User, nil
	case c.Main != nil:
		return c.Main.User, nil
	}
	return nil, nil
}

// adminReason returns why a session as a user needs the grant admin; empty: it does not. configured says that the default was
// chosen for sessions, root or not.
func adminReason(user, byDefault *asuser.User, configured bool) string {
	same := user.ID() == byDefault.ID() && group(user) == group(byDefault)
	switch {
	case same && (configured || user.ID() != 0):
		return ""
	case same:
		return "a session as root (console.user: NAME would make it another user)"
	}
	name, usual := nameOf(user), nameOf(byDefault)
	if name == usual {
		return fmt.Sprintf("a session as %s with another group", name)
	}
	return fmt.Sprintf("a session as %s, who is not the default user %s,", name, usual)
}

// nameOf is what a user is called; nil is stoker's own.
func nameOf(u *asuser.User) string {
	if u == nil {
		u = ownUser()
	}
	return cmp.Or(u.Login, u.Name)
}

// ownUser is stoker's own, by its name if it has one.
func ownUser() *asuser.User {
	if own, err := asuser.Lookup(strconv.Itoa(os.Getuid())); err == nil {
		return own
	}
	return asuser.Current()
}

// group is the gid of a user; nil is stoker's own.
func group(u *asuser.User) int {
	if u == nil {
		return os.Getegid()
	}
	return int(u.GID)
}

// findShell returns the shell of sessions.
func findShell() string {
	const bash = "/bin/bash"
	if info, err := os.Stat(bash); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
		return bash
	}
	return "/bin/sh"
}

// workingDir returns a home if its user can use it, and / if not.
func workingDir(home string, user *asuser.User) string {
	usable := func() error {
		_, err := os.Stat(home + "/.")
		return err
	}
	if user == nil && usable() == nil || user != nil && user.Identity().Do(usable) == nil {
		return home
	}
	return "/"
}
