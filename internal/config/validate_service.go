package config

import (
	"fmt"
	"maps"
	"os"
	"path"
	"reflect"
	"slices"
	"strings"
	"syscall"

	"github.com/stoker-init/stoker/internal/layeredyaml"
	"github.com/stoker-init/stoker/internal/lazyregexp"
	"github.com/stoker-init/stoker/internal/logfile"
	"github.com/stoker-init/stoker/internal/logs"
	"github.com/stoker-init/stoker/internal/printable"
	"github.com/stoker-init/stoker/internal/proc"
	"github.com/stoker-init/stoker/jvm"
	"github.com/stoker-init/stoker/jvm/tomcat"
	"github.com/stoker-init/stoker/supervisor"
	"github.com/stoker-init/stoker/supervisor/probe"
)

// AllServices means every service in a command.
const AllServices = "all"

// maxServiceName bounds a service's name, in bytes.
const maxServiceName = 64

func (v *validator) services() {
	for _, name := range slices.Sorted(maps.Keys(v.raw.Services)) {
		path := layeredyaml.Join("services", name)
		v.serviceName(path, name)
		raw, cfg := v.raw.Services[name], v.cfg.Services[name]
		v.kind(path, raw, cfg)
		v.process(path, raw)
		v.successSignals(path, raw)
		v.restart(layeredyaml.Join(path, "restart"), raw.Restart, cfg.Restart)
		v.oneshot(path, raw)
		v.output(layeredyaml.Join(path, "output"), raw.Output, cfg.Output)
	}
	v.order()
	v.outputFiles()
}

func (v *validator) serviceName(path, name string) {
	const rule = "use small letters, digits, _ . -, and begin with a letter or digit"
	switch {
	case len(name) > maxServiceName:
		v.Bad(path, "", "the name has %d bytes, and %d are allowed", len(name), maxServiceName)
	case strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789_.-") != "" || strings.ContainsAny(name[:min(1, len(name))], "_.-") ||
		name == "":
		v.Bad(path, rule, "%s is not a service name", layeredyaml.Quote("", name))
	case name == AllServices:
		v.Bad(path, "give it another name", "%s is reserved: commands use it for all services", layeredyaml.Quote("", name))
	}
}

// kind checks what belongs to one kind of service and to no other.
func (v *validator) kind(path string, raw, cfg Service) {
	kindPath := layeredyaml.Join(path, "kind")
	if v.AlreadyReported(kindPath) || raw.Kind == "" && v.IsMeant(kindPath) {
		return
	}
	command := layeredyaml.Join(path, "command")
	switch {
	case cfg.Kind != KindProcess && (len(raw.Command) > 0 || v.IsSet(command)):
		v.Missing(command, "remove it, or write kind: process", "a service of kind %s builds its own command", cfg.Kind)
	case cfg.Kind == KindProcess && len(raw.Command) == 0:
		v.Missing(command, `write ["program", "argument"], or a kind: java or tomcat`, "a service of kind process needs a command")
	case cfg.Kind == KindProcess:
		v.program(command, raw.Command)
	}
	switch cfg.Kind {
	case KindJava:
		v.java(layeredyaml.Join(path, "java"), raw.Java)
	case KindTomcat:
		v.tomcat(layeredyaml.Join(path, "tomcat"), raw.Tomcat)
	}
	for kind, section := range map[string]any{KindJava: raw.Java, KindTomcat: raw.Tomcat} { // a section has its kind's name
		if cfg.Kind != kind && !reflect.ValueOf(section).IsZero() {
			v.Missing(layeredyaml.Join(path, kind), "write kind: "+kind, "the service's kind is %s", cfg.Kind)
		}
	}
}

func (v *validator) java(path string, j Java) {
	jar, main := layeredyaml.Join(path, "jar"), layeredyaml.Join(path, "main")
	if v.Refused(jar, main) {
		return
	}
	switch {
	case j.Jar != "" && j.Main != "":
		v.Bad(main, "remove one of the two", "jar and main are both set")
	case j.Jar == "" && j.Main == "":
		v.Missing(path, "set java.jar or java.main", "a service of kind java needs a jar or a main class")
	}
}

