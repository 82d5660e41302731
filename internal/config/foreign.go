package config

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/stoker-init/stoker/hooks/plugin"
	"github.com/stoker-init/stoker/internal/lifecycle"
	"github.com/stoker-init/stoker/internal/proc"
	"github.com/stoker-init/stoker/internal/redact"
	"github.com/stoker-init/stoker/internal/suggest"
	"github.com/stoker-init/stoker/jvm"
	"github.com/stoker-init/stoker/jvm/tomcat"
	"github.com/stoker-init/stoker/supervisor"
	"go.yaml.in/yaml/v3"
)

// advice is what to write in the place of a key of Supervisor, compose or systemd, or
// of one of ours in the wrong section.
type advice struct {
	write string // a line of our own; empty: nothing takes the key's place
	top   bool   // the line stands at the top of the file, not where the key stood
	why   string // what else there is to know; empty: nothing
}

func (a advice) hint() string {
	out := "write " + a.write
	switch {
	case a.write == "":
		out = "remove it"
	case a.top:
		out = "write at the top of the file " + a.write
	}
	if a.why != "" {
		out += "; " + a.why
	}
	return out
}

// foreign is the advice for a key that the section of type t lacks. around is the
// section's path.
func foreign(t reflect.Type, around string, e entry) (advice, bool) {
	value := example(e.value)
	switch t {
	case reflect.TypeFor[Config]():
		return foreignAtTop(e.key, value)
	case reflect.TypeFor[Service]():
		all := []func(service, key string, n *yaml.Node) (advice, bool){misplaced, ofStart, ofEnd, ofOutput, ofProcess, withoutUse}
		for _, of := range all {
			if a, ok := of(lastKey(around), suggest.Fold(e.key), value); ok {
				return a, true
			}
		}
	case reflect.TypeFor[supervisor.Live](), reflect.TypeFor[supervisor.Ready]():
		return ofProbe(suggest.Fold(e.key), value)
	}
	return advice{}, false
}

// foreignAtTop is about a key at the top of the file.
func foreignAtTop(key string, n *yaml.Node) (advice, bool) {
	const example = `services: {app: {command: ["PROGRAM", "ARGUMENT"]}}`
	if _, ok := fieldNamed(reflect.TypeFor[Service](), key); ok {
		return advice{example, true, key + " belongs to a service"}, true
	}
	name, isProgram := strings.CutPrefix(strings.ToLower(key), "program:")
	switch {
	case isProgram:
		return advice{fmt.Sprintf("services: {%s: {command: [%s]}}", word(strings.TrimSpace(name)), commandIn(n)), true, ""}, true
	case slices.Contains([]string{"programs", "apps", "processes", "service", "unit"}, suggest.Fold(key)):
		return advice{example, true, ""}, true
	case suggest.Fold(key) == "version" || strings.HasPrefix(key, "x-"):
		return advice{why: "the file has no version, and no keys of one's own"}, true
	case slices.Contains([]string{"networks", "volumes", "configs", "secrets", "supervisord", "supervisorctl",
		"unixhttpserver", "inethttpserver", "install"}, suggest.Fold(key)):
		return advice{why: "it is another program's (compose, Supervisor or systemd)"}, true
	}
	return advice{}, false
}

// misplaced is about sections of the whole in a service.
func misplaced(service, key string, _ *yaml.Node) (advice, bool) {
	switch key {
	case "hooks":
		return advice{fmt.Sprintf(`hooks: {ready: [{name: tell, command: ["PROGRAM"], services: [%s]}]}`, word(service)), true,
			"services says whose hook it is"}, true
	case "jvm", "javaopts", "jvmoptions", "jvmopts":
		return advice{`jvm: {user: {options: ["-Dname=value"]}}`, true, "it is of all services"}, true
	case "log", "loglevel":
		return advice{"log: {level: info}", true, "it is stoker's own log; a service has output"}, true
	case "labels":
		return advice{"labels: {NAME: VALUE}", true, "they are of the whole container"}, true
	case "main":
		return advice{"main: " + word(service), true, ""}, true
	case "plugins", "api", "reload", "services":
		return advice{key + ": {}", true, "it belongs to no single service"}, true
	}
	return advice{}, false
}

