package config

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"syscall"

	"github.com/stoker-init/stoker/internal/printable"
	"github.com/stoker-init/stoker/internal/proc"
	"github.com/stoker-init/stoker/jvm/tomcat"
	"github.com/stoker-init/stoker/supervisor"
)

// AllServices means all of them where a command takes names.
const AllServices = "all"

// maxServiceName bounds a service's name, in bytes.
const maxServiceName = 64

func (v *validator) services() {
	for _, name := range slices.Sorted(maps.Keys(v.raw.Services)) {
		path := join("services", name)
		v.serviceName(path, name)
		raw, cfg := v.raw.Services[name], v.cfg.Services[name]
		v.kind(path, raw, cfg)
		v.surroundings(path, raw)
		v.limits(path, raw)
		v.successes(path, raw)
		v.ready(join(path, "ready"), raw)
		v.live(join(path, "live"), raw, cfg)
		v.restart(join(path, "restart"), raw.Restart, cfg.Restart)
		v.oneshot(path, raw)
		v.serviceStop(join(path, "stop"), raw.Stop)
		v.output(join(path, "output"), raw.Output, cfg.Output)
	}
	v.order()
	v.outputFiles()
}

func (v *validator) serviceName(path, name string) {
	const rule = "a name has small letters, digits, _ . -, and begins with a letter or digit"
	switch {
	case len(name) > maxServiceName:
		v.bad(path, "", "the name has %d bytes, and %d are allowed", len(name), maxServiceName)
	case strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789_.-") != "" || strings.ContainsAny(name[:min(1, len(name))], "_.-") || name == "":
		v.bad(path, rule, "%s is not a service name", quote("", name))
	case name == AllServices:
		v.bad(path, "give it another name", "%s is no name for a service: commands mean every service by it", quote("", name))
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
	case cfg.Kind == KindProcess:
		v.program(command, raw.Command)
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
	v.literal(join(path, "home"), j.Home)
	v.literal(jar, j.Jar)
	v.literal(main, j.Main)
	v.eachLiteral(join(path, "classpath"), j.Classpath)
	v.eachLiteral(join(path, "args"), j.Args)
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
	v.literal(join(path, "java"), t.Java)
	v.oneOf(join(path, "setenv"), t.Setenv, tomcat.SetenvImport, tomcat.SetenvIgnore, tomcat.SetenvRefuse)
	for i, context := range t.Contexts {
		if context != "" && !strings.HasPrefix(context, "/") {
			v.bad(index(join(path, "contexts"), i), `write "/`+printable.Line(bounded(context))+`"`, "%s is not a context path",
				quote("", context))
		}
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
	v.exitCodes(join(limit, "uncounted_codes"), raw.Limit.UncountedCodes)
}

func (v *validator) serviceStop(path string, s supervisor.Stop) {
	if s.Signal != "" {
		v.signal(join(path, "signal"), s.Signal)
	}
	v.program(join(path, "command"), s.Command)
	v.notNegative(join(path, "drain"), &s.Drain)
	v.positive(join(path, "timeout"), s.Timeout)
}

func (v *validator) signal(path, name string) (syscall.Signal, bool) {
	sig, err := proc.ParseSignal(name)
	if err != nil {
		v.bad(path, didYouMean(name, signalNames()), "%s", err)
	}
	return sig, err == nil
}

func (v *validator) exitCodes(path string, codes []int) {
	for i, code := range codes {
		if code < 0 || code > 255 {
			v.bad(index(path, i), "", "%d is not an exit code: they go from 0 to 255", code)
		}
	}
}

// successes checks which ends count as success.
func (v *validator) successes(path string, s Service) {
	v.exitCodes(join(path, "success_codes"), s.SuccessCodes)
	for i, name := range s.SuccessSignals {
		at := index(join(path, "success_signals"), i)
		if sig, ok := v.signal(at, name); ok && sig == syscall.SIGKILL {
			v.warn(at, "", "the kernel sends KILL to a process that needs too much memory: that counts as success then")
		}
	}
}

// oneshot refuses what does not go with a service that ends.
func (v *validator) oneshot(path string, s Service) {
	if !s.Oneshot {
		return
	}
	if s.Kind == KindTomcat {
		v.bad(join(path, "oneshot"), "remove it", "a Tomcat does not do its work and end")
	}
	if s.Restart.Policy == supervisor.Always {
		v.bad(join(join(path, "restart"), "policy"), "write on-failure or never", "a oneshot that is always started again is never done")
	}
}