func (v *validator) tomcat(path string, t tomcat.Config) {
	for i, context := range t.Contexts {
		if context != "" && !strings.HasPrefix(context, "/") {
			v.Bad(layeredyaml.Index(layeredyaml.Join(path, "contexts"), i), `write "/`+printable.Line(layeredyaml.Shorten(context))+`"`,
				"%s is not a context path", layeredyaml.Quote("", context))
		}
	}
}

func (v *validator) restart(path string, raw, cfg supervisor.Restart) {
	backoff := layeredyaml.Join(path, "backoff")
	first, most := *cfg.Backoff.First, cfg.Backoff.Max
	if first > most && most > 0 && !v.AlreadyReported(layeredyaml.Join(backoff, "max")) {
		v.Bad(layeredyaml.Join(backoff, "first"), "raise max or lower first", "%s is more than max, %s", first, most)
	}
	// Written so that NaN, which a file cannot hold but a caller can, fails too.
	if factor := layeredyaml.Join(backoff, "factor"); !(raw.Backoff.Factor >= 1) && (raw.Backoff.Factor != 0 || v.IsSet(factor)) {
		v.Bad(factor, "", "%v is less than 1: the wait would shrink", raw.Backoff.Factor)
	}
	if j := raw.Backoff.Jitter; j != nil && !(*j >= 0 && *j <= 1) {
		v.Bad(layeredyaml.Join(backoff, "jitter"), "write 0.1 for 10 %", "%v is not between 0 and 1", *j)
	}
}

// successSignals checks the signals whose deadly effect is a success.
func (v *validator) successSignals(path string, s Service) {
	for i, name := range s.SuccessSignals {
		at := layeredyaml.Index(layeredyaml.Join(path, "success_signals"), i)
		v.signal(at, name)
		if sig, _ := proc.ParseSignal(name); sig == syscall.SIGKILL {
			v.Warn(at, "", "the kernel sends KILL to a process that is out of memory: that would count as success")
		}
	}
}

// oneshot refuses what contradicts oneshot.
func (v *validator) oneshot(path string, s Service) {
	if !s.Oneshot {
		return
	}
	if s.Kind == KindTomcat {
		v.Bad(layeredyaml.Join(path, "oneshot"), "remove it", "a Tomcat does not end by itself")
	}
	if s.Restart.Policy == supervisor.Always {
		v.Bad(layeredyaml.Join(path, "restart", "policy"), "write on-failure or never", "a oneshot with the policy always is never done")
	}
}

// process checks the environment and the limits of a service's process.
func (v *validator) process(path string, s Service) {
	v.env(layeredyaml.Join(path, "env"), s.Env, s.Secrets, func(name string) bool {
		return s.Kind == KindTomcat && tomcat.Evaluates(name)
	})
	v.secrets(path, s)
	// Written so that NaN fails too.
	if at := layeredyaml.Join(path, "cgroup", "cpus"); !(s.Cgroup.CPUs > 0) && (s.Cgroup.CPUs != 0 || v.IsSet(at)) {
		v.Bad(at, "remove the key for no limit of its own", "%v is not above 0", s.Cgroup.CPUs)
	}
}

// secrets checks the paths of secret files. A value that is no path is not repeated: it may
// be the secret itself.
func (v *validator) secrets(path string, s Service) {
	for _, name := range slices.Sorted(maps.Keys(s.Secrets)) {
		at, env := layeredyaml.Join(path, "secrets", name), layeredyaml.Join(path, "env", name)
		v.envName(at, name)
		if !strings.HasPrefix(s.Secrets[name], "/") {
			v.Bad(at, "write the path of a file that holds it", "the value is not an absolute path")
		} else {
			v.literal(at, s.Secrets[name])
		}
		if _, both := s.Env[name]; both {
			v.Bad(at, "remove one of the two", "is set in env too%s", v.Where(env))
		}
	}
}

// probeReport is the report of the probe in the section at path.
type probeReport struct {
	*validator
	path string
}

// Bad reports a wrong value.
func (r probeReport) Bad(key, hint, format string, args ...any) {
	r.validator.Bad(layeredyaml.Join(r.path, key), hint, format, args...)
}

// Missing reports that key cannot be used because other is not set.
func (r probeReport) Missing(key, other, why string) {
	r.validator.Missing(layeredyaml.Join(r.path, key), "set "+layeredyaml.LastKey(r.path)+"."+other, "%s", why)
}