// ofStart is about what is started, and when.
func ofStart(service, key string, n *yaml.Node) (advice, bool) {
	switch key {
	case "execstart", "entrypoint", "cmd", "exec", "program", "script":
		return advice{write: "command: [" + commandIn(n) + "]"}, true
	case "execstartpre", "execcondition":
		return hookAdvice(lifecycle.PreStart, service, n, "on_failure: fail, "), true
	case "execstartpost":
		return hookAdvice(lifecycle.Started, service, n, ""), true
	case "execstoppost":
		return hookAdvice(lifecycle.Stopped, service, n, ""), true
	case "startsecs":
		return advice{"restart: {backoff: {reset: " + seconds(n, "10s") + "}}", false,
			"after that time it counts as stable; ready says when it is started"}, true
	case "timeoutstartsec", "starttimeout":
		return advice{write: "ready: {within: " + seconds(n, "90s") + "}"}, true
	case "dependson", "wants", "bindsto", "requisite", "upholds":
		return advice{"requires: [" + namesIn(n, "other") + "]", false, "it is started when they are RUNNING"}, true
	case "requires", "after":
		return advice{write: key + ": [" + namesIn(n, "other") + "]"}, true
	case "priority", "before":
		return advice{"after: [other]", false, "order is said by names, in the service that comes later"}, true
	case "type":
		if strings.EqualFold(n.Value, "oneshot") {
			return advice{write: "oneshot: true"}, true
		}
		return advice{why: "the program stays in the foreground; ready says when it is started"}, true
	case "healthcheck", "livenessprobe":
		return healthcheck("live", n), true
	case "readinessprobe", "startupprobe":
		return healthcheck("ready", n), true
	case "watchdogsec":
		return advice{`live: {exec: ["PROGRAM"], every: ` + seconds(n, "10s") + "}", false,
			"it is asked, and does not report by itself"}, true
	}
	return advice{}, false
}

// ofEnd is about ends, wanted ones and others.
func ofEnd(_, key string, n *yaml.Node) (advice, bool) {
	switch key {
	case "autorestart", "restart", "restartpolicy":
		return advice{write: "restart: {" + policy(n.Value) + "}"}, true
	case "startretries", "startlimitburst":
		return advice{"restart: {limit: {starts: " + number(n, "3") + ", retry_every: 0s}}", false,
			"0s gives up then, as there; without it the service is tried again every 5m"}, true
	case "startlimitintervalsec", "startlimitinterval":
		return advice{write: "restart: {limit: {within: " + seconds(n, "10m") + "}}"}, true
	case "restartsec":
		first := seconds(n, "1s")
		if d, _, _ := parseDuration("", first); d > 30*time.Second { // the default of max
			first += ", max: " + first
		}
		return advice{"restart: {backoff: {first: " + first + "}}", false, "the wait doubles up to max"}, true
	case "exitcodes", "successexitstatus", "restartpreventexitstatus":
		return advice{write: "success_codes: [" + strings.Join(cmpList(items(n, digits), "0"), ", ") + "]"}, true
	case "stopsignal", "killsignal":
		return advice{write: "stop: {signal: " + cmpWord(strings.ToUpper(n.Value), "TERM") + "}"}, true
	case "stopwaitsecs", "stopgraceperiod", "timeoutstopsec", "stoptimeout", "terminationgraceperiodseconds":
		return advice{"stop: {timeout: " + seconds(n, "10s") + "}", false, "the container's own stop.timeout must be longer"}, true
	case "execstop":
		return advice{write: "stop: {command: [" + commandIn(n) + "]}"}, true
	case "stopasgroup", "killasgroup", "killmode", "sendsigkill":
		return advice{why: "the signal always goes to the whole process group, and KILL to all that came of the service"}, true
	}
	return advice{}, false
}

// ofOutput is about what a service writes.
func ofOutput(_, key string, n *yaml.Node) (advice, bool) {
	switch key {
	case "stdoutlogfile", "stderrlogfile", "standardoutput", "standarderror", "logfile":
		target := n.Value
		for _, prefix := range []string{"file:", "append:", "truncate:"} {
			target = strings.TrimPrefix(target, prefix)
		}
		switch {
		case strings.EqualFold(target, "none") || target == "null":
			return advice{"output: {format: none}", false, "that is both streams"}, true
		case !strings.HasPrefix(target, "/") || strings.HasPrefix(target, "/dev/") || strings.HasPrefix(target, "/proc/"):
			return advice{why: "output goes to the container's own output and to `stoker logs` anyway"}, true
		}
		return advice{"output: {file: {path: " + logPath(target) + "}}", false,
			"both streams go there, and to the container's output (output.format: none: not to that)"}, true
	case "stdoutlogfilemaxbytes", "stderrlogfilemaxbytes":
		return advice{write: "output: {file: {path: " + logPath("") + ", size: " + cmpWord(n.Value, "50MiB") + "}}"}, true
	case "stdoutlogfilebackups", "stderrlogfilebackups":
		return advice{write: "output: {file: {path: " + logPath("") + ", files: " + number(n, "10") + "}}"}, true
	case "redirectstderr":
		return advice{"output: {merge: true}", false, "one pipe for both streams keeps their order; without it stderr stays apart"}, true
	}
	return advice{}, false
}

