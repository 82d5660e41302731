package hooks

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// CheckEnvPattern checks a pattern of Hook.AllowEnv.
func CheckEnvPattern(pattern string) error {
	const characters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_*?[]^-"
	if _, err := path.Match(pattern, ""); err != nil || strings.Trim(pattern, characters) != "" || pattern == "" {
		return fmt.Errorf("%s is not the name of a variable, nor a pattern such as LD_*", quote(pattern))
	}
	return nil
}

// maySet reports whether a hook may set a variable by STOKER_OUT.
func maySet(name string, allow []string) bool {
	return !sensitive(name) || slices.ContainsFunc(allow, func(p string) bool {
		ok, err := path.Match(p, name)
		return ok && err == nil
	})
}

// Variables that make a program load or execute something, or are stoker's own: those that sudo
// and glibc remove, and those of Java, Tomcat and Node.
var (
	sensitivePrefixes = []string{"STOKER_", "LD_", "_RLD", "GLIBC_", "MALLOC_", "BASH", "PERL", "PYTHON", "RUBY", "LUA_",
		"JAVA_", "_JAVA_", "JDK_", "JRE_", "JPDA_", "CATALINA_", "OPENSSL_", "TERMINFO"}
	sensitiveNames = []string{
		"PATH", "ENV", "IFS", "CDPATH", "SHELLOPTS", "PS4", "PROMPT_COMMAND", "GLOBIGNORE", "ZDOTDIR", "FPATH",
		"NULLCMD", "READNULLCMD", "CLASSPATH", "JSSE_OPTS", "LOGGING_MANAGER",
		"NODE_OPTIONS", "NODE_PATH", "GIT_SSH", "GIT_SSH_COMMAND", "SHELL",
		"EDITOR", "VISUAL", "PAGER", "LESSOPEN", "GCONV_PATH", "GETCONF_DIR", "HOSTALIASES", "LOCALDOMAIN", "LOCPATH",
		"NIS_PATH", "NLSPATH", "PATH_LOCALE", "RESOLV_HOST_CONF", "RES_OPTIONS", "TZDIR", "TERMCAP", "TERMPATH",
		"SSLKEYLOGFILE",
	}
)

func sensitive(name string) bool {
	return slices.Contains(sensitiveNames, name) ||
		slices.ContainsFunc(sensitivePrefixes, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}
