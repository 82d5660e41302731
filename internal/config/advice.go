package config

import (
	"reflect"
	"slices"
	"strings"

	"github.com/stoker-init/stoker/hooks/plugin"
	"github.com/stoker-init/stoker/internal/layeredyaml"
	"github.com/stoker-init/stoker/internal/lazyregexp"
	"github.com/stoker-init/stoker/internal/proc"
	"github.com/stoker-init/stoker/internal/redact"
	"github.com/stoker-init/stoker/internal/suggest"
	"github.com/stoker-init/stoker/jvm"
	"github.com/stoker-init/stoker/jvm/tomcat"
	"github.com/stoker-init/stoker/supervisor"
)

// foreignKey is the advice for keys of Supervisor, compose, systemd or Kubernetes, and for
// keys of stoker in the wrong section.
type foreignKey struct {
	keys  string // folded as by package suggest
	write string // a template, see adviser.fill; empty: nothing takes the key's place
	note  string
	top   bool // write stands at the top of the file
}

// topKeys are about keys at the top of the file.
var topKeys = []foreignKey{
	{"programs apps processes service unit", serviceExample, "", true},
	{"version", "", "the file has no version, and no keys of your own", false},
	{"networks volumes configs secrets supervisord supervisorctl unixhttpserver inethttpserver install", "",
		"it belongs to another program (compose, Supervisor or systemd)", false},
}

// serviceExample is the smallest configuration.
const serviceExample = `services: {app: {command: ["PROGRAM", "ARGUMENT"]}}`

// serviceKeys are about keys of a service.
var serviceKeys = []foreignKey{
	// Sections of stoker that belong to the top.
	{"hooks", `hooks: {ready: [{name: tell, command: ["PROGRAM"], services: [<service>]}]}`, "services names the services of the hook", true},
	{"jvm javaopts jvmoptions jvmopts", `jvm: {user: {options: ["-Dname=value"]}}`, "it applies to all services", true},
	{"log loglevel", "log: {level: info}", "it is stoker's own log; a service has output", true},
	{"labels", "labels: {NAME: VALUE}", "they belong to the whole container", true},
	{"main", "main: <service>", "", true},
	{"plugins api reload services", "<key>: {}", "it belongs to no single service", true},
	// What is started, and when.
	{"execstart entrypoint cmd exec program script", "command: [<command>]", "", false},
	{"execstartpre execcondition", "hooks: {pre-start: [{name: <service>, command: [<command>], on_failure: fail, services: [<service>]}]}",
		"", true},
	{"execstartpost", "hooks: {started: [{name: <service>, command: [<command>], services: [<service>]}]}", "", true},
	{"execstoppost", "hooks: {stopped: [{name: <service>, command: [<command>], services: [<service>]}]}", "", true},
	{"startsecs", "restart: {backoff: {reset: <seconds 10s>}}", "after that time it counts as stable; ready says when it is started", false},
	{"timeoutstartsec starttimeout", "ready: {within: <seconds 90s>}", "", false},
	{"dependson wants bindsto requisite upholds", "requires: [<names other>]", "it is started when they are RUNNING", false},
	{"requires after", "<key>: [<names other>]", "", false},
	{"priority before", "after: [other]", "name the services that start before this one", false},
	{"type", "", "the program stays in the foreground; ready says when it is started", false},
	{"healthcheck livenessprobe", "live: {exec: [<command>], every: 10s, timeout: 5s, failures: 3}",
		"ready says when it is started, live that it hangs; both can ask http, tcp, exec or file", false},
	{"readinessprobe startupprobe", "ready: {exec: [<command>], every: 10s, timeout: 5s}",
		"ready says when it is started, live that it hangs; both can ask http, tcp, exec or file", false},
	{"watchdogsec", `live: {exec: ["PROGRAM"], every: <seconds 10s>}`, "it is probed, and does not report by itself", false},
	// Its end.
	{"autorestart restart restartpolicy", "restart: {<policy>}", "", false},
	{"startretries startlimitburst", "restart: {limit: {starts: <number 3>, retry_every: 0s}}",
		"0s gives up then, as there; without it the service is tried again every 5m", false},
	{"startlimitintervalsec startlimitinterval", "restart: {limit: {within: <seconds 10m>}}", "", false},
	{"restartsec", "restart: {backoff: {first: <seconds 1s>, max: <seconds 1s>}}", "with a larger max the wait doubles up to it", false},
	{"exitcodes successexitstatus restartpreventexitstatus", "success_codes: [<codes 0>]", "", false},
	{"stopsignal killsignal", "stop: {signal: <word TERM>}", "", false},
	{"stopwaitsecs stopgraceperiod timeoutstopsec stoptimeout terminationgraceperiodseconds", "stop: {timeout: <seconds 10s>}",
		"the container's own stop.timeout must be longer", false},
	{"execstop", "stop: {command: [<command>]}", "", false},
	{"stopasgroup killasgroup killmode sendsigkill", "",
		"the signal always goes to the whole process group, and KILL to all processes of the service", false},
	// Its output.
	{"stdoutlogfilemaxbytes stderrlogfilemaxbytes", "output: {file: {path: /var/log/app.log, size: <word 50MiB>}}", "", false},
	{"stdoutlogfilebackups stderrlogfilebackups", "output: {file: {path: /var/log/app.log, files: <number 10>}}", "", false},
	{"redirectstderr", "output: {merge: true}", "one pipe for both streams keeps their order; without it stderr stays apart", false},
	// Its process.
	{"environment envs", `env: {NAME: "VALUE"}`, "names and values as a section", false},
	{"envfile environmentfile", "env_files: [<absolute /app/app.env>]", "", false},
	{"directory workingdir workingdirectory cwd", "dir: <absolute /app>", "", false},
	{"group", "user: USER:<word GROUP>", "", false},
	{"groupadd supplementarygroups", "groups: [<items GROUP>]", "", false},
	{"ulimits", `rlimits: {nofile: "1024:4096"}`, "the soft and the hard limit", false},
	{"limitnofile limitnproc limitcore limitmemlock limitas limitstack limitfsize limitcpu limitdata", "rlimits: {<limit 1024>}", "", false},
	{"oomscoreadjust", "oom_score_adj: <number 0>", "", false},
	{"capdrop", "drop_capabilities: [<items ALL>]", "", false},
	{"capabilityboundingset", "drop_capabilities: [NET_RAW]", "these are dropped, not kept", false},
	{"securityopt", "no_new_privileges: true", "", false},
	{"memlimit memorymax memory", "cgroup: {memory: <word 512MiB>}", "", false},
	{"cpus", "cgroup: {cpus: <word 1.5>}", "a number of CPUs", false},
	{"cpuquota", "cgroup: {cpus: 1.5}", "a number of CPUs", false},
	{"ioniceschedulingclass ioschedulingclass", "ionice: <word idle>", "", false},
	// What has no counterpart.
	{"numprocs numprocsstart replicas scale processname", "", "write a service for each process, each with a name of its own", false},
	{"image build containername ports expose volumes networks networkmode deploy logging hostname privileged init tty stdinopen readonly " +
		"tmpfs sysctls capadd dns extrahosts pullpolicy platform profiles links devices shmsize pid ipc", "",
		"it belongs to the start of the container; a service is a process in it", false},
	{"pidfile remainafterexit execreload stdouteventsenabled stderreventsenabled stdoutcapturemaxbytes stderrcapturemaxbytes stdoutsyslog " +
		"stderrsyslog serverurl notifyaccess syslogidentifier wantedby description documentation", "",
		"there is no counterpart, and none is needed", false},
}