// ofProcess is about what a process is started with.
func ofProcess(_, key string, n *yaml.Node) (advice, bool) {
	switch key {
	case "environment", "envs":
		return advice{"env: " + envIn(n), false, "names and values as a section"}, true
	case "envfile", "environmentfile":
		return advice{write: "env_files: [" + strings.Join(cmpList(items(n, `^-?/[^\s"'{}\[\],#]+$`), "/app/app.env"), ", ") + "]"}, true
	case "directory", "workingdir", "workingdirectory", "cwd":
		dir := n.Value
		if !strings.HasPrefix(dir, "/") {
			dir = "/app"
		}
		return advice{write: "dir: " + word(dir)}, true
	case "group":
		return advice{write: "user: USER:" + cmpWord(n.Value, "GROUP")}, true
	case "groupadd", "supplementarygroups":
		return advice{write: "groups: [" + strings.Join(cmpList(items(n, anyText), "GROUP"), ", ") + "]"}, true
	case "ulimits":
		return advice{write: "rlimits: {" + ulimits(n) + "}"}, true
	case "limitnofile", "limitnproc", "limitcore", "limitmemlock", "limitas", "limitstack", "limitfsize", "limitcpu", "limitdata":
		limit := strings.Replace(n.Value, "infinity", "unlimited", 1)
		return advice{write: fmt.Sprintf("rlimits: {%s: %s}", strings.TrimPrefix(key, "limit"), quote("", cmpWord(limit, "1024")))}, true
	case "oomscoreadjust":
		return advice{write: "oom_score_adj: " + number(n, "0")}, true
	case "capdrop":
		return advice{write: "drop_capabilities: [" + strings.Join(cmpList(items(n, capital), "ALL"), ", ") + "]"}, true
	case "capabilityboundingset":
		lost, _ := strings.CutPrefix(n.Value, "~") // without it they are those that it keeps
		if lost == n.Value {
			lost = ""
		}
		names := items(&yaml.Node{Kind: yaml.ScalarNode, Value: lost}, capital)
		return advice{"drop_capabilities: [" + strings.Join(cmpList(names, "ALL"), ", ") + "]", false,
			"those that it loses, not those that it keeps"}, true
	case "securityopt":
		return advice{write: "no_new_privileges: true"}, true
	case "memlimit", "memorymax", "memory":
		return advice{write: "cgroup: {memory: " + cmpWord(n.Value, "512MiB") + "}"}, true
	case "cpus", "cpuquota":
		return advice{"cgroup: {cpus: " + cores(n.Value) + "}", false, "a number of CPUs"}, true
	case "ioniceschedulingclass", "ioschedulingclass":
		return advice{write: "ionice: " + cmpWord(n.Value, "idle")}, true
	}
	return advice{}, false
}

// withoutUse is about what has no counterpart, or belongs to who starts the container.
func withoutUse(_, key string, _ *yaml.Node) (advice, bool) {
	switch key {
	case "numprocs", "numprocsstart", "replicas", "scale", "processname":
		return advice{why: "write a service for each process, each with a name of its own"}, true
	case "image", "build", "containername", "ports", "expose", "volumes", "networks", "networkmode", "deploy", "logging", "hostname",
		"privileged", "init", "tty", "stdinopen", "readonly", "tmpfs", "sysctls", "capadd", "dns", "extrahosts", "pullpolicy",
		"platform", "profiles", "links", "devices", "shmsize", "pid", "ipc":
		return advice{why: "it is said where the container is started; a service is a process in it"}, true
	case "pidfile", "remainafterexit", "execreload", "stdouteventsenabled", "stderreventsenabled",
		"stdoutcapturemaxbytes", "stderrcapturemaxbytes", "stdoutsyslog", "stderrsyslog", "serverurl", "notifyaccess",
		"syslogidentifier", "wantedby", "description", "documentation":
		return advice{why: "there is no counterpart, and no need of one"}, true
	}
	return advice{}, false
}

