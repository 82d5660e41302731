package hooks

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// CheckAllowed says what is wrong with a pattern of Hook.AllowEnv.
func CheckEnvPattern(pattern string) error {
	const characters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_*?[]^-"
	if _, err := path.Match(pattern, ""); err != nil || strings.Trim(pattern, characters) != "" || pattern == "" {
		return fmt.Errorf("%s is not the name of a variable, nor a pattern such as LD_*", quote(pattern))
	}
	return nil
}

// allowed says whether a hook may set a variable by STOKER_OUT.
func maySet(name string, patterns []string) bool {
	return !sensitive(name) || slices.ContainsFunc(patterns, func(p string) bool {
		ok, err := path.Match(p, name)
		return ok && err == nil
	})
}

// steers says whether a variable makes a program load or execute something, or is
// stoker's own: those that sudo and glibc take away, and those of Java, Tomcat and Node.
func sensitive(name string) bool {
	for _, prefix := range []string{"STOKER_", "LD_", "_RLD", "GLIBC_", "MALLOC_", "BASH", "PERL", "PYTHON", "RUBY", "LUA_",
		"JAVA_", "_JAVA_", "JDK_", "JRE_", "JPDA_", "CATALINA_", "OPENSSL_", "TERMINFO"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return slices.Contains([]string{
		"PATH", "ENV", "IFS", "CDPATH", "SHELLOPTS", "PS4", "PROMPT_COMMAND", "GLOBIGNORE", "ZDOTDIR", "FPATH",
		"NULLCMD", "READNULLCMD", "CLASSPATH", "JSSE_OPTS", "LOGGING_MANAGER",
		"NODE_OPTIONS", "NODE_PATH", "GIT_SSH", "GIT_SSH_COMMAND", "SHELL",
		"EDITOR", "VISUAL", "PAGER", "LESSOPEN", "GCONV_PATH", "GETCONF_DIR", "HOSTALIASES", "LOCALDOMAIN", "LOCPATH",
		"NIS_PATH", "NLSPATH", "PATH_LOCALE", "RESOLV_HOST_CONF", "RES_OPTIONS", "TZDIR", "TERMCAP", "TERMPATH",
		"SSLKEYLOGFILE",
	}, name)
}