// Unused warns that key has no effect because other is not set.
func (r probeReport) Unused(key, other, why string) {
	r.Warn(layeredyaml.Join(r.path, key), "set "+layeredyaml.LastKey(r.path)+"."+other, "%s", why)
}

// Refused reports whether key, or a misspelling of it, was refused already.
func (r probeReport) Refused(key string) bool {
	return r.validator.Refused(layeredyaml.Join(r.path, key))
}

// probes checks what belongs together in probes.
func (v *validator) probes() {
	for _, name := range slices.Sorted(maps.Keys(v.raw.Services)) {
		raw := v.raw.Services[name]
		v.ready(ServicePath(name, "ready"), raw)
		v.live(ServicePath(name, "live"), raw, v.cfg.Services[name])
	}
}

func (v *validator) ready(path string, s Service) {
	s.Ready.Validate(probeReport{v, path})
	if s.Oneshot && (s.Ready.IsSet() || s.Ready.Log != "") {
		v.Warn(path, "remove it, or remove oneshot", "a oneshot has no readiness: it has done its work when it has ended")
	}
}

func (v *validator) live(path string, raw, cfg Service) {
	report := probeReport{v, path}
	raw.Live.Validate(report)
	var untouched supervisor.Live
	layeredyaml.SetDefaults(&untouched)
	timeout, every := cfg.Live.Timeout, cfg.Live.Every
	switch {
	case raw.Oneshot && !reflect.ValueOf(raw.Live).IsZero():
		v.Bad(path, "remove it, or remove oneshot", "a oneshot is expected to end: it has no live")
	case raw.Oneshot:
	case !raw.Live.IsSet() && !reflect.DeepEqual(cfg.Live, untouched) && !slices.ContainsFunc(probe.Keys(), report.Refused):
		v.Warn(path, "set live."+strings.Join(probe.Keys(), " or live."), "there is no liveness probe: no kind is set")
	case raw.Live.IsSet() && timeout > every && every > 0:
		v.Warn(layeredyaml.Join(path, "timeout"), "lower it to "+layeredyaml.ShortDuration(every)+" or less",
			"%s is more than every, %s: a service that hangs is found later than every and failures say",
			layeredyaml.ShortDuration(timeout), layeredyaml.ShortDuration(every))
	}
}

func (v *validator) output(at string, raw, cfg supervisor.Output) {
	if n, _ := jvm.ParseMemory(raw.Keep); n > logs.MaxKeep {
		v.Bad(layeredyaml.Join(at, "keep"), "it is memory: write the rest to output.file", "%s is more than %d MiB", layeredyaml.Quote("",
			raw.Keep), logs.MaxKeep>>20)
	}
	file := layeredyaml.Join(at, "file")
	name := layeredyaml.Join(file, "path")
	if p := raw.File.Path; strings.HasPrefix(p, "/") && (strings.HasSuffix(p, "/") || path.Clean(p) == "/") {
		v.Bad(name, "add the file's name", "%s is a folder", layeredyaml.Quote(name, p))
	} else if what := logfile.NotAFile(p); what != "" {
		v.Bad(name, notAFileHint(p), "%s is %s, and only an ordinary file is written to", layeredyaml.Quote(name, p), what)
	}
	full, _ := jvm.ParseMemory(cfg.File.Size) // of a wrong size 0
	if total, err := jvm.ParseMemory(raw.File.Total); err == nil && total < full {
		v.Bad(layeredyaml.Join(file, "total"), "raise total or lower size", "%s is less than the size of one file, %s", raw.File.Total,
			cfg.File.Size)
	}
	if raw.File.Path == "" && raw.File != (supervisor.OutputFile{}) && !v.AlreadyReported(name) {
		v.Missing(name, "set output.file.path", "no file is written without it")
	}
}

// streamFile matches paths of the streams of a process.
var streamFile = lazyregexp.New(`^/(dev/(std|fd/|tty|console)|proc/)`)

// notAFileHint is the hint for a path that is not an ordinary file.
func notAFileHint(path string) string {
	if path == os.DevNull {
		return "remove output.file, and set output.format: none to have the output nowhere but in `stoker logs`"
	}
	if streamFile().MatchString(path) {
		return "remove output.file: the output goes to the container's own stdout and stderr anyway (output.format says how)"
	}
	return "name a file in a folder of its own, such as /var/log/app/out.log"
}

