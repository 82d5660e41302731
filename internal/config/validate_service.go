package config

import (
	"maps"
	"net"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/stoker-init/stoker/internal/tomcat"
	"github.com/stoker-init/stoker/supervisor"
)

// maxServiceName bounds a service's name, in bytes.
const maxServiceName = 64

func (v *validator) services() {
	for _, name := range slices.Sorted(maps.Keys(v.raw.Services)) {
		path := join("services", name)
		v.serviceName(path, name)
		raw, cfg := v.raw.Services[name], v.cfg.Services[name]
		v.kind(path, raw, cfg)
		v.surroundings(path, raw)
		v.ready(join(path, "ready"), raw.Ready)
		v.restart(join(path, "restart"), raw.Restart, cfg.Restart)
		v.serviceStop(join(path, "stop"), raw.Stop)
	}
}

func (v *validator) serviceName(path, name string) {
	const rule = "a name has small letters, digits, _ . -, and begins with a letter or digit"
	switch {
	case len(name) > maxServiceName:
		v.bad(path, "", "the name has %d bytes, and %d are allowed", len(name), maxServiceName)
	case strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789_.-") != "" || strings.ContainsAny(name[:min(1, len(name))], "_.-") || name == "":
		v.bad(path, rule, "%s is not a service name", quote("", name))
	}
}

// kind checks what belongs to one kind of service and to no other.
func (v *validator) kind(path string, raw, cfg Service) {
	kindPath := join(path, "kind")
	v.oneOf(kindPath, raw.Kind, KindProcess, KindJava, KindTomcat)
	if v.report.isSpoiled(kindPath) || raw.Kind == "" && v.report.isMeant(kindPath) {
		return
	}
	command := join(path, "command")
	switch {
	case cfg.Kind != KindProcess && (len(raw.Command) > 0 || v.isSet(command)):
		v.lacking(command, "remove it, or write kind: process", "a service of kind %s builds its own command", cfg.Kind)
	case cfg.Kind == KindProcess && len(raw.Command) == 0:
		v.lacking(command, `write ["program", "argument"], or a kind: java or tomcat`, "a service of kind process needs a command")
	case cfg.Kind == KindProcess && raw.Command[0] == "":
		v.bad(index(command, 0), "", "the program's name is empty")
	}
	if cfg.Kind == KindJava {
		v.java(join(path, "java"), raw.Java)
	} else if !reflect.ValueOf(raw.Java).IsZero() {
		v.lacking(join(path, "java"), "write kind: java", "the service's kind is %s", cfg.Kind)
	}
	if cfg.Kind == KindTomcat {
		v.tomcat(join(path, "tomcat"), raw.Tomcat)
	} else if !reflect.ValueOf(raw.Tomcat).IsZero() {
		v.lacking(join(path, "tomcat"), "write kind: tomcat", "the service's kind is %s", cfg.Kind)
	}
}

func (v *validator) java(path string, j Java) {
	jar, main := join(path, "jar"), join(path, "main")
	if v.report.isSpoiled(jar) || v.report.isSpoiled(main) || v.report.isMeant(jar) || v.report.isMeant(main) {
		return
	}
	switch {
	case j.Jar != "" && j.Main != "":
		v.bad(main, "remove one of the two", "jar and main are both set")
	case j.Jar == "" && j.Main == "":
		v.lacking(path, "set java.jar or java.main", "a service of kind java needs a jar or a main class")
	}
}

func (v *validator) tomcat(path string, t tomcat.Config) {
	v.absolute(join(path, "home"), t.Home)
	v.absolute(join(path, "base"), t.Base)
	v.oneOf(join(path, "setenv"), t.Setenv, tomcat.SetenvImport, tomcat.SetenvIgnore, tomcat.SetenvRefuse)
	for i, context := range t.Contexts {
		if context != "" && !strings.HasPrefix(context, "/") {
			v.bad(index(join(path, "contexts"), i), `write "/`+printable(bounded(context))+`"`, "%s is not a context path", quote("", context))
		}
	}
}

// surroundings checks what a process is started with.
func (v *validator) surroundings(path string, s Service) {
	v.absolute(join(path, "dir"), s.Dir)
	if s.User != "" && !validUser(s.User) {
		v.bad(join(path, "user"), "write name, uid, name:group or uid:gid", "%s is not a user", quote("", s.User))
	}
	if s.Umask != "" {
		if _, err := ParseUmask(s.Umask); err != nil {
			v.bad(join(path, "umask"), `write "0027"`, "%s", err)
		}
	}
	for name := range s.Env {
		v.envName(join(join(path, "env"), name), name)
	}
	for i, code := range s.SuccessCodes {
		if code < 0 || code > 255 {
			v.bad(index(join(path, "success_codes"), i), "", "%d is not an exit code: they go from 0 to 255", code)
		}
	}
}