// probeKeys are about keys of ready and live.
var probeKeys = []foreignKey{
	{"test command cmd", "exec: [<command>]", "", false},
	{"url httpget path", "http: http://127.0.0.1:8080/health", "", false},
	{"port tcpsocket", "tcp: 127.0.0.1:<number 8080>", "", false},
	{"interval period periodseconds", "every: <seconds 10s>", "", false},
	{"timeoutseconds", "timeout: <seconds 5s>", "", false},
	{"retries failurethreshold", "failures: <number 3>", "of live; ready has within, the time that a start may take", false},
	{"startperiod initialdelay initialdelayseconds", "",
		"live begins when the service is ready; ready.within is the time that a start may take", false},
}

// adviseKey is the advice for a key that the section of type t at path lacks.
func adviseKey(t reflect.Type, path, key string, v layeredyaml.Value) (layeredyaml.Advice, bool) {
	a := adviser{service: layeredyaml.LastKey(path), key: suggest.Fold(key), value: v}
	switch t {
	case reflect.TypeFor[Config]():
		name, isProgram := strings.CutPrefix(strings.ToLower(key), "program:")
		switch {
		case layeredyaml.HasKey(reflect.TypeFor[Service](), key):
			return layeredyaml.Advice{Write: serviceExample, Top: true, Note: key + " belongs to a service"}, true
		case isProgram:
			a.service = strings.TrimSpace(name)
			return layeredyaml.Advice{Write: a.fill("services: {<service>: {command: [<command>]}}"), Top: true}, true
		case strings.HasPrefix(key, "x-"):
			a.key = "version"
		}
		return a.lookUp(topKeys)
	case reflect.TypeFor[Service]():
		if advice, ok := a.special(); ok {
			return advice, true
		}
		return a.lookUp(serviceKeys)
	case reflect.TypeFor[supervisor.Live](), reflect.TypeFor[supervisor.Ready]():
		return a.lookUp(probeKeys)
	}
	return layeredyaml.Advice{}, false
}

// adviser makes advice about a value that was written for a foreign key.
type adviser struct {
	service, key string
	value        layeredyaml.Value
}