// ofProbe is about the keys of a probe.
func ofProbe(key string, n *yaml.Node) (advice, bool) {
	switch key {
	case "test", "command", "cmd":
		return advice{write: "exec: [" + commandIn(n) + "]"}, true
	case "url", "httpget", "path":
		return advice{write: "http: http://127.0.0.1:8080/health"}, true
	case "port", "tcpsocket":
		return advice{write: "tcp: 127.0.0.1:" + number(n, "8080")}, true
	case "interval", "period", "periodseconds":
		return advice{write: "every: " + seconds(n, "10s")}, true
	case "timeoutseconds":
		return advice{write: "timeout: " + seconds(n, "5s")}, true
	case "retries", "failurethreshold":
		return advice{"failures: " + number(n, "3"), false, "of live; ready has within, the time that a start may take"}, true
	case "startperiod", "initialdelay", "initialdelayseconds":
		return advice{why: "live begins when the service is ready; ready.within is the time that a start may take"}, true
	}
	return advice{}, false
}

// sectionOf is how what was written in the place of a section of type t is written as
// one; empty: that is not known.
func sectionOf(t reflect.Type, path string, n *yaml.Node) string {
	n = example(n)
	key, text := lastKey(path), n.Value
	if m := regexp.MustCompile(`^([A-Za-z_][\w-]*):(\S+)$`).FindStringSubmatch(text); m != nil && n.Style == 0 && t.Kind() == reflect.Struct {
		if _, ok := fieldNamed(t, m[1]); ok {
			return "put a blank behind the colon: " + m[1] + ": " + word(m[2])
		}
	}
	write := func(section string) string { return "write " + word(key) + ": {" + section + "}" }
	if t == reflect.TypeFor[map[string]string]() && key == "env" {
		return "write env: " + envIn(n)
	}
	switch {
	case n.Kind == yaml.SequenceNode && t == reflect.TypeFor[Service]():
		return write("command: [" + commandIn(n) + "]")
	case n.Kind == yaml.SequenceNode && key == "secrets":
		name := strings.Join(cmpList(items(n, `^[A-Za-z0-9_.-]+$`), "NAME")[:1], "")
		return write(name + ": /run/secrets/" + name)
	}
	if n.Kind != yaml.ScalarNode {
		return ""
	}
	switch t {
	case reflect.TypeFor[Config]():
		return `write keys with a colon, as in services: {app: {command: ["PROGRAM", "ARGUMENT"]}}`
	case reflect.TypeFor[Service](), reflect.TypeFor[plugin.Action]():
		return write("command: [" + commandIn(n) + "]")
	case reflect.TypeFor[supervisor.Restart]():
		return write(policy(text))
	case reflect.TypeFor[supervisor.Backoff]():
		return write("first: " + seconds(n, "1s"))
	case reflect.TypeFor[supervisor.Limit]():
		return write("starts: " + number(n, "5"))
	case reflect.TypeFor[supervisor.Stop](), reflect.TypeFor[Stop]():
		if _, err := proc.ParseSignal(text); err == nil && t == reflect.TypeFor[supervisor.Stop]() && number(n, "") == "" {
			return write("signal: " + word(text))
		}
		return write("timeout: " + seconds(n, "8s"))
	case reflect.TypeFor[supervisor.Ready](), reflect.TypeFor[supervisor.Live]():
		if u := redact.Arg(text); strings.HasPrefix(u, "http") {
			return write("http: " + quote("", u))
		}
		return write("tcp: 127.0.0.1:" + number(n, "8080"))
	case reflect.TypeFor[supervisor.Output]():
		if slices.Contains([]string{supervisor.OutputRaw, supervisor.OutputPrefix, supervisor.OutputJSON, supervisor.OutputNone}, text) {
			return write("format: " + text)
		}
		return write("file: {path: " + logPath(text) + "}")
	case reflect.TypeFor[supervisor.OutputFile]():
		return write("path: " + logPath(text))
	case reflect.TypeFor[supervisor.Cgroup]():
		return write("memory: " + cmpWord(text, "512MiB"))
	case reflect.TypeFor[Log]():
		return write("level: " + cmpWord(text, "info"))
	case reflect.TypeFor[tomcat.Config]():
		return write("home: " + cmpWord(text, "/usr/share/tomcat"))
	case reflect.TypeFor[Java]():
		return write("jar: " + cmpWord(text, "/app/app.jar"))
	case reflect.TypeFor[jvm.Config]():
		return write("user: {options: [" + quote("", redact.Arg(text)) + "]}")
	}
	return ""
}

// logPath is a path of a log as an example.
func logPath(text string) string {
	if strings.HasPrefix(text, "/") && !strings.HasPrefix(text, "/dev/") {
		return word(text)
	}
	return "/var/log/app.log"
}