// validUser checks the form only: who exists is known when the service starts.
func validUser(user string) bool {
	name, group, both := strings.Cut(user, ":")
	return validID(name) && (!both || validID(group))
}

func validID(id string) bool {
	if id == "" || strings.HasPrefix(id, "-") || strings.ContainsAny(id, ": \t\n\r/\x00") {
		return false
	}
	if strings.Trim(id, "0123456789") != "" {
		return true
	}
	// The highest number means "no user" to the kernel.
	n, err := strconv.ParseUint(id, 10, 32)
	return err == nil && n != 1<<32-1
}

func (v *validator) ready(path string, r supervisor.Ready) {
	if r.HTTP != "" {
		v.httpURL(join(path, "http"), r.HTTP)
	}
	for i, code := range r.Status {
		if code < 100 || code > 599 {
			v.bad(index(join(path, "status"), i), "", "%d is not an HTTP status: they go from 100 to 599", code)
		}
	}
	if tcp := join(path, "tcp"); r.TCP != "" {
		host, port, err := net.SplitHostPort(r.TCP)
		if n, bad := strconv.ParseUint(port, 10, 16); err != nil || host == "" || bad != nil || n == 0 {
			v.bad(tcp, "write 127.0.0.1:8080", "%s is not host:port", quote(tcp, r.TCP))
		}
	}
	if len(r.Exec) > 0 && r.Exec[0] == "" {
		v.bad(index(join(path, "exec"), 0), "", "the program's name is empty")
	}
	if log := join(path, "log"); r.Log != "" {
		if _, err := regexp.Compile(r.Log); err != nil {
			v.bad(log, "", "%s is not a regular expression: %s", quote(log, r.Log), strings.TrimPrefix(printable(err.Error()), "error parsing regexp: "))
		}
	}
	v.positive(join(path, "within"), r.Within)
	v.positive(join(path, "every"), r.Every)
}

func (v *validator) httpURL(path, text string) {
	u, err := url.Parse(text)
	ok := err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != ""
	if ok && u.Port() != "" {
		n, err := strconv.ParseUint(u.Port(), 10, 16)
		ok = err == nil && n > 0
	}
	if !ok {
		v.bad(path, "write http://127.0.0.1:8080/health", "%s is not an http or https URL with a host", quote(path, maskText(text)))
	}
}

func (v *validator) restart(path string, raw, cfg supervisor.Restart) {
	v.oneOf(join(path, "policy"), raw.Policy, supervisor.Always, supervisor.OnFailure, supervisor.Never)
	backoff, limit := join(path, "backoff"), join(path, "limit")
	v.notNegative(join(backoff, "first"), raw.Backoff.First)
	v.positive(join(backoff, "max"), raw.Backoff.Max)
	v.positive(join(backoff, "reset"), raw.Backoff.Reset)
	if first := *cfg.Backoff.First; first > cfg.Backoff.Max && cfg.Backoff.Max > 0 && !v.report.isSpoiled(join(backoff, "max")) {
		v.bad(join(backoff, "first"), "raise max or lower first", "%s is more than max, %s", first, cfg.Backoff.Max)
	}
	// Written so that NaN, which a file cannot hold but a caller can, fails too.
	if factor := join(backoff, "factor"); !(raw.Backoff.Factor >= 1) && (raw.Backoff.Factor != 0 || v.isSet(factor)) {
		v.bad(factor, "", "%v is less than 1: the wait would shrink", raw.Backoff.Factor)
	}
	if j := raw.Backoff.Jitter; j != nil && !(*j >= 0 && *j <= 1) {
		v.bad(join(backoff, "jitter"), "write 0.1 for 10 %", "%v is not between 0 and 1", *j)
	}
	if starts := join(limit, "starts"); raw.Limit.Starts < 0 || raw.Limit.Starts == 0 && v.isSet(starts) {
		v.bad(starts, "", "%d is not above 0", raw.Limit.Starts)
	}
	v.positive(join(limit, "within"), raw.Limit.Within)
	v.notNegative(join(limit, "retry_every"), raw.Limit.RetryEvery)
}

func (v *validator) serviceStop(path string, s supervisor.Stop) {
	if s.Signal != "" {
		if _, err := supervisor.ParseSignal(s.Signal); err != nil {
			v.bad(join(path, "signal"), didYouMean(s.Signal, signalNames()), "%s", err)
		}
	}
	v.positive(join(path, "timeout"), s.Timeout)
}