func (a adviser) lookUp(table []foreignKey) (layeredyaml.Advice, bool) {
	for _, k := range table {
		if slices.Contains(strings.Fields(k.keys), a.key) {
			return layeredyaml.Advice{Write: a.fill(k.write), Top: k.top, Note: k.note}, true
		}
	}
	return layeredyaml.Advice{}, false
}

// special is about keys whose advice depends on the value.
func (a adviser) special() (layeredyaml.Advice, bool) {
	text := a.value.Text()
	switch a.key {
	case "type":
		return layeredyaml.Advice{Write: "oneshot: true"}, strings.EqualFold(text, "oneshot")
	case "stdoutlogfile", "stderrlogfile", "standardoutput", "standarderror", "logfile":
		for _, prefix := range []string{"file:", "append:", "truncate:"} {
			text = strings.TrimPrefix(text, prefix)
		}
		switch {
		case strings.EqualFold(text, "none") || text == "null":
			return layeredyaml.Advice{Write: "output: {format: none}", Note: "that is both streams"}, true
		case !strings.HasPrefix(text, "/") || noLogFile().MatchString(text):
			return layeredyaml.Advice{Note: "output goes to the container's own output and to `stoker logs` anyway"}, true
		}
		return layeredyaml.Advice{Write: "output: {file: {path: " + logPath(text) + "}}",
			Note: "both streams go there, and to the container's output (output.format: none: not to that)"}, true
	}
	return layeredyaml.Advice{}, false
}

// sections are how one value is written as a section, by the section's type; templates.
var sections = map[reflect.Type]string{
	reflect.TypeFor[Service]():                  "command: [<command>]",
	reflect.TypeFor[plugin.Action]():            "command: [<command>]",
	reflect.TypeFor[supervisor.Restart]():       "<policy>",
	reflect.TypeFor[supervisor.BackoffConfig](): "first: <seconds 1s>",
	reflect.TypeFor[supervisor.Limit]():         "starts: <number 5>",
	reflect.TypeFor[supervisor.Stop]():          "timeout: <seconds 8s>",
	reflect.TypeFor[Stop]():                     "timeout: <seconds 8s>",
	reflect.TypeFor[supervisor.Ready]():         "tcp: 127.0.0.1:<number 8080>",
	reflect.TypeFor[supervisor.Live]():          "tcp: 127.0.0.1:<number 8080>",
	reflect.TypeFor[supervisor.Output]():        "file: {path: <log>}",
	reflect.TypeFor[supervisor.OutputFile]():    "path: <log>",
	reflect.TypeFor[supervisor.Cgroup]():        "memory: <word 512MiB>",
	reflect.TypeFor[Log]():                      "level: <word info>",
	reflect.TypeFor[tomcat.Config]():            "home: <word /usr/share/tomcat>",
	reflect.TypeFor[Java]():                     "jar: <word /app/app.jar>",
	reflect.TypeFor[jvm.Config]():               "user: {options: [<argument>]}",
}

// noLogFile matches paths that lead to the container's output.
var noLogFile = lazyregexp.New(`^/(dev|proc)/`)

var keyWithoutBlank = lazyregexp.New(`^([A-Za-z_][\w-]*):(\S+)$`)

// adviseSection is how a value in the place of a section of type t is written as one;
// empty: that is not known.
func adviseSection(t reflect.Type, path string, v layeredyaml.Value) string {
	a := adviser{key: layeredyaml.LastKey(path), value: v}
	text := v.Text()
	if m := keyWithoutBlank().FindStringSubmatch(text); m != nil && v.IsPlain() && layeredyaml.HasKey(t, m[1]) {
		return "put a space after the colon: " + m[1] + ": " + word(m[2])
	}
	template := sections[t]
	_, notSignal := proc.ParseSignal(text)
	switch {
	case t == reflect.TypeFor[map[string]string]() && a.key == "env":
		return `write env: {NAME: "VALUE"}`
	case v.IsList() && a.key == "secrets":
		template = "NAME: /run/secrets/NAME"
	case v.IsList() && t != reflect.TypeFor[Service](), !v.IsList() && !v.IsText():
		return ""
	case t == reflect.TypeFor[Config]():
		return "write keys with a colon, as in " + serviceExample
	case t == reflect.TypeFor[supervisor.Stop]() && notSignal == nil && a.fill("<number>") == "":
		template = "signal: " + word(text)
	case strings.HasPrefix(template, "tcp:") && strings.HasPrefix(redact.Arg(text), "http"):
		template = "http: <argument>"
	case t == reflect.TypeFor[supervisor.Output]() &&
		slices.Contains([]string{supervisor.OutputRaw, supervisor.OutputPrefix, supervisor.OutputJSON, supervisor.OutputNone}, text):
		template = "format: " + text
	}
	if template == "" {
		return ""
	}
	return "write " + word(a.key) + ": {" + a.fill(template) + "}"
}