const outputFile = "output.file.path"

// outputFiles refuses two services that write the same file, including the names of rotated
// files.
func (v *validator) outputFiles() {
	writers := map[string]string{} // cleaned path -> service
	for _, name := range slices.Sorted(maps.Keys(v.cfg.Services)) {
		f := v.cfg.Services[name].Output.File
		if !strings.HasPrefix(f.Path, "/") {
			continue
		}
		at, clean := ServicePath(name, outputFile), path.Clean(f.Path)
		if other, taken := writers[clean]; taken {
			v.Bad(at, "give each service a file of its own", "service %s writes this file too%s", other, v.Where(ServicePath(other, outputFile)))
			continue
		}
		writers[clean] = name
	}
	for _, clean := range slices.Sorted(maps.Keys(writers)) {
		name := writers[clean]
		for n := 1; n <= min(v.cfg.Services[name].Output.File.Files, 1000); n++ {
			if other, taken := writers[fmt.Sprintf("%s.%d", clean, n)]; taken {
				v.Bad(ServicePath(other, outputFile), "choose another name", "a full file of service %s gets this name%s", name,
					v.Where(ServicePath(name, outputFile)))
			}
		}
	}
}

// edge is a dependency between services.
type edge struct {
	from, to string
	path     string // of the name in the list
	verb     string // "requires", "is after"
}

// order checks that requires and after name services, and have no cycle.
func (v *validator) order() {
	names := slices.Sorted(maps.Keys(v.cfg.Services))
	edges := map[string][]edge{}
	for _, name := range names {
		add := func(verb, key string, names []string) {
			for i, to := range names {
				if e := (edge{name, to, layeredyaml.Index(ServicePath(name, key), i), verb}); v.edge(e) {
					edges[name] = append(edges[name], e)
				}
			}
		}
		add("requires", "requires", v.raw.Services[name].Requires)
		add("is after", "after", v.raw.Services[name].After)
	}
	for _, cycle := range cycles(names, edges) {
		steps := make([]string, len(cycle))
		for i, e := range cycle {
			steps[i] = fmt.Sprintf("%s %s %s%s", e.from, e.verb, e.to, v.Where(e.path))
		}
		v.Bad(cycle[0].path, "remove one of these", "the services wait for each other: %s", strings.Join(steps, ", "))
	}
}

// edge checks one dependency; false: it is wrong.
func (v *validator) edge(e edge) bool {
	if e.to == e.from {
		v.Bad(e.path, "remove it", "the service %s itself", e.verb)
		return false
	}
	if !v.service(e.path, e.to) {
		return false
	}
	to := v.cfg.Services[e.to]
	if e.verb == "requires" && !to.Oneshot && to.Restart.Policy == supervisor.Never {
		v.Warn(e.path, "write oneshot: true for "+e.to+" if it is to end, else another restart.policy",
			"%s is not started again when it has ended (restart.policy never%s), and %s cannot start from then on",
			e.to, v.Where(layeredyaml.Join("services", e.to)+".restart.policy"), e.from)
	}
	return true
}

// cycles finds a shortest cycle through each service that is in one, but in none found before.
func cycles(names []string, edges map[string][]edge) [][]edge {
	var out [][]edge
	found := map[string]bool{}
	for _, name := range names {
		if found[name] {
			continue
		}
		if cycle := shortestCycle(name, edges); cycle != nil {
			out = append(out, cycle)
			for _, e := range cycle {
				found[e.from] = true
			}
		}
	}
	return out
}

// shortestCycle goes breadth first from a service back to it.
func shortestCycle(start string, edges map[string][]edge) []edge {
	by := map[string]edge{} // how a service was reached
	for queue := []string{start}; len(queue) > 0; queue = queue[1:] {
		for _, e := range edges[queue[0]] {
			if e.to == start {
				cycle := []edge{e}
				for at := e.from; at != start; at = by[at].from {
					cycle = append(cycle, by[at])
				}
				slices.Reverse(cycle)
				return cycle
			}
			if _, reached := by[e.to]; !reached {
				by[e.to] = e
				queue = append(queue, e.to)
			}
		}
	}
	return nil
}
